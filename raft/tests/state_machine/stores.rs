//! The two stores hold the same bytes after the same commands.

use super::group::{Group, stored};
use skep_placement::ids::DatasourceId;
use skep_raft::state::GroupKind;
use skep_raft::store::{Changes, Direction, Family, MemoryStore, StateStore};
use std::ops::Bound;

/// Some of everything.
fn fill(group: &mut Group) {
    group.mkdir("/a").unwrap();
    for number in 0..40_u8 {
        group.put(&format!("/a/{number}"), &vec![number; usize::from(number) * 100]).unwrap();
        group.put_chunks("/a/big", &[stored(number, 5_000, u64::from(number), 900), stored(1, 5_000, 99, 900)]).unwrap();
    }
    assert!(group.put("/missing/x", b"x").is_err());
    group.check();
}

#[test]
fn a_snapshot_stays_as_it_was() {
    snapshot_stays(&MemoryStore::new());
}

fn snapshot_stays(store: &dyn StateStore) {
    let put = |value: &'static [u8]| {
        let mut changes = Changes::new();
        changes.put(Family::Tree, vec![1].into(), value.into());
        store.commit(changes).unwrap();
    };
    put(b"one");
    let before = store.snapshot();
    put(b"two");
    let mut changes = Changes::new();
    changes.delete(Family::Tree, vec![1].into());
    store.commit(changes).unwrap();
    assert_eq!(before.get(Family::Tree, &[1]).unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(before.get(Family::Data, &[1]).unwrap(), None);
    assert_eq!(store.snapshot().get(Family::Tree, &[1]).unwrap(), None);
}

fn scans(store: &dyn StateStore) {
    let mut changes = Changes::new();
    for byte in [1_u8, 3, 5, 7] {
        changes.put(Family::Data, vec![byte].into(), vec![byte].into());
    }
    changes.put(Family::Data, vec![3, 0].into(), vec![9].into());
    store.commit(changes).unwrap();
    let snapshot = store.snapshot();
    let read = |start: Bound<&[u8]>, end: Bound<&[u8]>, direction| {
        snapshot.scan(Family::Data, start, end, direction).map(|row| row.unwrap().1[0]).collect::<Vec<u8>>()
    };
    use Bound::{Excluded, Included, Unbounded};
    assert_eq!(read(Unbounded, Unbounded, Direction::Forward), [1, 3, 9, 5, 7]);
    assert_eq!(read(Unbounded, Unbounded, Direction::Backward), [7, 5, 9, 3, 1]);
    assert_eq!(read(Included(&[3]), Excluded(&[7]), Direction::Forward), [3, 9, 5]);
    assert_eq!(read(Excluded(&[3]), Included(&[7]), Direction::Forward), [9, 5, 7]);
    assert_eq!(read(Excluded(&[3]), Included(&[7]), Direction::Backward), [7, 5, 9]);
    assert_eq!(read(Included(&[2]), Included(&[4]), Direction::Backward), [9, 3]);
    assert_eq!(read(Included(&[5]), Excluded(&[5]), Direction::Forward), []);
    assert_eq!(read(Included(&[6]), Included(&[4]), Direction::Forward), []);
    assert_eq!(read(Included(&[8]), Unbounded, Direction::Forward), []);
    // By one way, asked in any order.
    let mut last = snapshot.last_rows(Family::Data);
    let mut last = |start: u8, end: u8| last(&[start], &[end]).unwrap().map(|row| row.1[0]);
    assert_eq!([last(1, 8), last(3, 5), last(3, 3), last(4, 5), last(6, 7), last(0, 1), last(8, 9), last(1, 3)], {
        [Some(7), Some(9), None, None, None, None, None, Some(1)]
    });
}

#[test]
fn scans_keep_their_bounds() {
    scans(&MemoryStore::new());
}

#[test]
fn the_same_commands_give_the_same_state() {
    let mut groups = [Group::datasource(), Group::datasource()];
    groups.iter_mut().for_each(fill);
    assert_eq!(groups[0].rows(), groups[1].rows());
    assert_eq!(groups[0].kind, GroupKind::Datasource(DatasourceId(1)));
}

#[cfg(feature = "rocksdb")]
mod rocks {
    use super::{Group, fill, scans, snapshot_stays};
    use crate::pair::Pair;
    use crate::steps::step;
    use proptest::prelude::*;
    use skep_placement::ids::DatasourceId;
    use skep_raft::keys::after_prefix;
    use skep_raft::state::GroupKind;
    use skep_raft::store::{Changes, Direction, Family, MemoryStore, ReadState, RocksOptions, RocksShared, RocksStore, StateStore};
    use std::ops::Bound;

    const KIND: GroupKind = GroupKind::Datasource(DatasourceId(1));

