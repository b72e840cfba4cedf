//! Packed bodies, unpacked piece by piece: what unpacks to more than it may is noticed on the way.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use super::door::Door;
use super::observation::Refusal;

/// Largest window of a zstd stream, as a power of two: 8 MiB, which the format asks every reader to support.
const WINDOW_LOG_MAX: u32 = 23;
/// Bytes that are unpacked and read in one go.
const PIECE_BYTES: usize = 256 * 1024;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// Gzip, of one or more members.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Packing {
    /// By the first bytes of a file.
    #[must_use]
    pub fn of_bytes(first: &[u8]) -> Packing {
        match first {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
            _ => Packing::None,
        }
    }
}

/// What is wrong with a body as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Spoilt {
    /// It unpacks to more bytes than it may.
    #[error("it has more bytes than it may when unpacked")]
    TooLarge,
    /// It is not packed as it is said to be, or broke off.
    #[error("{0}")]
    Undecodable(io::Error),
    /// It is not what it should hold.
    #[error("{}", .0.code)]
    Unreadable(Refusal),
}

impl Packing {
    /// Unpacks a body.
    ///
    /// # Errors
    /// What the decoder cannot begin with.
    pub fn reader<'a>(self, mut body: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Packing::None => Box::new(body),
            Packing::Gzip | Packing::Zstd if body.fill_buf()?.is_empty() => Box::new(io::empty()),
            Packing::Gzip => Box::new(MultiGzDecoder::new(body)),
            Packing::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(body)?;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        })
    }
}

impl Packing {
    /// A whole body of at most `most` bytes when unpacked.
    ///
    /// # Errors
    /// [`Spoilt`].
    pub fn whole(self, body: &[u8], most: u64) -> Result<Vec<u8>, Spoilt> {
        let mut out = Vec::new();
        let packed = self.reader(body).map_err(Spoilt::Undecodable)?;
        packed.take(most + 1).read_to_end(&mut out).map_err(Spoilt::Undecodable)?;
        if out.len() as u64 > most { Err(Spoilt::TooLarge) } else { Ok(out) }
    }
}

impl Door<'_> {
    /// Takes a whole body, of at most `most` bytes when unpacked; stops early when there is no room for more.
    ///
    /// # Errors
    /// [`Spoilt`]; what was complete before it was taken.
    pub fn push_packed(&mut self, packing: Packing, body: impl BufRead, most: u64) -> Result<(), Spoilt> {
        let mut packed = packing.reader(body).map_err(Spoilt::Undecodable)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut unpacked = 0;
        while !self.is_full() {
            let n = packed.read(&mut piece).map_err(Spoilt::Undecodable)?;
            if n == 0 {
                break;
            }
            unpacked += n as u64;
            if unpacked > most {
                return Err(Spoilt::TooLarge);
            }
            self.push(&piece[..n]);
        }
        Ok(())
    }
}
