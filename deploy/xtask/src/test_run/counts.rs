//! Counting tests by the lines that their runner prints.

use std::fmt;
use std::ops::AddAssign;

/// How many tests went how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`; none if the line is another.
    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let (_verdict, rest) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let count = |word: &str| rest.split(';').find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok());
        Some(Counts { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 5 filtered out; finished in 0.05s";
        assert_eq!(Counts::of_line(line), Some(Counts { passed: 12, failed: 1, skipped: 2 }));
        for other in ["test result: ok", "running 3 tests", "test x ... ok", "test result: ok. many passed; 0 failed; 0 ignored"] {
            assert_eq!(Counts::of_line(other), None, "{other}");
        }
    }
}
