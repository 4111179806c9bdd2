//! Reading and writing contents over devices and groups that do as the test says.

mod reading;
mod repairing;
mod rig;
mod writing;

use super::FAILPOINTS;

#[test]
fn every_failpoint_is_listed_once() {
    let sources = [include_str!("chunk_store.rs"), include_str!("content_writer.rs"), include_str!("repairer.rs")].concat();
    assert_eq!(sources.matches("fail_point!(").count(), FAILPOINTS.len(), "none is missing");
    for name in FAILPOINTS {
        assert_eq!(sources.matches(&format!("fail_point!(\"{name}\")")).count(), 1, "{name}");
    }
}
