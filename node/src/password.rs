//! Passwords that are drawn for people to copy.

use zeroize::Zeroizing;

use crate::clock::System;

/// Without letters and digits that look alike.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// 99 bits.
const LETTERS: usize = 20;
const GROUP: usize = 5;
/// The greatest multiple of the alphabet's size in a byte: above it some letters would come more often.
const FAIR_BELOW: u8 = 248;

/// Draws a password.
pub fn draw() -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(LETTERS + LETTERS / GROUP));
    let mut byte = [0];
    let mut drawn = 0;
    while drawn < LETTERS {
        System.fill(&mut byte);
        if byte[0] < FAIR_BELOW {
            if drawn > 0 && drawn % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]));
            drawn += 1;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn each_password_is_another() {
        let (one, two) = (draw(), draw());
        assert_ne!(one, two);
        assert_eq!(one.len(), 23);
        assert!(one.bytes().all(|letter| letter == b'-' || letter.is_ascii_lowercase() || letter.is_ascii_digit()));
    }
}
