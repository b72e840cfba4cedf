//! Progress on stderr: bars on a terminal, plain lines otherwise.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
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
        let bar = output::is_watched().then(|| bar(ProgressDrawTarget::stderr()));
        let task = tokio::spawn(show(Arc::clone(progress), stop.clone(), bar));
        Bars { task, stop }
    }

    /// Removes the bar.
    pub async fn finish(self) {
        self.stop.cancel();
        // A broken bar is not worth an error.
        let _ = self.task.await;
    }
}

/// Shows what is in flight, until stopped, on a bar or in plain lines.
async fn show(progress: Arc<Progress>, stop: CancellationToken, bar: Option<ProgressBar>) {
    let every = if bar.is_some() { DRAW_EVERY } else { LINE_EVERY };
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => break,
        }
        for sweep in progress.current() {
            match &bar {
                Some(bar) => draw(bar, &sweep),
                None => output::note(&line(&sweep)),
            }
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn draw(bar: &ProgressBar, sweep: &SweepProgress) {
    // The label goes first: each of these may draw.
    bar.set_message(message(sweep));
    bar.set_length(sweep.planned);
    bar.set_position(sweep.done());
}

fn line(sweep: &SweepProgress) -> String {
    format!("{}: {} of {} attempts", message(sweep), sweep.done(), sweep.planned)
}

fn message(sweep: &SweepProgress) -> String {
    format!("sweep of {}", sweep.model)
}

fn bar(target: ProgressDrawTarget) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {rate} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            // A bar that cannot be written is not worth an error.
            let _ = write!(out, "{:.0}/s", state.per_sec());
        });
    ProgressBar::with_draw_target(Some(0), target).with_style(style)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use indicatif::TermLike;

    use super::*;
    use crate::domain::{EndpointId, ModelId, SweepId, SweepKind, Verdict};
    use crate::progress::EndpointProgress;

    const WIDTH: u16 = 80;

    /// A terminal of one line: what stands on it now, and what has stood on it.
    #[derive(Debug, Clone, Default)]
    struct Terminal(Arc<Mutex<(String, Vec<String>)>>);

    impl Terminal {
        fn now(&self) -> String {
            self.0.lock().unwrap().0.clone()
        }

        fn drawn(&self) -> Vec<String> {
            self.0.lock().unwrap().1.clone()
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            WIDTH
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().0.push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().unwrap().0.clear();
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            let mut screen = self.0.lock().unwrap();
            let line = screen.0.trim_end().to_owned();
            if screen.1.last() != Some(&line) {
                screen.1.push(line);
            }
            Ok(())
        }
    }

    fn sweep(planned: u64) -> Arc<SweepProgress> {
        let endpoint = EndpointProgress { planned: planned.into(), ..EndpointProgress::default() };
        Arc::new(SweepProgress {
            sweep: SweepId(uuid::Uuid::nil()),
            model: ModelId::new("lab/m").unwrap(),
            kind: SweepKind::Manual,
            planned_at_us: 0,
            planned,
            done: 0.into(),
            endpoints: [(EndpointId::new("alder").unwrap(), endpoint)].into(),
        })
    }

    fn answered(sweep: &SweepProgress, attempts: u64) {
        (0..attempts).for_each(|_| sweep.ended(&EndpointId::new("alder").unwrap(), Verdict::Pass));
    }

    /// Paused time: the only waits are those between two drawings.
    #[tokio::test(start_paused = true)]
    async fn a_bar_follows_the_sweep_in_flight_and_is_gone_when_it_ends() {
        let (terminal, progress, stop) = (Terminal::default(), Arc::new(Progress::default()), CancellationToken::new());
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let shown = tokio::spawn(show(Arc::clone(&progress), stop.clone(), Some(bar(target))));
        tokio::time::sleep(3 * DRAW_EVERY).await;
        assert_eq!(terminal.drawn(), Vec::<String>::new(), "nothing is in flight");
        let sweep = sweep(40);
        progress.begin(Arc::clone(&sweep));
        answered(&sweep, 10);
        tokio::time::sleep(2 * DRAW_EVERY).await;
        answered(&sweep, 25);
        tokio::time::sleep(2 * DRAW_EVERY).await;
        stop.cancel();
        shown.await.unwrap();
        let drawn = terminal.drawn();
        let with = |count: &str| drawn.iter().position(|l| l.starts_with("sweep of lab/m ") && l.contains(count));
        assert!(with(" 10/40 ").unwrap() < with(" 35/40 ").unwrap(), "{drawn:?}");
        assert!(drawn.iter().all(|line| line.chars().count() <= WIDTH.into()), "{drawn:?}");
        assert_eq!(terminal.now(), "", "the line is free again");
    }

    #[test]
    fn a_line_counts_in_words() {
        let sweep = sweep(40);
        answered(&sweep, 7);
        assert_eq!(line(&sweep), "sweep of lab/m: 7 of 40 attempts");
    }
}
