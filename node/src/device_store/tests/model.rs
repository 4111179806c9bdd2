//! A device against a map, through crashes: an acknowledged shard is there with its bytes, an acknowledged deletion
//! holds, and what got no answer is there as it was sent or not at all.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const EIO: i32 = 5;
const NUMBERS: u64 = 12;

#[derive(Clone, Debug)]
enum Step {
    /// `is_other`: with a content that isn't the shard's own, if the shard is stored.
    Put {
        number: u64,
        is_other: bool,
    },
    Delete {
        number: u64,
    },
    Close,
    Crash,
    /// Syncs fail for these numbers' puts or deletions, then the power goes.
    PowerLoss {
        puts: Vec<u64>,
        deletions: Vec<u64>,
        keep: u64,
        hole: u64,
    },
    LoseIndex,
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 1..2_000_u32, 1 => 60_000..66_000_u32, 1 => 66_000..250_000_u32]
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0..NUMBERS;
    let power_loss =
        (proptest::collection::vec(number.clone(), 0..4), proptest::collection::vec(number.clone(), 0..2), 0..=256_u64, 0..=256_u64);
    prop_oneof![
        12 => (number.clone(), proptest::bool::weighted(0.1)).prop_map(|(number, is_other)| Step::Put { number, is_other }),
        5 => number.prop_map(|number| Step::Delete { number }),
        1 => Just(Step::Close),
        2 => Just(Step::Crash),
        3 => power_loss.prop_map(|(puts, deletions, keep, hole)| Step::PowerLoss { puts, deletions, keep, hole }),
        1 => Just(Step::LoseIndex),
    ]
}

/// What may be found of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Stored,
    /// There or not there.
    Unknown,
}

struct Run {
    bench: Bench,
    store: Option<DeviceStore>,
    model: BTreeMap<u64, Known>,
    /// An instance has one content, so a shard has one length.
    lengths: Vec<u32>,
}

impl Run {
    fn length(&self, number: u64) -> u32 {
        self.lengths[usize::try_from(number).expect("small")]
    }

    fn store(&self) -> &DeviceStore {
        self.store.as_ref().expect("open between steps")
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Put { number, is_other } => self.put(number, is_other).await,
            Step::Delete { number } => {
                let was_there = self.store().delete(key(number)).await.expect("deleted");
                assert_eq!(was_there, self.model.remove(&number).is_some());
            }
            Step::Close => {
                self.store().close().await.expect("closed");
                self.reopen();
            }
            Step::Crash => {
                self.store.take().expect("open").crash().await;
                self.reopen();
            }
            Step::PowerLoss { puts, deletions, keep, hole } => {
                self.lose_power(puts, deletions).await;
                self.bench.files.lose_unsynced(keep, hole);
                self.reopen();
                self.adopt().await;
            }
            Step::LoseIndex => {
                self.store.take().expect("open").crash().await;
                self.bench.lose_index();
                self.reopen();
            }
        }
    }

    async fn put(&mut self, number: u64, is_other: bool) {
        let is_conflict = is_other && self.model.contains_key(&number);
        let length = self.length(number) + u32::from(is_conflict);
        let answer = self.store().put(shard(number, length)).await;
        if is_conflict {
            assert_eq!(answer, Err(PutError::Conflict));
        } else {
            assert_eq!(answer, Ok(()));
            self.model.insert(number, Known::Stored);
        }
    }

    async fn lose_power(&mut self, puts: Vec<u64>, deletions: Vec<u64>) {
        self.bench.files.plan().sync_error = Some(EIO);
        let store = Arc::new(self.store.take().expect("open"));
        let mut tasks = Vec::new();
        for number in puts {
            if self.model.contains_key(&number) {
                continue;
            }
            self.model.insert(number, Known::Unknown);
            let (store, length) = (Arc::clone(&store), self.length(number));
            tasks.push(tokio::spawn(async move {
                assert!(store.put(shard(number, length)).await.is_err(), "nothing is acknowledged");
            }));
        }
        for number in deletions {
            if self.model.get(&number) != Some(&Known::Stored) {
                continue;
            }
            self.model.insert(number, Known::Unknown);
            let store = Arc::clone(&store);
            tasks.push(tokio::spawn(async move {
                assert!(store.delete(key(number)).await.is_err(), "nothing is acknowledged");
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        Arc::into_inner(store).expect("the last").crash().await;
        self.bench.files.plan().sync_error = None;
    }

    fn reopen(&mut self) {
        self.store = Some(self.bench.open());
    }

    /// Takes what is found of the unknown for the truth from now on.
    async fn adopt(&mut self) {
        for (number, known) in self.model.clone() {
            if known == Known::Stored {
                continue;
            }
            match read_all(self.store(), key(number)).await {
                Ok(_checked_later) => self.model.insert(number, Known::Stored),
                Err(ReadError::NotFound) => self.model.remove(&number),
                Err(error) => panic!("shard {number}: {error}"),
            };
        }
    }

    async fn check(&self) {
        let mut live_bytes = 0;
        for number in 0..NUMBERS {
            match self.model.get(&number) {
                Some(Known::Stored) => {
                    assert_stored(self.store(), &shard(number, self.length(number))).await;
                    live_bytes += u64::from(self.length(number));
                }
                Some(Known::Unknown) => panic!("adopted before"),
                None => {
                    let found = read_all(self.store(), key(number)).await.map(|found| found.header);
                    assert!(matches!(found, Err(ReadError::NotFound)), "shard {number} is gone, but: {found:?}");
                }
            }
        }
        let mut listed = Vec::new();
        for group in 0..4 {
            listed.extend(self.store().list_pg(pg(group), None, 100).await.expect("listed"));
        }
        listed.sort_by_key(|header| header.instance.write.counter);
        let numbers: Vec<u64> = listed.iter().map(|header| header.instance.write.counter).collect();
        assert_eq!(numbers, self.model.keys().copied().collect::<Vec<_>>());
        let usage = self.store().usage().expect("a usage");
        assert_eq!((usage.records, usage.live_bytes), (self.model.len() as u64, live_bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn device_is_a_map(
        steps in proptest::collection::vec(step(), 1..40),
        lengths in proptest::collection::vec(length(), 12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let bench = Bench::new();
            let store = Some(bench.open());
            let mut run = Run { bench, store, model: BTreeMap::new(), lengths };
            for step in steps {
                run.step(step).await;
                run.check().await;
            }
        });
    }
}
