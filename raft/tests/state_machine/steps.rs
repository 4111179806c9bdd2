//! The steps that are taken on a group and on the model, and how they are drawn.

use super::model::BIN;
use proptest::prelude::*;

/// Names from the root; the root has none.
pub(crate) type Place = Vec<String>;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    MakeFolder {
        at: Place,
        recursive: bool,
    },
    Put {
        at: Place,
        bytes: Vec<u8>,
    },
    Move {
        from: Place,
        to: Place,
        overwrite: bool,
    },
    Copy {
        from: Place,
        to: Place,
        overwrite: bool,
    },
    Delete {
        at: Place,
    },
    Recycle {
        at: Place,
    },
    SetTimes {
        at: Place,
        mtime: u64,
    },
    /// `of` is drawn by `pick` from all versions there are.
    UseVersion {
        to: Place,
        pick: usize,
        of: Option<(u64, u64)>,
        keep_mtime: bool,
    },
    /// `number` is drawn by `pick` from the file's versions.
    Describe {
        at: Place,
        pick: usize,
        number: u64,
    },
    DeleteVersion {
        at: Place,
        pick: usize,
        number: u64,
    },
    Batch {
        steps: Vec<Step>,
    },
}

pub(crate) fn place() -> impl Strategy<Value = Place> {
    let name = prop_oneof![5 => Just("a"), 4 => Just("b"), 1 => Just(BIN)];
    proptest::collection::vec(name.prop_map(str::to_owned), 0..4)
}

fn put() -> impl Strategy<Value = Step> {
    (place(), proptest::collection::vec(any::<u8>(), 0..9)).prop_map(|(at, bytes)| Step::Put { at, bytes })
}

/// Steps of a tree.
pub(crate) fn plain_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (place(), any::<bool>()).prop_map(|(at, recursive)| Step::MakeFolder { at, recursive }),
        4 => put(),
        3 => (place(), place(), any::<bool>()).prop_map(|(from, to, overwrite)| Step::Move { from, to, overwrite }),
        2 => (place(), place(), any::<bool>()).prop_map(|(from, to, overwrite)| Step::Copy { from, to, overwrite }),
        1 => place().prop_map(|at| Step::Delete { at }),
        2 => place().prop_map(|at| Step::Recycle { at }),
        1 => (place(), 1..9_u64).prop_map(|(at, mtime)| Step::SetTimes { at, mtime }),
    ]
}

fn use_version() -> impl Strategy<Value = Step> {
    (place(), any::<usize>(), any::<bool>()).prop_map(|(to, pick, keep_mtime)| Step::UseVersion { to, pick, of: None, keep_mtime })
}

fn batch() -> impl Strategy<Value = Step> {
    let copies = |step: &Step| matches!(step, Step::Copy { .. });
    let step = prop_oneof![5 => plain_step().prop_filter("no step of a batch", move |step| !copies(step)), 1 => use_version()];
    proptest::collection::vec(step, 1..5).prop_map(|steps| Step::Batch { steps })
}

/// Steps of a tree and of its files' versions.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => plain_step(),
        4 => put(),
        2 => use_version(),
        1 => (place(), any::<usize>()).prop_map(|(at, pick)| Step::Describe { at, pick, number: 0 }),
        2 => (place(), any::<usize>()).prop_map(|(at, pick)| Step::DeleteVersion { at, pick, number: 0 }),
        5 => batch(),
    ]
}
