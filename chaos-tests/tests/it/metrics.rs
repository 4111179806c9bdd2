//! What a node that has done something tells of itself: every family of metrics with a help text.

use std::collections::BTreeSet;

use skep_chaos_tests::client::Outcome;
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::content::random_bytes;

/// The second word of lines that begin with this one.
fn named<'a>(text: &'a str, beginning: &str) -> BTreeSet<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(beginning)?.split(' ').next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_family_has_a_help_text() {
    let cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let client = cluster.client(0);
    for (place, length) in [100, 100_000, 5 << 20].into_iter().enumerate() {
        let (path, bytes) = (format!("/common-files/{place}.bin"), random_bytes(1, length));
        assert_eq!(client.put(&path, bytes.clone()).await, Outcome::Acknowledged, "{path}");
        assert_eq!(client.get(&path).await.unwrap(), Some(bytes), "{path}");
        assert_eq!(client.delete(&path).await, Outcome::Acknowledged, "{path}");
    }
    for client in cluster.clients() {
        let text = client.metrics().await.unwrap();
        let (families, helped) = (named(&text, "# TYPE "), named(&text, "# HELP "));
        for family in ["skep_raft_commands_total", "skep_log_syncs_total", "skep_device_fsyncs_total", "skep_api_requests_total"] {
            assert!(families.contains(family), "{family} is not in {families:?}");
        }
        let without: Vec<_> = families.difference(&helped).collect();
        assert!(without.is_empty(), "no help text: {without:?}");
        let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let names = samples.filter_map(|line| line.split(['{', ' ']).next());
        let family_of = |name: &str| {
            let parts = ["", "_bucket", "_sum", "_count"];
            parts.iter().any(|part| name.strip_suffix(part).is_some_and(|family| families.contains(family)))
        };
        let loose: BTreeSet<&str> = names.filter(|name| !family_of(name)).collect();
        assert!(loose.is_empty(), "samples of no family: {loose:?}");
    }
}
