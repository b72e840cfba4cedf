//! Where records begin and end, whatever the pieces they come in.

use proptest::prelude::*;

use crate::live::{Piece, Records};

fn split_in(bytes: &[u8], size: usize, longest: usize) -> Vec<(u64, String)> {
    let mut out = Vec::new();
    let mut each = |line, piece: Piece<'_>| {
        out.push((
            line,
            match piece {
                Piece::Record(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                other => format!("{other:?}"),
            },
        ));
    };
    let mut records = Records::new(longest);
    bytes.chunks(size).for_each(|chunk| records.push(chunk, &mut each));
    records.end(&mut each);
    out
}

fn split(text: &str) -> Vec<(u64, String)> {
    split_in(text.as_bytes(), usize::MAX, 1 << 20)
}

fn numbered(all: &[(u64, &str)]) -> Vec<(u64, String)> {
    all.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
}

#[test]
fn lines_arrays_and_objects_over_several_lines() {
    assert_eq!(
        split("{\"a\":1}\n\n  {\"b\":\"x\\\"}\"} \r\n{\"c\":3}"),
        numbered(&[(1, "{\"a\":1}"), (3, "{\"b\":\"x\\\"}\"}"), (4, "{\"c\":3}"),])
    );
    assert_eq!(
        split(" [ {\"a\":[1,{}]} , 7,\"t]\", null,{\"b\":\"}\"}]\n"),
        numbered(&[(1, "{\"a\":[1,{}]}"), (2, "7"), (3, "\"t]\""), (4, "null"), (5, "{\"b\":\"}\"}"),])
    );
    assert_eq!(
        split("{\n \"a\": {\n  \"b\": 1 }\n}\n{\"c\":\n2}"),
        numbered(&[(1, "{\n \"a\": {\n  \"b\": 1 }\n}"), (2, "{\"c\":\n2}"),])
    );
    for nothing in ["", " \n\t", "[]", "[ ]"] {
        assert_eq!(split(nothing), [], "{nothing:?}");
    }
}

#[test]
fn a_broken_line_costs_that_line_and_a_broken_array_its_rest() {
    assert_eq!(split("{\"a\":1}\n{\"b\":\n{\"c\":3}\n").len(), 3);
    assert_eq!(split("[{\"a\":1},}{\"b\":2}]"), numbered(&[(1, "{\"a\":1}"), (2, "Broken")]));
    assert_eq!(split("[{\"a\":1},{\"b\":"), numbered(&[(1, "{\"a\":1}"), (2, "CutOff")]));
    assert_eq!(split("[\"never closed"), numbered(&[(1, "CutOff")]));
}

#[test]
fn what_is_too_long_is_skipped_and_counted() {
    let long = "x".repeat(100);
    let text = format!("{{\"a\":1}}\n{{\"b\":\"{long}\"}}\n{{\"c\":3}}\n{{\"d\":\"{long}\"}}");
    let array = format!("[{{\"a\":1}},{{\"b\":\"{long}\"}},{{\"c\":3}}]");
    for size in [1, 7, 1000] {
        assert_eq!(
            split_in(text.as_bytes(), size, 20),
            numbered(&[(1, "{\"a\":1}"), (2, "TooLong"), (3, "{\"c\":3}"), (4, "TooLong"),]),
            "{size}"
        );
        assert_eq!(
            split_in(array.as_bytes(), size, 20),
            numbered(&[(1, "{\"a\":1}"), (2, "TooLong"), (3, "{\"c\":3}"),]),
            "{size}"
        );
    }
}

proptest! {
    #[test]
    fn any_pieces_of_any_bytes_give_the_same_records(text in "[\\[\\]{}\",: \\\\\na1]{0,60}", size in 1usize..9) {
        let whole = split_in(text.as_bytes(), usize::MAX, 1 << 20);
        prop_assert_eq!(split_in(text.as_bytes(), size, 1 << 20), whole);
    }

    #[test]
    fn objects_come_back_as_they_went_in(all in prop::collection::vec("[a-z\"\\\\{}\\[\\],\n]{0,12}", 0..6), size in 1usize..40) {
        let objects: Vec<String> = all.iter().map(|t| serde_json::json!({"k": t, "n": [t]}).to_string()).collect();
        let expected: Vec<(u64, String)> = (1..).zip(objects.iter().cloned()).collect();
        let array = format!("[{}]", objects.join(", "));
        prop_assert_eq!(&split_in(array.as_bytes(), size, 1 << 20), &expected);
        let lines = objects.join("\n");
        prop_assert_eq!(&split_in(lines.as_bytes(), size, 1 << 20), &expected);
    }
}
