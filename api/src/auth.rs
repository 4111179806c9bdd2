//! Who asks, and whether it may: passwords, tokens, and the proof of a decision.
//!
//! Secrets live in [`secret::Secret`], which prints as nothing. Everything is denied unless a rule allows it.

pub mod attempts;
pub mod authenticator;
pub mod credentials;
pub mod password;
pub mod remembered;
pub mod rights;
pub mod secret;
pub mod token;
