//! Time and chance as the operating system gives them; everything else takes them as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

/// The system's wall clock and random generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl System {
    /// Microseconds since the Unix epoch; 0 on a machine whose clock stands before it.
    pub fn now_micros(self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    /// Fills the buffer with unpredictable bytes.
    ///
    /// # Panics
    /// If the system has no randomness: nothing that needs ids or keys may run then.
    pub fn fill(self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system gives random bytes");
    }

    /// Sixteen unpredictable bytes: a new id.
    ///
    /// # Panics
    /// As [`System::fill`].
    pub fn new_id(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        // The marks of a random UUID, for tools that look at them.
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        bytes
    }
}

impl skep_api::ports::Clock for System {
    fn now_micros(&self) -> u64 {
        System::now_micros(*self)
    }
}

impl skep_api::ports::Random for System {
    fn fill(&self, buffer: &mut [u8]) {
        System::fill(*self, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_uuids() {
        let (one, two) = (System.new_id(), System.new_id());
        assert_ne!(one, two);
        assert_eq!(uuid::Uuid::from_bytes(one).get_version_num(), 4);
        assert!(System.now_micros() > 1_700_000_000_000_000);
    }
}
