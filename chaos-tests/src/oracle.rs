//! Remembers what was acknowledged and checks that it is there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::client::{Client, Outcome};
use crate::content::{length_of, random_bytes};
use crate::wait::INTERVAL;

/// How long a file may be refused after a fault.
pub const READABLE_WITHIN: Duration = Duration::from_secs(30);

/// What is known of each path: seeds of contents that may be there; with one seed that one must.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    files: BTreeMap<String, Vec<Possible>>,
    next_seed: u64,
}

/// A file that is not as acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The file.
    pub path: String,
    /// It was refused until the limit, and nobody said what it is; else it was answered, wrongly.
    pub is_refused: bool,
    /// In a sentence.
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Possible {
    Absent,
    Content(u64, usize),
}

impl Oracle {
    /// One that knows nothing; its contents begin with a seed, so that several do not write the same ones.
    pub fn from_seed(seed: u64) -> Self {
        Self { files: BTreeMap::new(), next_seed: seed }
    }

    /// Writes a new file of the next size class and remembers what became of it.
    pub async fn put_next(&mut self, client: &Client, folder: &str) -> Outcome {
        let seed = self.next_seed;
        self.put(client, &format!("{folder}/file-{seed:05}.bin"), length_of(seed)).await
    }

    /// Writes a new file that is small enough for the metadata.
    pub async fn put_next_small(&mut self, client: &Client, folder: &str) -> Outcome {
        let path = format!("{folder}/small-{:05}.bin", self.next_seed);
        self.put(client, &path, 4_000).await
    }

    /// Writes a file and remembers what became of it.
    pub async fn put(&mut self, client: &Client, path: &str, length: usize) -> Outcome {
        let seed = self.next_seed;
        self.next_seed += 1;
        self.put_content(client, path, seed, length).await
    }

    /// Writes the content of a file that was written before under another path.
    pub async fn put_again(&mut self, client: &Client, path: &str, as_in: &str) -> Outcome {
        let Some(Possible::Content(seed, length)) = self.files.get(as_in).and_then(|possible| possible.last()).copied() else {
            return Outcome::Unknown(format!("{as_in} was never written"));
        };
        self.put_content(client, path, seed, length).await
    }

    /// Forgets what it knows, so that the next check is of what comes from now on; returns what it knew.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self { files: std::mem::take(&mut self.files), next_seed: self.next_seed }
    }

    /// Takes in what another one knows of other paths.
    pub fn absorb(&mut self, other: Self) {
        self.files.extend(other.files);
        self.next_seed = self.next_seed.max(other.next_seed);
    }

    async fn put_content(&mut self, client: &Client, path: &str, seed: u64, length: usize) -> Outcome {
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
    /// If anything acknowledged is not there unchanged within [`READABLE_WITHIN`], or anything is there that was never written.
    pub async fn check(&self, client: &Client) {
        if let Some(wrong) = self.first_wrong(client, READABLE_WITHIN).await {
            panic!("{}", wrong.why);
        }
    }

    /// The first file that is not as acknowledged, or can't be read within the limit; `None` if there is none.
    pub async fn first_wrong(&self, client: &Client, limit: Duration) -> Option<Wrong> {
        for (path, possible) in &self.files {
            let wrong = |is_refused, why| Some(Wrong { path: path.clone(), is_refused, why });
            // Right after a fault a read may be refused for a while; a wrong answer is wrong at once.
            let begun = Instant::now();
            let found = loop {
                match client.get(path).await {
                    Ok(found) => break found,
                    Err(why) if begun.elapsed() > limit => return wrong(true, format!("{path} through {}: {why}", client.base())),
                    Err(_not_yet) => tokio::time::sleep(INTERVAL).await,
                }
            };
            let matches = possible.iter().any(|possible| match (possible, &found) {
                (Possible::Absent, None) => true,
                (Possible::Content(seed, length), Some(bytes)) => bytes.len() == *length && *bytes == random_bytes(*seed, *length),
                (Possible::Absent, Some(_)) | (Possible::Content(..), None) => false,
            });
            if !matches {
                let found = found.map(|bytes| bytes.len());
                return wrong(false, format!("{path} through {}: found {found:?} bytes, possible are {possible:?}", client.base()));
            }
        }
        None
    }
}
