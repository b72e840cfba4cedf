//! Transcripts as stored: request, response and headers in one compressed frame.
//!
//! Layout: three lengths (u32, little endian: request, response, headers), then the three parts one after another,
//! compressed as the row's codec says. A codec, once shipped, never changes; a better one takes the next number.

use std::sync::{LazyLock, Mutex};

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use super::error::{Result, StoreError};
use crate::domain::Transcript;

/// The parts as they are.
const CODEC_PLAIN: i64 = 0;
/// Zstandard with the first dictionary.
const CODEC_ZSTD_1: i64 = 1;
/// Compression level: 1 costs a few microseconds per transcript, higher ones gain a few percent.
const LEVEL: i32 = 1;
/// Largest transcript that is read back, in bytes: a damaged length must not ask for all memory.
pub const TRANSCRIPT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of the three lengths.
const HEAD: usize = 12;

/// Typical words of requests and answers: short transcripts shrink to a third of what they need without it.
/// The bytes are part of codec 1: they must never change.
static DICTIONARY_1: &[u8] = include_bytes!("transcript.dict");
static ENCODER_1: LazyLock<Option<EncoderDictionary<'static>>> =
    LazyLock::new(|| EncoderDictionary::try_copy(DICTIONARY_1, LEVEL).ok());
static DECODER_1: LazyLock<Option<DecoderDictionary<'static>>> =
    LazyLock::new(|| DecoderDictionary::try_copy(DICTIONARY_1).ok());

/// A transcript as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    pub codec: i64,
    pub bytes: Vec<u8>,
}

/// Compression contexts, reused: making one costs more than compressing a transcript.
#[derive(Default)]
pub(super) struct Packer {
    idle: Mutex<Vec<Context>>,
}

struct Context {
    zstd: Option<Compressor<'static>>,
    parts: Vec<u8>,
    packed: Vec<u8>,
}

/// Contexts keep at most this much scratch space between transcripts.
const SCRATCH_BYTES_MAX: usize = 1024 * 1024;

impl Packer {
    /// Compresses. What cannot be compressed is stored as it is; parts beyond 4 GiB (which the client's limits rule
    /// out) are left out.
    pub fn pack(&self, transcript: &Transcript) -> Packed {
        let mut context = self.idle.lock().ok().and_then(|mut idle| idle.pop()).unwrap_or_else(Context::new);
        let packed = context.pack(transcript);
        context.parts.shrink_to(SCRATCH_BYTES_MAX);
        context.packed.shrink_to(SCRATCH_BYTES_MAX);
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(context);
        }
        packed
    }
}

impl Context {
    fn new() -> Self {
        let zstd = ENCODER_1.as_ref().and_then(|d| Compressor::with_prepared_dictionary(d).ok());
        Context { zstd, parts: Vec::new(), packed: Vec::new() }
    }

    fn pack(&mut self, transcript: &Transcript) -> Packed {
        let parts: [&[u8]; 3] = [&transcript.request, &transcript.response, transcript.headers.as_bytes()];
        let mut head = [0_u8; HEAD];
        self.parts.clear();
        for (part, length) in parts.into_iter().zip(head.chunks_exact_mut(4)) {
            let Ok(count) = u32::try_from(part.len()) else { continue };
            length.copy_from_slice(&count.to_le_bytes());
            self.parts.extend_from_slice(part);
        }
        if let Some(zstd) = &mut self.zstd {
            self.packed.clear();
            self.packed.reserve(zstd::zstd_safe::compress_bound(self.parts.len()));
            if zstd.compress_to_buffer(&self.parts, &mut self.packed).is_ok() && self.packed.len() < self.parts.len() {
                return Packed { codec: CODEC_ZSTD_1, bytes: [&head, self.packed.as_slice()].concat() };
            }
        }
        Packed { codec: CODEC_PLAIN, bytes: [&head, self.parts.as_slice()].concat() }
    }
}

