//! Small whole numbers in a few bits each: Rice codes. A number is its quotient by a power of two, as so many ones and a
//! zero, and its remainder in so many bits as the power says.

use super::{DecodeError, Read, Reader, Writer};

/// Largest power of two that is tried.
const POWER_MAX: u8 = 32;

/// Bits that are written one after another; whole bytes at the end.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    used: u8,
}

impl BitWriter {
    fn bit(&mut self, bit: bool) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
            self.used = 0;
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << self.used;
        }
        self.used += 1;
    }

    pub(super) fn rice(&mut self, value: u64, power: u8) {
        (0..value >> power).for_each(|_| self.bit(true));
        self.bit(false);
        (0..power).for_each(|i| self.bit(value >> i & 1 == 1));
    }

    pub(super) fn end(self, out: &mut Writer) {
        out.0.extend_from_slice(&self.bytes);
    }
}

/// The power of two that writes these numbers in the fewest bits.
pub(super) fn best_power(values: &[u64]) -> u8 {
    let bits = |power: u8| values.iter().map(|v| (v >> power).saturating_add(u64::from(power))).sum::<u64>();
    (0..=POWER_MAX).min_by_key(|power| bits(*power)).unwrap_or(0)
}

/// Bits that are read one after another; what is left of the last byte belongs to them.
pub(super) struct BitReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    byte: u8,
    left: u8,
}

impl<'r, 'a> BitReader<'r, 'a> {
    pub(super) fn new(reader: &'r mut Reader<'a>) -> Self {
        BitReader { reader, byte: 0, left: 0 }
    }

    fn bit(&mut self) -> Read<bool> {
        if self.left == 0 {
            (self.byte, self.left) = (self.reader.byte()?, 8);
        }
        let bit = self.byte & 1 == 1;
        self.byte >>= 1;
        self.left -= 1;
        Ok(bit)
    }

    pub(super) fn rice(&mut self, power: u8) -> Read<u64> {
        if power > POWER_MAX {
            return Err(DecodeError::Damaged("an impossible power"));
        }
        let mut quotient = 0u64;
        while self.bit()? {
            quotient += 1;
        }
        let mut rest = 0u64;
        for i in 0..power {
            rest |= u64::from(self.bit()?) << i;
        }
        Ok(quotient.saturating_mul(1 << power) | rest)
    }
}
