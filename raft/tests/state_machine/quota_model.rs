//! Quotas refuse exactly what makes something grow over its limit, and nothing of it is done.

use super::group::{path, tree};
use super::model::Model;
use super::pair::{Pair, ask, command_of, text};
use super::steps::{Place, Step, place, step};
use proptest::prelude::*;
use skep_raft::wire::meta::v1::{Command, QuotaLimit, RejectionCode, SetDatasourceQuota, tree_command};

#[derive(Clone, Debug)]
struct Limit {
    root: Place,
    bytes: u64,
    entries: u64,
}

#[derive(Clone, Debug)]
enum Event {
    Step(Step, Vec<Limit>),
    SetDatasource { stored: u64, entries: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    let limit = (place(), 0..25_u64, 0..8_u64).prop_map(|(root, bytes, entries)| Limit { root, bytes, entries });
    prop_oneof![
        12 => (step(), proptest::collection::vec(limit, 0..3)).prop_map(|(step, limits)| Event::Step(step, limits)),
        1 => (0..60_u64, 0..20_u64).prop_map(|(stored, entries)| Event::SetDatasource { stored, entries }),
    ]
}

/// Who has the path: the root is nobody's number.
fn named(model: &Model, at: &Place) -> Option<u64> {
    if at.is_empty() { Some(0) } else { model.nodes.get(at).map(|node| node.token) }
}

fn is_over(is: u64, was: u64, most: u64) -> bool {
    most != 0 && is > most && is > was
}

/// Whether a step that led from one model to the other went over a limit: of what has the path now, if another had it before from nothing on. A bin that is
/// made to take something is no entry.
fn goes_over(before: &Model, after: &Model, limits: &[Limit], datasource: (u64, u64)) -> bool {
    let folder = |limit: &Limit| {
        let who = named(after, &limit.root);
        let was = if who == named(before, &limit.root) { before.below(&limit.root) } else { (0, 0) };
        let is = after.below(&limit.root);
        who.is_some() && (is_over(is.0, was.0, limit.bytes) || is_over(is.1 - after.bins_made.min(is.1), was.1, limit.entries))
    };
    let entries = |model: &Model| model.nodes.len() as u64;
    limits.iter().any(folder)
        || is_over(after.stored(), before.stored(), datasource.0)
        || is_over(entries(after) - after.bins_made, entries(before), datasource.1)
}

/// Takes the step on both. Whether a quota stood in its way.
fn take(pair: &mut Pair, step: &Step, limits: &[Limit], datasource: (u64, u64)) -> Result<bool, TestCaseError> {
    let (step, first) = pair.begin(step);
    let before = pair.model.clone();
    let taken = pair.model.take(&step, first);
    let over = taken && goes_over(&before, &pair.model, limits, datasource);
    let quotas = limits.iter().map(|limit| QuotaLimit {
        root: path(&text(&limit.root)),
        bytes_max: limit.bytes,
        entries_max: limit.entries,
        name: "somebody".to_owned(),
    });
    let command = Command { quotas: quotas.collect(), what: Some(tree(command_of(&step, first, &before))), ..Command::default() };
    let done = ask(&mut pair.group, command);
    let is_quota = done.as_ref().is_err_and(|rejection| rejection.code() == RejectionCode::QuotaExceeded);
    prop_assert_eq!(over, is_quota, "{:?} under {:?} and {:?} on {:?}: {:?}", step, limits, datasource, before.nodes, done);
    pair.end(before, taken && !over, done)?;
    Ok(over)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn quotas_refuse_what_grows_over_them(events in proptest::collection::vec(event(), 1..40)) {
        let mut pair = Pair::new();
        let mut datasource = (0, 0);
        for event in &events {
            match event {
                Event::Step(step, limits) => {
                    if take(&mut pair, step, limits, datasource)? {
                        pair.compare()?;
                    }
                }
                Event::SetDatasource { stored, entries } => {
                    datasource = (*stored, *entries);
                    let set = SetDatasourceQuota { stored_bytes_max: *stored, entries_max: *entries };
                    pair.group.tree(tree_command::What::SetDatasourceQuota(set)).unwrap();
                }
            }
        }
        pair.group.check();
    }
}
