//! Server-Sent Events from bytes that arrive in any pieces.
//!
//! The rules of the HTML standard: lines end with LF, CR or CRLF; one byte order mark at the start is skipped; lines
//! that begin with a colon are comments; several `data` lines are joined by LF; an empty line ends an event. `id` and
//! `retry` serve reconnecting clients and are ignored. Bytes are not decoded here: a character split over two pieces is
//! whole again in its event.

/// Longest event (and longest line) accepted, in bytes.
pub const EVENT_BYTES_MAX: usize = 4 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// One event, borrowed from the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field; empty when not sent.
    pub name: &'a [u8],
    /// The `data` lines, joined by LF.
    pub data: &'a [u8],
}

/// An event or line is longer than [`EVENT_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {EVENT_BYTES_MAX} bytes")]
pub struct EventTooLong;

/// Incremental parser. Any split of the same bytes gives the same events.
#[derive(Debug, Default)]
pub struct SseParser {
    /// The start of a line whose end has not arrived.
    line: Vec<u8>,
    /// `data` lines of the event being read, each followed by LF.
    data: Vec<u8>,
    /// The `event` field of the event being read.
    name: Vec<u8>,
    /// The last byte was CR: a following LF belongs to it.
    after_cr: bool,
    /// A first line has been seen, so no byte order mark may follow.
    started: bool,
}

