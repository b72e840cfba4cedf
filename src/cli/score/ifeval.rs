//! `score --scorer ifeval`: rows of answers with their instructions.

use std::io::{self, BufRead, Write};

use serde_json::json;

use super::Tally;
use super::lines::{Line, Lines};
use crate::scoring::ifeval::{Row, RowVerdict};

fn judge(line: &str) -> Result<RowVerdict, String> {
    let row: Row = serde_json::from_str(line).map_err(|e| format!("not a row of the ifeval scorer: {e}"))?;
    row.judge()
}

/// Judges every row and writes a verdict line for each, in order.
///
/// # Errors
/// Input or output fails. A row that cannot be read is answered by a line with `error`, and counted.
pub fn score(input: impl BufRead, mut out: impl Write) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut lines = Lines::new(input);
    while let Some(line) = lines.next_line()? {
        let judged = match line {
            Line::Text(line) if line.trim().is_empty() => continue,
            Line::Text(line) => judge(line),
            Line::Bad(message) => Err(message),
        };
        tally.rows += 1;
        match judged {
            Ok(verdict) => {
                tally.valid += u64::from(verdict.strict.iter().all(|v| *v == Some(true)));
                serde_json::to_writer(&mut out, &verdict)?;
            }
            Err(why) => {
                tally.bad += 1;
                let message = format!("line {}: {why}", lines.number);
                tally.first_bad.get_or_insert_with(|| message.clone());
                serde_json::to_writer(&mut out, &json!({"strict": null, "loose": null, "error": message}))?;
            }
        }
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_answered_in_order_and_bad_ones_say_why() {
        let good = json!({"prompt": "p", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}], "response": "a, b\nc"});
        let short =
            json!({"prompt": "p", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [], "response": ""});
        let input = format!("{good}\n\n{short}\r\nnot json\n{good}");
        let mut out = Vec::new();
        let tally = score(input.as_bytes(), &mut out).unwrap();
        let lines: Vec<serde_json::Value> =
            std::str::from_utf8(&out).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let verdict = json!({"strict": [false], "loose": [true]});
        assert_eq!((&lines[0], &lines[3]), (&verdict, &verdict));
        assert!(lines[1]["error"].as_str().unwrap().starts_with("line 3: 1 instructions but 0"), "{}", lines[1]);
        assert!(lines[2]["error"].as_str().unwrap().starts_with("line 4: not a row"), "{}", lines[2]);
        assert_eq!((tally.rows, tally.valid, tally.bad), (4, 0, 2));
    }
}
