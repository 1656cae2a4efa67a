//! How records are written and read.

use alloc::vec::Vec;

/// Writes a record's key or value.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl From<Vec<u8>> for Writer {
    fn from(bytes: Vec<u8>) -> Self {
        Writer(bytes)
    }
}

impl Writer {
    /// Starts a key of `owner`.
    #[must_use]
    pub fn key(owner: u8) -> Self {
        Writer(alloc::vec![owner])
    }

    /// What was written.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// Eight bytes, big-endian (in keys it keeps the order).
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self, value: &[u8]) {
        // Payloads are bounded by 256 MiB.
        let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(value);
    }

    /// Text with its length before it.
    pub fn str(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Bytes to the end: the last part of a key.
    pub fn tail(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    /// A byte that says whether a value follows.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Reads a record's key or value; every method gives `None` at the end or on damage.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(len).ok()?)
    }

    /// Text with its length before it.
    pub fn str(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.bytes()?).ok()
    }

    /// What is left.
    pub fn tail(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    /// A value that may be absent; the outer `None` means damage.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.u8()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::owner;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Writer::key(owner::BROKER);
        out.u16(500);
        out.u64(7);
        out.str("é");
        out.option(Some(3), Writer::u8);
        out.option(None, Writer::u8);
        out.tail(b"rest");
        let bytes = out.into_vec();
        let mut input = Reader::new(&bytes);
        assert_eq!(input.u8(), Some(owner::BROKER));
        assert_eq!(input.u16(), Some(500));
        assert_eq!(input.u64(), Some(7));
        assert_eq!(input.str(), Some("é"));
        assert_eq!(input.option(Reader::u8), Some(Some(3)));
        assert_eq!(input.option(Reader::u8), Some(None));
        assert_eq!(input.tail(), b"rest");
        assert!(input.is_empty());
        assert_eq!(input.u8(), None);
    }
}
