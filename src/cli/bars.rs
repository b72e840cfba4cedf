//! Progress on stderr: bars on a terminal, plain lines otherwise.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::output;
use crate::progress::{Progress, SweepProgress};

/// How often a bar is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows the sweep in flight until finished.
pub struct Bars {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Bars {
    /// Starts showing.
    pub fn start(progress: &Arc<Progress>) -> Bars {
        let stop = CancellationToken::new();
        let task = tokio::spawn(show(Arc::clone(progress), stop.clone(), output::is_watched()));
        Bars { task, stop }
    }

    /// Removes the bar.
    pub async fn finish(self) {
        self.stop.cancel();
        // A broken bar is not worth an error.
        let _ = self.task.await;
    }
}

async fn show(progress: Arc<Progress>, stop: CancellationToken, watched: bool) {
    let bar = if watched { bar() } else { ProgressBar::hidden() };
    loop {
        tokio::select! {
            () = tokio::time::sleep(if watched { DRAW_EVERY } else { LINE_EVERY }) => {}
            () = stop.cancelled() => break,
        }
        for sweep in progress.current() {
            if watched {
                bar.set_length(sweep.planned);
                bar.set_position(sweep.done());
                bar.set_message(message(&sweep));
            } else {
                output::note(&format!("{}: {} of {} attempts", message(&sweep), sweep.done(), sweep.planned));
            }
        }
    }
    bar.finish_and_clear();
}

fn message(sweep: &SweepProgress) -> String {
    format!("sweep of {}", sweep.model)
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}
