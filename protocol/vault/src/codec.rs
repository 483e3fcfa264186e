//! The primitives of FORMAT.md: varints, byte strings, lists and tagged fields.
//!
//! **Invariant**: no reader takes memory, or loops, by a length that the remaining input cannot back.

use thiserror::Error;

/// Why bytes are not what FORMAT.md says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input ended inside a value.
    #[error("{what} ends too early")]
    Truncated {
        /// The value being read.
        what: &'static str,
    },
    /// A value is outside its bound or not in its one allowed form.
    #[error("{what} is out of bounds")]
    OutOfBounds {
        /// The value being read.
        what: &'static str,
    },
    /// A mandatory mark that this reader does not know (FORMAT.md, I7).
    #[error("{what} carries the mandatory mark {tag}, which this version does not know; a newer version can read it")]
    UnknownMandatory {
        /// The structure being read.
        what: &'static str,
        /// Its unknown even tag or feature.
        tag: u64,
    },
    /// A field that must be there is not.
    #[error("{what} is missing")]
    Missing {
        /// The absent value.
        what: &'static str,
    },
}

/// Appends primitives to a growing buffer.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    buffer: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.buffer
    }

    /// The bytes written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    /// How many bytes were written so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Forgets what was written and keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.buffer.push(value);
        self
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Bytes as they are, with no length in front.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(bytes);
        self
    }

    /// LEB128 in its shortest form.
    pub fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
        self
    }

    /// A signed number, zigzag.
    pub fn zigzag(&mut self, value: i64) -> &mut Self {
        self.varint(((value << 1) ^ (value >> 63)) as u64)
    }

    /// A length and the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.varint(bytes.len() as u64).raw(bytes)
    }

    /// A list: its count, then each item by `write`.
    pub fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.varint(items.len() as u64);
        for item in items {
            write(self, item);
        }
        self
    }

    /// A tagged field whose value `write` makes.
    pub fn field(&mut self, tag: u64, write: impl FnOnce(&mut Writer)) -> &mut Self {
        let mut value = Writer::new();
        write(&mut value);
        self.varint(tag).bytes(value.as_slice())
    }
}

/// Reads primitives from a slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader over `bytes`; `what` names the structure in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Fails unless all was read.
    pub fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.out_of_bounds()) }
    }

    /// The error for a value of this structure that breaks a bound.
    pub fn out_of_bounds(&self) -> DecodeError {
        DecodeError::OutOfBounds { what: self.what }
    }

    /// Exactly `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated { what: self.what })?;
        self.rest = rest;
        Ok(head)
    }

    /// Exactly `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// LEB128; anything but the shortest form is refused.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.out_of_bounds());
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(self.out_of_bounds()) } else { Ok(value) };
            }
        }
        Err(self.out_of_bounds())
    }

    /// A varint that must not exceed `max`.
    pub fn varint_max(&mut self, max: u64) -> Result<u64, DecodeError> {
        let value = self.varint()?;
        if value > max { Err(self.out_of_bounds()) } else { Ok(value) }
    }

    /// A signed number, zigzag.
    pub fn zigzag(&mut self) -> Result<i64, DecodeError> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A length and as many bytes, borrowed.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.varint()?;
        let length = usize::try_from(length).map_err(|_| self.out_of_bounds())?;
        self.take(length)
    }

    /// UTF-8 text.
    pub fn text(&mut self) -> Result<String, DecodeError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| self.out_of_bounds())
    }

    /// A list of items, each at least one byte long.
    pub fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.varint_max(self.rest.len() as u64)?;
        let mut items = Vec::with_capacity((count as usize).min(4096));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// Tagged fields to the end of the input.
    ///
    /// `read` gets each tag and its value, and answers whether it knows the tag. An unknown odd tag is skipped.
    pub fn fields(
        mut self,
        mut read: impl FnMut(u64, &mut Reader<'a>) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let mut last = None;
        while !self.is_empty() {
            let tag = self.varint()?;
            if last.is_some_and(|last| tag <= last) {
                return Err(self.out_of_bounds());
            }
            last = Some(tag);
            let mut value = Reader::new(self.bytes()?, self.what);
            let known = read(tag, &mut value)?;
            if known {
                value.end()?;
            } else if tag % 2 == 0 {
                return Err(DecodeError::UnknownMandatory { what: self.what, tag });
            }
        }
        Ok(())
    }
}

/// A moment as the format stores it: seconds since 1970-01-01 UTC and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Time {
    /// Seconds since 1970-01-01 UTC, negative before.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl Time {
    pub(crate) fn write(self, writer: &mut Writer) {
        writer.zigzag(self.seconds).varint(u64::from(self.nanoseconds));
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let seconds = reader.zigzag()?;
        let nanoseconds = reader.varint_max(999_999_999)? as u32;
        Ok(Self { seconds, nanoseconds })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot decode has failed")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_varint_has_one_form() {
        assert_eq!(Reader::new(&[0x80, 0x00], "n").varint(), Err(DecodeError::OutOfBounds { what: "n" }));
        assert_eq!(Reader::new(&[0xff; 10], "n").varint(), Err(DecodeError::OutOfBounds { what: "n" }));
    }

    #[test]
    fn an_unknown_odd_field_is_skipped_and_an_even_one_refused() {
        let mut writer = Writer::new();
        writer.field(2, |w| {
            w.varint(5);
        });
        writer.field(3, |w| {
            w.varint(6);
        });
        let bytes = writer.finish();
        let mut seen = 0;
        let read = |known: u64, seen: &mut u64| {
            Reader::new(&bytes, "x").fields(|tag, value| {
                if tag == known {
                    *seen = value.varint()?;
                }
                Ok(tag == known)
            })
        };
        read(2, &mut seen).unwrap();
        assert_eq!(seen, 5);
        assert_eq!(read(3, &mut seen), Err(DecodeError::UnknownMandatory { what: "x", tag: 2 }));
    }

    #[test]
    fn a_list_cannot_claim_more_items_than_there_are_bytes() {
        let mut bytes = Writer::new();
        bytes.varint(u64::MAX);
        let bytes = bytes.finish();
        assert!(Reader::new(&bytes, "list").list(|r| r.u8()).is_err());
    }

    proptest! {
        #[test]
        fn numbers_come_back(unsigned: u64, signed: i64) {
            let mut writer = Writer::new();
            writer.varint(unsigned).zigzag(signed);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes, "numbers");
            prop_assert_eq!(reader.varint().unwrap(), unsigned);
            prop_assert_eq!(reader.zigzag().unwrap(), signed);
            prop_assert!(reader.end().is_ok());
        }
    }
}
