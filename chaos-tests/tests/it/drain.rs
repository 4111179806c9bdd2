//! A node that is told to end fails no request: not its own, and none of the others, the leader least of all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::content::random_bytes;

/// Files that the load has to have written for the test to mean anything.
const WRITTEN_MIN: u64 = 30;

/// Whether a load balancer would send the next request there.
async fn is_ready(client: &Client) -> bool {
    matches!(client.open("/readyz").await, Ok((status, _)) if status.is_success())
}

/// Writes and reads back until told to end, or until the node is not ready any more, as through a load balancer: what was written last is then read
/// through another node.
async fn load([client, other]: [Client; 2], worker: usize, ending: Arc<AtomicBool>, written: Arc<AtomicU64>) {
    let mut number = 0;
    while !ending.load(Ordering::Relaxed) && is_ready(&client).await {
        number += 1;
        let path = format!("/common-files/load-{worker}-{number}.bin");
        let bytes = random_bytes(number, if number % 2 == 0 { 2_000 } else { 200_000 });
        assert_eq!(client.put(&path, bytes.clone()).await, Outcome::Acknowledged, "{path} through {}", client.base());
        let reader = if is_ready(&client).await { &client } else { &other };
        let read = reader.get(&path).await;
        assert!(
            read.as_ref() == Ok(&Some(bytes)),
            "{path} through {}: {:?}",
            reader.base(),
            read.map(|read| read.map(|bytes| bytes.len()))
        );
        written.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_in_order_fails_no_request() {
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    // Each in turn: one of them leads.
    for place in 0..3 {
        let (ending, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let workers: Vec<_> = (0..6)
            .map(|worker| {
                let clients = [cluster.client(worker % 3), cluster.client((worker + 1) % 3)];
                tokio::spawn(load(clients, 10 * place + worker, Arc::clone(&ending), Arc::clone(&written)))
            })
            .collect();
        skep_chaos_tests::wait::wait_for("the load to run", std::time::Duration::from_secs(30), async || {
            let done = written.load(Ordering::Relaxed);
            if done >= WRITTEN_MIN / 2 { Ok(()) } else { Err(format!("{done} files")) }
        })
        .await;
        cluster.stop(place).await;
        let done = written.load(Ordering::Relaxed);
        skep_chaos_tests::wait::wait_for("the load to go on", std::time::Duration::from_secs(30), async || {
            let now = written.load(Ordering::Relaxed);
            if now >= done + WRITTEN_MIN / 2 { Ok(()) } else { Err(format!("{now} files, {done} when the node ended")) }
        })
        .await;
        ending.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.await.unwrap();
        }
        cluster.start_again(place).await;
        cluster.wait_repaired(place, std::time::Duration::from_secs(60)).await;
    }
}
