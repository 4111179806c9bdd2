//! Reading fixed little-endian fields from a byte slice, without ever reading past its end.

/// Bytes that are not what their format says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct FormatError {
    /// What is wrong with them.
    pub problem: &'static str,
}

/// The fields not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(FormatError { problem: "the bytes end inside a field" })?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], FormatError> {
        let taken = self.take(LENGTH)?;
        Ok(taken.try_into().expect("take returns as many bytes as asked for"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A byte that is 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, FormatError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FormatError { problem: "a flag is neither 0 nor 1" }),
        }
    }

    /// A count of things that take at least `each` bytes, so that a wrong one cannot ask for much memory.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, FormatError> {
        let count = usize::try_from(self.u32()?).map_err(|_too_large| FormatError { problem: "a count is too large" })?;
        match count.checked_mul(each) {
            Some(bytes) if bytes <= self.left() => Ok(count),
            _ => Err(FormatError { problem: "a count is larger than the bytes that follow it" }),
        }
    }

    /// Checks that nothing is left over.
    pub(crate) fn finish(self) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FormatError { problem: "bytes are left over after the last field" }) }
    }
}