/// Reads a stored transcript.
///
/// # Errors
/// [`StoreError::Corrupt`] for an unknown codec, lengths that do not fit, or bytes that do not decompress.
pub(super) fn unpack(codec: i64, bytes: &[u8]) -> Result<Transcript> {
    let damaged = |why: &str| StoreError::Corrupt(format!("a transcript {why}"));
    let (head, body) = bytes.split_at_checked(HEAD).ok_or_else(|| damaged("is cut short"))?;
    let mut lengths = [0_usize; 3];
    for (length, field) in lengths.iter_mut().zip(head.chunks_exact(4)) {
        *length = field.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte));
    }
    let total: usize = lengths.iter().sum();
    if total > TRANSCRIPT_BYTES_MAX {
        return Err(damaged("claims to be larger than any can be"));
    }
    let parts = match codec {
        CODEC_PLAIN => Bytes::copy_from_slice(body),
        CODEC_ZSTD_1 => {
            let dictionary = DECODER_1.as_ref().ok_or_else(|| damaged("needs its dictionary"))?;
            let mut zstd = Decompressor::with_prepared_dictionary(dictionary).map_err(|e| damaged(&e.to_string()))?;
            Bytes::from(zstd.decompress(body, total).map_err(|e| damaged(&format!("does not decompress: {e}")))?)
        }
        other => return Err(damaged(&format!("has the unknown codec {other}"))),
    };
    if parts.len() != total {
        return Err(damaged("has another length than it says"));
    }
    let headers = String::from_utf8(parts[lengths[0] + lengths[1]..].to_vec());
    Ok(Transcript {
        request: parts.slice(..lengths[0]),
        response: parts.slice(lengths[0]..lengths[0] + lengths[1]),
        headers: headers.map_err(|_| damaged("has headers that are no text"))?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn transcript(request: &[u8], response: &[u8], headers: &str) -> Transcript {
        Transcript {
            request: Bytes::copy_from_slice(request),
            response: Bytes::copy_from_slice(response),
            headers: headers.to_owned(),
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(request: Vec<u8>, response: Vec<u8>, headers: String) {
            let packer = Packer::default();
            let original = transcript(&request, &response, &headers);
            for _ in 0..2 {
                let packed = packer.pack(&original);
                prop_assert_eq!(&unpack(packed.codec, &packed.bytes).unwrap(), &original);
            }
        }

        #[test]
        fn damaged_bytes_are_an_error_and_never_a_panic(codec in -1_i64..3, bytes: Vec<u8>) {
            let _ = unpack(codec, &bytes);
        }

        #[test]
        fn a_flipped_length_is_noticed(at in 0_usize..12, bit in 0_u8..8) {
            let mut packed = Packer::default().pack(&transcript(b"request request request", b"response", "a: b"));
            packed.bytes[at] ^= 1 << bit;
            let read = unpack(packed.codec, &packed.bytes);
            prop_assert!(!matches!(read, Ok(t) if t == transcript(b"request request request", b"response", "a: b")));
        }
    }

    #[test]
    fn the_dictionary_is_used_and_stays_as_it_is() {
        let request =
            br#"{"model":"m","messages":[{"role":"user","content":"What is the capital of Peru?"}],"tools":[]}"#;
        let packed = Packer::default().pack(&transcript(request, b"", ""));
        assert_eq!(packed.codec, CODEC_ZSTD_1);
        assert!(packed.bytes.len() * 3 < request.len() * 2, "{} of {}", packed.bytes.len(), request.len());
        // Changing the dictionary would make every stored transcript of codec 1 unreadable.
        assert_eq!(
            crate::domain::canonical::sha256_hex(DICTIONARY_1),
            "1a1abce3bca88820ccd1d79e1555511f4fcd709131c13d7d9d8e81642cd573ca"
        );
    }

    #[test]
    fn incompressible_bytes_are_stored_as_they_are() {
        let packed = Packer::default().pack(&transcript(&[7, 93, 201], b"", ""));
        assert_eq!((packed.codec, packed.bytes.len()), (CODEC_PLAIN, HEAD + 3));
    }
}
