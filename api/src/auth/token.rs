//! Access tokens: drawn at random, shown once, stored only as their SHA-256.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;

use crate::auth::secret::Secret;
use crate::ports::Random;

const HALF_BYTES: usize = 32;

/// Draws a token of the form `<base64url>.<base64url>`, 512 bits in all.
#[must_use]
pub fn draw(random: &dyn Random) -> Secret {
    let mut bytes = zeroize::Zeroizing::new([0; 2 * HALF_BYTES]);
    random.fill(bytes.as_mut_slice());
    let (first, second) = bytes.split_at(HALF_BYTES);
    Secret::new(format!("{}.{}", URL_SAFE_NO_PAD.encode(first), URL_SAFE_NO_PAD.encode(second)))
}

/// What is stored of a token: 32 bytes. A fast hash is enough because the token is no word that one could guess.
#[must_use]
pub fn hash(token: &Secret) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.expose().as_bytes()).as_ref());
    hash
}

/// The value that forms of a browser's session carry against requests forged by other sites: known only to who holds the session.
#[must_use]
pub fn form_proof(session: &Secret) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, session.expose().as_bytes());
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, b"skep form proof 1"))
}

/// True if the form carries the proof of this session.
#[must_use]
pub fn form_proof_holds(session: &Secret, sent: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, session.expose().as_bytes());
    URL_SAFE_NO_PAD.decode(sent).is_ok_and(|tag| hmac::verify(&key, b"skep form proof 1", &tag).is_ok())
}

#[cfg(test)]
mod tests {
    use super::{draw, form_proof, form_proof_holds, hash};
    use crate::auth::secret::Secret;
    use crate::ports::Random;

    struct Counting;

    impl Random for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            for (place, byte) in buffer.iter_mut().enumerate() {
                *byte = u8::try_from(place % 251).expect("below 256");
            }
        }
    }

    #[test]
    fn tokens_have_two_parts_and_hash_to_a_frozen_value() {
        let token = draw(&Counting);
        let parts: Vec<_> = token.expose().split('.').collect();
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|part| part.len() == 43), "{parts:?}");
        let hex: String = hash(&Secret::new("abc".to_owned())).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_form_proof_is_of_one_session() {
        let (mine, other) = (Secret::new("a.b".to_owned()), Secret::new("a.c".to_owned()));
        assert!(form_proof_holds(&mine, &form_proof(&mine)));
        assert!(!form_proof_holds(&other, &form_proof(&mine)));
        assert!(!form_proof_holds(&mine, ""));
    }
}
