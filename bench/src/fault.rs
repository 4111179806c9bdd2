//! Why a row or the whole run ended: what failed, where, and what to do.

use std::fmt;

/// A failure in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    what: String,
    place: String,
    advice: String,
}

impl Fault {
    /// What failed, nothing more known.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), place: String::new(), advice: String::new() }
    }

    /// Says where it failed, unless that was said before.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        if self.place.is_empty() {
            self.place = place.to_string();
        }
        self
    }

    /// Says what to do, unless that was said before.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        if self.advice.is_empty() {
            self.advice = advice.into();
        }
        self
    }

    /// A failure of the operating system at a path or address.
    pub fn io(doing: &str, what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(format!("cannot {doing} {what}: {cause}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.what)?;
        if !self.advice.is_empty() {
            write!(f, ". {}", self.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn the_innermost_place_and_advice_stay() {
        let fault = Fault::new("PUT answered 503").at("node 2").at("row x").advise("look at its log").advise("try again");
        assert_eq!(fault.to_string(), "node 2: PUT answered 503. look at its log");
    }
}
