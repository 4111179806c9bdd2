//! The tree commands against a model that is only a map of paths.

use super::group::{Group, Rows, id, path};
use super::pair::{Pair, whole_command};
use super::steps::{Step, plain_step, step};
use proptest::prelude::*;
use skep_raft::wire::meta::v1::{Command, CopyEntry, DeleteEntry, Proposal, RejectionCode, tree_command};

/// State without what depends on how commands were packed into entries: the applied index, and the positions of the feed.
fn comparable(rows: Rows) -> Rows {
    let rows = rows.into_iter().filter(|(_, key, _)| key[..] != [2]);
    rows.map(|(family, key, value)| if key[0] == 22 { (family, vec![22], value) } else { (family, key, value) }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_is_as_a_map_of_paths(steps in proptest::collection::vec((step(), 0..3_u64), 1..40)) {
        let mut pair = Pair::new();
        for (step, seconds) in &steps {
            pair.group.clock += seconds * 1_000_000;
            pair.take(step)?;
        }
        pair.compare()?;
        pair.group.check();
    }

    #[test]
    fn packed_commands_do_what_single_ones_do(steps in proptest::collection::vec(plain_step(), 1..40), cut in 0..40_usize) {
        let proposal = |(number, step): (u64, &Step)| {
            Proposal { command: Some(Command { what: Some(whole_command(step, number)), ..Command::default() }), ..Proposal::default() }
        };
        let proposals: Vec<Proposal> = (1..).zip(&steps).map(proposal).collect();
        let mut single = Group::datasource();
        let one_by_one: Vec<_> = proposals.iter().flat_map(|proposal| single.batch(vec![proposal.clone()])).collect();
        let mut packed = Group::datasource();
        let (first, second) = proposals.split_at(cut.min(proposals.len()));
        let together: Vec<_> = [first, second].into_iter().flat_map(|proposals| packed.batch(proposals.to_vec())).collect();
        let whats = |outcomes: &[skep_raft::wire::meta::v1::Outcome]| outcomes.iter().map(|outcome| (outcome.stamp, outcome.what.clone())).collect::<Vec<_>>();
        prop_assert_eq!(whats(&one_by_one), whats(&together));
        prop_assert_eq!(comparable(single.rows()), comparable(packed.rows()));
    }
}

#[test]
fn a_copy_of_too_much_is_refused_and_many_recycled_namesakes_find_names() {
    let mut group = Group::datasource();
    group.mkdir("/many").unwrap();
    for number in 0..10_000 {
        group.put(&format!("/many/{number}"), b"").unwrap();
    }
    let copy =
        |to: &str, shallow| CopyEntry { from: path("/many"), to: path(to), seed: id(u64::from(shallow)), shallow, ..CopyEntry::default() };
    let refused = group.tree(tree_command::What::CopyEntry(copy("/copy", false)));
    assert_eq!(super::group::code(refused), RejectionCode::TooManyEntries);
    group.tree(tree_command::What::CopyEntry(copy("/shallow", true))).unwrap();
    let delete = DeleteEntry { path: path("/many/7"), permanently: true, ..DeleteEntry::default() };
    group.tree(tree_command::What::DeleteEntry(delete)).unwrap();
    assert_eq!(group.tree(tree_command::What::CopyEntry(copy("/copy", false))).unwrap().count, 10_000);
    let mut last = String::new();
    for number in 0..50 {
        group.put("/same.txt", b"x").unwrap();
        let step = Step::Recycle { at: vec!["same.txt".to_owned()] };
        last = group.run(whole_command(&step, 1_000 + number)).unwrap().final_path;
    }
    assert_eq!(last, "recycle_bin/same (50).txt");
    group.check();
}
