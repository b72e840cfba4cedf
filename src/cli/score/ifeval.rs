//! `score --scorer ifeval`: rows of answers with their instructions.

use std::io::{self, BufReader, Read, Write};

use serde_json::json;

use super::Tally;
use super::rows::{self, Judged};
use crate::scoring::ifeval::{Row, RowVerdict};

fn judge(line: &str) -> Result<RowVerdict, String> {
    Row::parse(line).map_err(|e| format!("not a row of the ifeval scorer: {e}"))?.judge()
}

/// Judges every row and writes a verdict line for each, in order.
///
/// # Errors
/// Input or output fails. A row that cannot be read is answered by a line with `error`, and counted.
pub fn score(input: BufReader<impl Read>, out: impl Write) -> io::Result<Tally> {
    rows::each(input, out, |line| Judged { id: None, verdict: judge(line) }, write)
}

fn write(out: &mut Vec<u8>, judged: Judged<RowVerdict>) -> io::Result<bool> {
    match judged.verdict {
        Ok(verdict) => {
            serde_json::to_writer(out, &verdict)?;
            Ok(verdict.strict.iter().all(|v| *v == Some(true)))
        }
        Err(message) => {
            serde_json::to_writer(out, &json!({"strict": null, "loose": null, "error": message}))?;
            Ok(false)
        }
    }
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
        let tally = score(BufReader::new(input.as_bytes()), &mut out).unwrap();
        let lines: Vec<serde_json::Value> =
            std::str::from_utf8(&out).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let verdict = json!({"strict": [false], "loose": [true]});
        assert_eq!((&lines[0], &lines[3]), (&verdict, &verdict));
        assert!(lines[1]["error"].as_str().unwrap().starts_with("line 3: 1 instructions but 0"), "{}", lines[1]);
        assert!(lines[2]["error"].as_str().unwrap().starts_with("line 4: not a row"), "{}", lines[2]);
        assert_eq!((tally.rows, tally.valid, tally.bad), (4, 0, 2));
    }
}
