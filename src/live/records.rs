//! Where one record ends and the next begins: NDJSON, an array, or one object over several lines.
//!
//! A broken line of NDJSON costs that line alone. An array whose structure is lost is lost from there on: nobody can tell
//! what belongs to what.

use memchr::{memchr, memchr2};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The bytes of a record.
    Record(&'a [u8]),
    /// A record that is too long; it was not kept.
    TooLong,
    /// The array's structure is lost; the rest is not read.
    Broken,
    /// The body ends within a record.
    CutOff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nothing but white space so far.
    Start,
    /// One record a line.
    Lines,
    /// Records after one another, found by their braces: an object over several lines.
    Values,
    /// As [`Mode::Values`], in an array.
    Array,
    /// After the array, or after it was lost.
    Ended,
}

/// Splits bytes that come in pieces of any size into records.
#[derive(Debug)]
pub struct Records {
    mode: Mode,
    longest: usize,
    /// What was not given out yet.
    kept: Vec<u8>,
    /// How much of it was looked at.
    looked: usize,
    /// Line, or place in the array, of the record that comes next; from 1.
    number: u64,
    /// The record was too long and its beginning is gone.
    skipping: bool,
    depth: u32,
    in_text: bool,
    /// The next byte is escaped.
    escaped: bool,
    /// A value that is no object or array, such as a number in an array.
    in_bare: bool,
    /// Where the value begins in `kept`.
    begin: Option<usize>,
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// What a byte leads to.
enum Step {
    On,
    /// A record ends here.
    Ends(usize),
    Broken,
    ArrayEnds,
}

impl Records {
    /// Records of at most so many bytes.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Records {
            mode: Mode::Start,
            longest,
            kept: Vec::new(),
            looked: 0,
            number: 1,
            skipping: false,
            depth: 0,
            in_text: false,
            escaped: false,
            in_bare: false,
            begin: None,
        }
    }

    /// Takes further bytes and gives out the records that are complete, with their numbers.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(u64, Piece<'_>)) {
        if self.mode == Mode::Ended {
            return;
        }
        self.kept.extend_from_slice(bytes);
        if self.mode == Mode::Start {
            self.begin_by_first_bytes(false);
        }
        match self.mode {
            Mode::Start | Mode::Ended => {}
            Mode::Lines => self.lines(&mut each),
            Mode::Values | Mode::Array => self.values(&mut each),
        }
    }

    /// The end of the body.
    pub fn end(mut self, mut each: impl FnMut(u64, Piece<'_>)) {
        if self.mode == Mode::Start {
            self.begin_by_first_bytes(true);
            match self.mode {
                Mode::Lines => self.lines(&mut each),
                Mode::Values | Mode::Array => self.values(&mut each),
                Mode::Start | Mode::Ended => {}
            }
        }
        match self.mode {
            Mode::Start | Mode::Ended => {}
            Mode::Lines if self.skipping => each(self.number, Piece::TooLong),
            Mode::Lines => {
                let line = self.kept.trim_ascii();
                if !line.is_empty() {
                    each(self.number, Piece::Record(line));
                }
            }
            Mode::Values if self.begin.is_none() && !self.skipping => {}
            Mode::Values | Mode::Array => each(self.number, Piece::CutOff),
        }
    }

    /// Chooses how to read, by what comes first.
    fn begin_by_first_bytes(&mut self, is_all: bool) {
        let blank = self.kept.len() - self.kept.trim_ascii_start().len();
        match self.kept.get(blank) {
            None => {
                self.number += count_lines(&self.kept);
                self.kept.clear();
            }
            Some(b'[') => {
                self.kept.drain(..=blank);
                (self.mode, self.number) = (Mode::Array, 1);
            }
            Some(_) => {
                // A first line that leaves off in the midst of an object is the beginning of one that goes on.
                let first = match memchr(b'\n', &self.kept[blank..]) {
                    Some(at) => &self.kept[blank..blank + at],
                    None if is_all || self.kept.len() > self.longest => &self.kept[blank..],
                    None => return,
                };
                let goes_on = matches!(first.trim_ascii_end().last(), Some(b'{' | b'[' | b',' | b':'));
                let line = self.number + count_lines(&self.kept[..blank]);
                (self.mode, self.number) = if goes_on { (Mode::Values, 1) } else { (Mode::Lines, line) };
                self.kept.drain(..blank);
            }
        }
    }

    fn lines(&mut self, each: &mut impl FnMut(u64, Piece<'_>)) {
        let mut begin = 0;
        while let Some(at) = memchr(b'\n', &self.kept[self.looked..]) {
            let end = self.looked + at;
            let line = self.kept[begin..end].trim_ascii();
            if self.skipping || line.len() > self.longest {
                each(self.number, Piece::TooLong);
            } else if !line.is_empty() {
                each(self.number, Piece::Record(line));
            }
            self.skipping = false;
            self.number += 1;
            (begin, self.looked) = (end + 1, end + 1);
        }
        self.kept.drain(..begin);
        self.looked = self.kept.len();
        if self.kept.len() > self.longest {
            self.skip();
        }
    }

    fn values(&mut self, each: &mut impl FnMut(u64, Piece<'_>)) {
        while self.looked < self.kept.len() {
            match self.step() {
                Step::On => {}
                Step::Ends(end) => {
                    let begin = self.begin.take().unwrap_or(0);
                    let record = &self.kept[begin.min(end)..end];
                    let is_long = self.skipping || record.len() > self.longest;
                    each(self.number, if is_long { Piece::TooLong } else { Piece::Record(record) });
                    self.number += 1;
                    self.skipping = false;
                }
                Step::Broken => {
                    each(self.number, Piece::Broken);
                    return self.finish();
                }
                Step::ArrayEnds => return self.finish(),
            }
        }
        let keep_from = if self.skipping { self.kept.len() } else { self.begin.unwrap_or(self.kept.len()) };
        self.kept.drain(..keep_from);
        self.looked = self.kept.len();
        self.begin = self.begin.map(|_| 0);
        if self.kept.len() > self.longest {
            self.skip();
        }
    }

    fn finish(&mut self) {
        self.mode = Mode::Ended;
        self.kept = Vec::new();
    }

    /// Forgets the beginning of a record that is too long.
    fn skip(&mut self) {
        self.skipping = true;
        self.kept.clear();
        self.looked = 0;
        self.begin = self.begin.map(|_| 0);
    }

    /// Looks at one byte, or at a whole stretch of text.
    fn step(&mut self) -> Step {
        let at = self.looked;
        let byte = self.kept[at];
        self.looked += 1;
        if self.in_text {
            return self.text(at);
        }
        if self.in_bare {
            if byte == b',' || byte == b']' || byte.is_ascii_whitespace() {
                self.in_bare = false;
                self.looked = at;
                return Step::Ends(at);
            }
            return if matches!(byte, b'{' | b'}' | b'[' | b'"') { Step::Broken } else { Step::On };
        }
        match byte {
            b'"' | b'{' | b'[' => {
                if self.depth == 0 {
                    self.begin = Some(at);
                }
                self.in_text = byte == b'"';
                self.depth += u32::from(byte != b'"');
                Step::On
            }
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                if self.depth == 0 { Step::Ends(at + 1) } else { Step::On }
            }
            b']' if self.mode == Mode::Array => Step::ArrayEnds,
            b'}' | b']' => Step::Broken,
            _ if self.depth > 0 || byte == b',' || byte.is_ascii_whitespace() => Step::On,
            _ => {
                self.begin = Some(at);
                self.in_bare = true;
                Step::On
            }
        }
    }

    /// Within a text, of which `at` is the next byte.
    fn text(&mut self, at: usize) -> Step {
        if std::mem::take(&mut self.escaped) {
            return Step::On;
        }
        match memchr2(b'"', b'\\', &self.kept[at..]) {
            None => self.looked = self.kept.len(),
            Some(offset) if self.kept[at + offset] == b'"' => {
                self.looked = at + offset + 1;
                self.in_text = false;
                if self.depth == 0 {
                    return Step::Ends(self.looked);
                }
            }
            // The byte that is escaped may come later.
            Some(offset) => {
                self.looked = (at + offset + 2).min(self.kept.len());
                self.escaped = at + offset + 2 > self.kept.len();
            }
        }
        Step::On
    }
}
