//! The loop that all kinds of rows share: a line in, a line out, in order.

use std::io::{self, BufReader, Read, Write};

use super::Tally;
use super::lines::{Line, Lines};

/// A row, judged: which it is, where it says so, and its verdict or why it has none.
pub struct Judged<V> {
    /// As the row names itself.
    pub id: Option<String>,
    /// The verdict.
    pub verdict: Result<V, String>,
}

/// Judges every row and writes a verdict line for each, in order. Blank lines are passed over. `write` writes a line
/// without its end and tells whether the answer is valid; of a row that could not be judged it gets the reason, with the
/// number of the line. What is written is handed out before more input is waited for.
///
/// # Errors
/// Input or output fails.
pub fn each<V>(
    input: BufReader<impl Read>,
    mut out: impl Write,
    mut judge: impl FnMut(&str) -> Judged<V>,
    mut write: impl FnMut(&mut Vec<u8>, Judged<V>) -> io::Result<bool>,
) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut lines = Lines::new(input);
    let mut text = Vec::new();
    while let Some(line) = lines.next_line(|| out.flush())? {
        let mut judged = match line {
            Line::Text(line) if line.trim().is_empty() => continue,
            Line::Text(line) => judge(line),
            Line::Bad(message) => Judged { id: None, verdict: Err(message) },
        };
        tally.rows += 1;
        if let Err(message) = &mut judged.verdict {
            *message = format!("line {}: {message}", lines.number);
            tally.bad += 1;
            tally.first_bad.get_or_insert_with(|| message.clone());
        }
        text.clear();
        tally.valid += u64::from(write(&mut text, judged)?);
        text.push(b'\n');
        out.write_all(&text)?;
    }
    out.flush()?;
    Ok(tally)
}
