//! Remembers what was acknowledged and checks that it is there.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::{Client, Outcome};
use crate::content::{length_of, random_bytes};
use crate::wait::wait_for;

/// What is known of each path: seeds of contents that may be there; with one seed that one must.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    files: BTreeMap<String, Vec<Possible>>,
    next_seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Possible {
    Absent,
    Content(u64, usize),
}

impl Oracle {
    /// Writes a new file of the next size class and remembers what became of it.
    pub async fn put_next(&mut self, client: &Client, folder: &str) -> Outcome {
        let seed = self.next_seed;
        self.put(client, &format!("{folder}/file-{seed:05}.bin"), length_of(seed)).await
    }

    /// Writes a file and remembers what became of it.
    pub async fn put(&mut self, client: &Client, path: &str, length: usize) -> Outcome {
        let seed = self.next_seed;
        self.next_seed += 1;
        let outcome = client.put(path, random_bytes(seed, length)).await;
        let possible = self.files.entry(path.to_owned()).or_insert_with(|| vec![Possible::Absent]);
        match &outcome {
            Outcome::Acknowledged => *possible = vec![Possible::Content(seed, length)],
            Outcome::Unknown(_) => possible.push(Possible::Content(seed, length)),
            Outcome::Refused(..) => {}
        }
        outcome
    }

    /// How many files are acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.files.values().filter(|possible| matches!(possible.as_slice(), [Possible::Content(..)])).count()
    }

    /// Reads everything through a client.
    ///
    /// # Panics
    /// If anything acknowledged is not there unchanged within the limit, or anything is there that was never written.
    pub async fn check(&self, client: &Client) {
        for (path, possible) in &self.files {
            // Right after a fault a read may be refused for a while; a wrong answer is wrong at once.
            let found =
                wait_for(&format!("{path} through {}", client.base()), Duration::from_secs(30), async || client.get(path).await).await;
            let matches = possible.iter().any(|possible| match (possible, &found) {
                (Possible::Absent, None) => true,
                (Possible::Content(seed, length), Some(bytes)) => bytes.len() == *length && *bytes == random_bytes(*seed, *length),
                (Possible::Absent, Some(_)) | (Possible::Content(..), None) => false,
            });
            let found = found.map(|bytes| bytes.len());
            assert!(matches, "{path} through {}: found {found:?} bytes, possible are {possible:?}", client.base());
        }
    }
}