    #[test]
    fn it_behaves_as_the_store_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let shared = RocksShared::new(RocksOptions::default()).unwrap();
        snapshot_stays(&RocksStore::open(&dir.path().join("a"), &shared).unwrap());
        scans(&RocksStore::open(&dir.path().join("b"), &shared).unwrap());
        let store = RocksStore::open(&dir.path().join("c"), &shared).unwrap();
        let mut on_disk = Group::on(Box::new(store.clone()), KIND);
        let mut in_memory = Group::datasource();
        fill(&mut on_disk);
        fill(&mut in_memory);
        assert_eq!(on_disk.rows(), in_memory.rows());
        assert_eq!(store.background_errors().unwrap(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_done_both_hold_the_same(steps in proptest::collection::vec((step(), 0..3_u64), 1..40)) {
            let dir = tempfile::tempdir().unwrap();
            let shared = RocksShared::new(RocksOptions::default()).unwrap();
            let mut on_disk = Group::on(Box::new(RocksStore::open(dir.path(), &shared).unwrap()), KIND);
            let mut pair = Pair::new();
            for (step, seconds) in &steps {
                pair.group.clock += seconds * 1_000_000;
                pair.take(step)?;
            }
            for (clock, what) in &pair.said {
                on_disk.clock = *clock;
                // Refusals are compared by the rows that they leave.
                let _refused = on_disk.tree(what.clone());
            }
            prop_assert_eq!(on_disk.rows(), pair.group.rows());
            on_disk.check();
        }
    }

    /// Keys of few kinds and ids, short ones and ids that end in 255 too, so that scans begin, end and lie within one prefix and across several.
    fn tree_key() -> impl Strategy<Value = Vec<u8>> {
        let parts = (proptest::sample::select(vec![16_u8, 21, 25]), proptest::sample::select(vec![0_u8, 7, 254, 255]));
        (parts, proptest::collection::vec(0..3_u8, 0..3), proptest::bool::weighted(0.9)).prop_map(|((kind, id), rest, is_long)| {
            let id = if is_long { vec![id; 16] } else { Vec::new() };
            [vec![kind], id, rest].concat()
        })
    }

    fn bound(key: &[u8], which: u8) -> Bound<&[u8]> {
        match which {
            0 => Bound::Included(key),
            1 => Bound::Excluded(key),
            _ => Bound::Unbounded,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn scans_find_what_lies_in_any_file(
            changes in proptest::collection::vec((tree_key(), proptest::option::weighted(0.8, 0..9_u8)), 1..60),
            flush_every in 3..20_usize,
            parts in proptest::collection::vec((tree_key(), 0..3_u8, tree_key(), 0..3_u8), 1..40),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let shared = RocksShared::new(RocksOptions::default()).unwrap();
            let (on_disk, in_memory) = (RocksStore::open(dir.path(), &shared).unwrap(), MemoryStore::new());
            for (number, (key, value)) in changes.into_iter().enumerate() {
                for store in [&on_disk as &dyn StateStore, &in_memory] {
                    let mut one = Changes::new();
                    match value {
                        Some(value) => one.put(Family::Tree, key.clone().into(), vec![value].into()),
                        None => one.delete(Family::Tree, key.clone().into()),
                    }
                    store.commit(one).unwrap();
                }
                if number % flush_every == 0 {
                    on_disk.flush().unwrap();
                }
            }
            let (on_disk, in_memory) = (on_disk.snapshot(), in_memory.snapshot());
            let compare = |start: Bound<&[u8]>, end: Bound<&[u8]>| {
                for direction in [Direction::Forward, Direction::Backward] {
                    let rows = |state: &dyn ReadState| state.scan(Family::Tree, start, end, direction).collect::<Result<Vec<_>, _>>().unwrap();
                    prop_assert_eq!(rows(&*on_disk), rows(&*in_memory), "{:?} {:?} {:?}", start, end, direction);
                }
                prop_assert_eq!(on_disk.count(Family::Tree, start, end), in_memory.count(Family::Tree, start, end));
                Ok(())
            };
            for (from, how_from, to, how_to) in &parts {
                compare(bound(from, *how_from), bound(to, *how_to))?;
                compare(bound(from, *how_from % 2), Bound::Excluded(&after_prefix(&from[..from.len().min(17)])))?;
                prop_assert_eq!(on_disk.get(Family::Tree, from).unwrap(), in_memory.get(Family::Tree, from).unwrap());
            }
        }
    }

    #[test]
    fn checkpoints_and_reopened_stores_hold_everything() {
        let dir = tempfile::tempdir().unwrap();
        let shared = RocksShared::new(RocksOptions::default()).unwrap();
        let (live, copy) = (dir.path().join("live"), dir.path().join("copy"));
        let store = RocksStore::open(&live, &shared).unwrap();
        let mut group = Group::on(Box::new(store.clone()), KIND);
        fill(&mut group);
        let before = group.rows();
        store.checkpoint(&copy).unwrap();
        group.mkdir("/later").unwrap();
        let after = group.rows();
        let snapshot = store.snapshot();
        drop((group, store));
        // The view outlives the store that it was taken from.
        assert!(snapshot.get(Family::Meta, &[2]).unwrap().is_some());
        drop(snapshot);
        let checkpoint = RocksStore::open_read_only(&copy, &shared).unwrap();
        assert!(checkpoint.commit(Changes::new()).is_err(), "a checkpoint is only read");
        assert_eq!(Group::on(Box::new(checkpoint), KIND).rows(), before);
        assert_eq!(Group::on(Box::new(RocksStore::open(&live, &shared).unwrap()), KIND).rows(), after);
    }
}
