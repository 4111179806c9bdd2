//! A node that hangs: its connections stay open and nothing answers. Through the others every read and write succeeds in time, whichever it is;
//! when it goes on, it says nothing that is out of date.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::content::random_bytes;
use skep_chaos_tests::oracle::Oracle;
use skep_chaos_tests::timed::{PROMISED, SLACK};
use skep_chaos_tests::wait::wait_for;

/// Requests of each worker before and while the node hangs.
const REQUESTS: usize = 15;
const LIMIT: Duration = Duration::from_secs(60);
/// Erasure-coded: every read needs two nodes.
const LENGTH: usize = 300_000;

/// Reads what there is and writes new files until it is told to end; each request in time.
async fn work(client: Client, worker: usize, ending: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> Result<Duration, String> {
    let mut slowest = Duration::ZERO;
    for number in 0.. {
        if ending.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        let seed = u64::try_from(worker * 1_000_000 + number).unwrap();
        let path = format!("/common-files/hung-{worker}-{number}.bin");
        match number % 2 {
            0 => match client.put(&path, random_bytes(seed, LENGTH)).await {
                Outcome::Acknowledged => {}
                other => return Err(format!("write {number} of worker {worker} after {:?}: {other:?}", begun.elapsed())),
            },
            _read => {
                let known = number % 8;
                let read = client.get(&format!("/common-files/known-{known}.bin")).await;
                if read.as_ref().map(Option::as_ref) != Ok(Some(&random_bytes(u64::try_from(known).unwrap(), LENGTH))) {
                    let read = read.map(|bytes| bytes.map(|bytes| bytes.len()));
                    return Err(format!("read {number} of worker {worker} after {:?}: {read:?}", begun.elapsed()));
                }
            }
        }
        let took = begun.elapsed();
        if took > PROMISED + SLACK {
            return Err(format!("request {number} of worker {worker} took {took:?}"));
        }
        slowest = slowest.max(took);
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(slowest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_holds_nobody_up() {
    let cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    for known in 0..8 {
        let bytes = random_bytes(known, LENGTH);
        assert_eq!(cluster.client(0).put(&format!("/common-files/known-{known}.bin"), bytes).await, Outcome::Acknowledged);
    }
    let leads = wait_for("a leader", LIMIT, async || cluster.leader(0, "pydiods1").ok_or_else(|| "none".to_owned())).await;
    // First one that follows, then the one that leads.
    for (round, hung) in [(leads + 1) % 3, leads].into_iter().enumerate() {
        let leads = cluster.leader((hung + 1) % 3, "pydiods1");
        assert_eq!(leads == Some(hung), round == 1, "the leader has changed by itself: {leads:?}");
        let others = [(hung + 1) % 3, (hung + 2) % 3];
        let (ending, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let client = cluster.client(others[worker % 2]);
                tokio::spawn(work(client, 10 * round + worker, Arc::clone(&ending), Arc::clone(&done)))
            })
            .collect();
        let reached = async |count: usize| {
            wait_for("the requests to go on", LIMIT, async || match done.load(Ordering::Relaxed) {
                now if now >= count || workers.iter().any(tokio::task::JoinHandle::is_finished) => Ok(()),
                now => Err(format!("{now} of {count}")),
            })
            .await;
        };
        reached(4 * REQUESTS).await;
        cluster.freeze(hung);
        reached(done.load(Ordering::Relaxed) + 4 * REQUESTS).await;
        let mut oracle = Oracle::from_seed(u64::try_from(round).unwrap() * 1_000);
        let written = oracle.put(&cluster.client(others[0]), "/common-files/while-it-hung.txt", 100 + round).await;
        assert_eq!(written, Outcome::Acknowledged, "round {round}");
        cluster.thaw(hung);
        // It may refuse for a while; what it gives is what was written while it hung.
        oracle.check(&cluster.client(hung)).await;
        ending.store(true, Ordering::Relaxed);
        for worker in workers {
            let slowest = worker.await.unwrap();
            assert!(slowest.is_ok(), "node {hung} hung in round {round}: {slowest:?}");
        }
        cluster.wait_repaired(hung, LIMIT).await;
    }
}