impl SseParser {
    /// A parser at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece and hands every event that it completes to `on_event`.
    ///
    /// # Errors
    /// [`EventTooLong`]; the parser must not be used afterwards.
    pub fn push(&mut self, mut bytes: &[u8], mut on_event: impl FnMut(Event<'_>)) -> Result<(), EventTooLong> {
        loop {
            if self.after_cr && !bytes.is_empty() {
                self.after_cr = false;
                if bytes[0] == b'\n' {
                    bytes = &bytes[1..];
                }
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else {
                if self.line.len() + bytes.len() > EVENT_BYTES_MAX {
                    return Err(EventTooLong);
                }
                self.line.extend_from_slice(bytes);
                return Ok(());
            };
            let (head, rest) = bytes.split_at(end);
            if self.line.len() + head.len() > EVENT_BYTES_MAX {
                return Err(EventTooLong);
            }
            self.after_cr = rest[0] == b'\r';
            bytes = &rest[1..];
            if self.line.is_empty() {
                self.take_line(head, &mut on_event)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(head);
                let taken = self.take_line(&line, &mut on_event);
                line.clear();
                self.line = line;
                taken?;
            }
        }
    }

    /// What stands unfinished at the end of the stream: the data of an event that no empty line has ended, and of a
    /// last line without an end. A strict reader drops it; `None` when there is none.
    #[must_use]
    pub fn into_rest(mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() && self.take_line(&line, &mut |_| ()).is_err() {
            return None;
        }
        self.data.pop();
        (!self.data.is_empty()).then_some(self.data)
    }

    fn take_line(&mut self, line: &[u8], on_event: &mut impl FnMut(Event<'_>)) -> Result<(), EventTooLong> {
        let line = if self.started { line } else { line.strip_prefix(BOM).unwrap_or(line) };
        self.started = true;
        if line.is_empty() {
            self.dispatch(on_event);
            return Ok(());
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(0) => return Ok(()),
            Some(colon) => (&line[..colon], line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..])),
            None => (line, &[][..]),
        };
        match field {
            b"data" => {
                if self.data.len() + value.len() > EVENT_BYTES_MAX {
                    return Err(EventTooLong);
                }
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            _ => (),
        }
        Ok(())
    }

    fn dispatch(&mut self, on_event: &mut impl FnMut(Event<'_>)) {
        if let Some((_, data)) = self.data.split_last() {
            on_event(Event { name: &self.name, data });
        }
        self.data.clear();
        self.name.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (String, String);

    fn events(pieces: &[&[u8]]) -> (Vec<Owned>, Option<String>) {
        let mut parser = SseParser::new();
        let mut out = vec![];
        for piece in pieces {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            parser.push(piece, |e| out.push((text(e.name), text(e.data)))).unwrap();
        }
        (out, parser.into_rest().map(|rest| String::from_utf8_lossy(&rest).into_owned()))
    }

    fn data(bytes: &[u8]) -> Vec<String> {
        events(&[bytes]).0.into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn line_ends_comments_and_fields() {
        assert_eq!(data(b"data: a\n\ndata:b\r\n\r\ndata: c\r\rdata:  d\n\n"), ["a", "b", "c", " d"]);
        assert_eq!(data(b": keep-alive\n\n:\ndata: a\nid: 7\nretry: 3\nwhatever\n: x\ndata: b\n\n"), ["a\nb"]);
        assert_eq!(data(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n"), ["a"], "a mark only at the start");
        assert_eq!(data(b"data\n\ndata:\ndata:\n\n"), ["", "\n"]);
        let named = events(&[b"event: error\ndata: x\n\nevent: ping\n\ndata: y\n\n"]).0;
        assert_eq!(named, [("error".to_owned(), "x".to_owned()), (String::new(), "y".to_owned())]);
    }

    #[test]
    fn the_rest_is_kept_apart() {
        assert_eq!(events(&[b"data: a\n\ndata: [DONE]"]), (vec![(String::new(), "a".into())], Some("[DONE]".into())));
        assert_eq!(events(&[b"data: a\n"]).1.as_deref(), Some("a"));
        assert_eq!(events(&[b"data: a\n\n"]).1, None);
        assert_eq!(events(&[b": comment"]).1, None);
    }

    #[test]
    fn a_character_split_over_pieces_is_whole() {
        let bytes = "data: h\u{e9}\u{1f600}\n\n".as_bytes();
        for at in 0..bytes.len() {
            assert_eq!(events(&[&bytes[..at], &bytes[at..]]).0[0].1, "h\u{e9}\u{1f600}");
        }
    }

    #[test]
    fn limits_hold_for_lines_and_for_events() {
        let long = vec![b'x'; EVENT_BYTES_MAX + 1];
        assert_eq!(SseParser::new().push(&long, |_| ()), Err(EventTooLong));
        let whole_line = [b":".as_slice(), &long, b"\n"].concat();
        assert_eq!(SseParser::new().push(&whole_line, |_| ()), Err(EventTooLong), "in one piece as in many");
        let mut parser = SseParser::new();
        let half = [b"data: ".as_slice(), &long[..EVENT_BYTES_MAX / 2 + 1], b"\n"].concat();
        assert_eq!(parser.push(&half, |_| ()), Ok(()));
        assert_eq!(parser.push(&half, |_| ()), Err(EventTooLong));
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let known = [
            "data: a",
            "data:",
            "data: \u{1f600}",
            "event: error",
            ": c",
            "\n",
            "\r",
            "\r\n",
            "\n\n",
            "\u{feff}",
            "id: 1",
            "x",
        ];
        prop_oneof![
            4 => prop::sample::select(known.to_vec()).prop_map(|s| s.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..6),
        ]
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            pieces in prop::collection::vec(piece(), 0..24),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let whole = pieces.concat();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
            at.extend([0, whole.len()]);
            at.sort_unstable();
            let split: Vec<&[u8]> = at.windows(2).map(|w| &whole[w[0]..w[1]]).collect();
            prop_assert_eq!(events(&split), events(&[&whole]));
            let single: Vec<&[u8]> = whole.chunks(1).collect();
            prop_assert_eq!(events(&single), events(&[&whole]));
        }

        #[test]
        fn a_written_event_is_read_back(lines in prop::collection::vec("[^\r\n]{0,20}", 1..4)) {
            let text = lines.iter().map(|line| format!("data: {line}\n")).collect::<String>() + "\n";
            prop_assert_eq!(data(text.as_bytes()), vec![lines.join("\n")]);
        }
    }
}
