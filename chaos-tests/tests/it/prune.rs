//! Pruning goes on wherever its leader dies: what the policy keeps is readable, what it does not is gone, and every node counts the same.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::cluster::{Cluster, ClusterOptions};
use skep_chaos_tests::wait::wait_for;

/// Small files, and the versions of each that one round adds.
const FILES: usize = 300;
const VERSIONS: usize = 60;
/// Old versions that the policy keeps of a file.
const KEPT: usize = 2;
/// Tries to kill the leader while it prunes.
const ROUNDS: usize = 4;
const PRUNE_LIMIT: Duration = Duration::from_secs(90);

async fn rest(client: &Client, method: Method, path: &str, body: Value) -> Result<(StatusCode, Value), String> {
    let answer = client.request(method, path).json(&body).send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map(|body| (status, body)).map_err(|error| format!("{status}: {error}: {text}"))
}

async fn done(client: &Client, method: Method, path: &str, body: Value) {
    let (status, answer) = rest(client, method, path, body).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
}

/// What a node says of the datasource of the common files, which must answer, and who leads its group.
async fn counted(client: &Client) -> Result<(Value, usize), String> {
    let answer = client.request(Method::GET, "/a/skep/status").send().await.map_err(|error| error.to_string())?;
    let status: Value = answer.json().await.map_err(|error| error.to_string())?;
    let row = |list: &str| status[list].as_array().and_then(|rows| rows.iter().find(|row| row["name"] == "pydiods1")).cloned();
    let datasource = row("datasources").filter(|row| row["available"] == true).ok_or_else(|| format!("no numbers: {status}"))?;
    let leader = row("groups").and_then(|row| row["leader"].as_u64()).ok_or_else(|| format!("no leader: {status}"))?;
    Ok((datasource, usize::try_from(leader).map_err(|error| error.to_string())? - 1))
}

async fn versions(client: &Client) -> Result<u64, String> {
    counted(client).await.map(|(row, _)| row["versions"].as_u64().unwrap_or_default())
}

fn text(file: usize, round: usize, version: usize) -> String {
    format!("file {file} round {round} version {version}")
}

/// Adds versions to every small file, one entry for one version of all of them.
async fn add_versions(client: &Client, round: usize) {
    for version in 0..VERSIONS {
        let put =
            |file| json!({"Type": "PUT_FILE", "Path": format!("common-files/small/f{file:03}"), "Contents": text(file, round, version)});
        let operations: Vec<Value> = (0..FILES).map(put).collect();
        done(client, Method::POST, "/a/tree/batch", json!({"Operations": operations})).await;
    }
}

fn policy(kept: i64) -> Value {
    json!({
        "Name": "Strict", "KeepPeriods": [{"IntervalStart": "0", "MaxNumber": kept}], "NodeDeletedStrategy": "KeepNone",
        "KeepAllSeconds": "1",
    })
}

/// The contents of a file's versions, newest first.
async fn contents(client: &Client, path: &str) -> Result<Vec<Bytes>, String> {
    let asked = json!({"NodePaths": [format!("common-files/{path}")], "Versions": true});
    let (_, answer) = rest(client, Method::POST, "/a/tree/stats", asked).await?;
    let mut contents = Vec::new();
    for node in answer["Nodes"].as_array().ok_or_else(|| answer.to_string())? {
        let id: String =
            node["MetaStore"]["versionId"].as_str().and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| node.to_string())?;
        let read = client.get(&format!("/common-files/{path}?versionId={id}")).await?;
        contents.push(read.ok_or_else(|| format!("{path} {id} is not there"))?);
    }
    Ok(contents)
}

/// Has the policy keep little and kills the leader's node once versions begin to go. The node, and whether it died in the middle.
async fn prune_and_kill(cluster: &mut Cluster, before: u64, after: u64) -> (usize, bool) {
    let (_, leader) = wait_for("a leader", PRUNE_LIMIT, async || counted(&cluster.client(0)).await).await;
    let client = cluster.client((leader + 1) % 3);
    // What was current within the last second is safe; only then is all that goes ready to go.
    wait_for("all old versions to be droppable", PRUNE_LIMIT, async || {
        let asked = json!({"Datasource": "pydiods1", "Policy": policy(i64::try_from(KEPT).unwrap())});
        let (_, said) = rest(&client, Method::POST, "/a/config/versioning/strict/preview", asked).await?;
        let expected = (before - after).to_string();
        if said["Versions"] == expected.as_str() { Ok(()) } else { Err(said.to_string()) }
    })
    .await;
    done(&client, Method::POST, "/a/config/versioning/strict", policy(i64::try_from(KEPT).unwrap())).await;
    let begun = wait_for("pruning to begin", PRUNE_LIMIT, async || match versions(&client).await? {
        now if now < before => Ok(now),
        now => Err(format!("{now} versions")),
    })
    .await;
    cluster.kill(leader);
    let survivor = cluster.client((leader + 1) % 3);
    let left = wait_for("a new leader", PRUNE_LIMIT, async || versions(&survivor).await).await;
    (leader, begun > after && left > after)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pruning_goes_on_when_its_leader_dies() {
    let mut options = ClusterOptions::nodes(3);
    options.environment.push(("SKEP_RAFT_PRUNE_SECONDS".to_owned(), "1".to_owned()));
    let mut cluster = Cluster::start(options).await;
    let client = cluster.client(0);
    assert_eq!(client.make_folder("/common-files/small").await, Outcome::Acknowledged);
    let large = |version: u8| Bytes::from(vec![version; 3_000_000]);
    for version in 0..6 {
        assert_eq!(client.put("/common-files/large.bin", large(version)).await, Outcome::Acknowledged);
    }
    done(&client, Method::POST, "/a/config/versioning/strict", policy(-1)).await;
    done(&client, Method::POST, "/a/config/datasource/pydiods1", json!({"VersioningPolicyName": "strict"})).await;
    let kept = u64::try_from((FILES + 1) * (KEPT + 1)).unwrap();
    let mut in_the_middle = false;
    for round in 0..ROUNDS {
        add_versions(&cluster.client(0), round).await;
        let before = wait_for("the number of versions", PRUNE_LIMIT, async || versions(&cluster.client(0)).await).await;
        let (dead, was_in_the_middle) = prune_and_kill(&mut cluster, before, kept).await;
        in_the_middle |= was_in_the_middle;
        let alive = cluster.client((dead + 1) % 3);
        wait_for("pruning to be done", PRUNE_LIMIT, async || match versions(&alive).await? {
            now if now == kept => Ok(()),
            now => Err(format!("{now} versions, {kept} are to be kept")),
        })
        .await;
        cluster.start_again(dead).await;
        check(&cluster, round, &large).await;
        if in_the_middle {
            return;
        }
        done(&cluster.client(0), Method::POST, "/a/config/versioning/strict", policy(-1)).await;
    }
    panic!("the leader was never killed while it pruned: {ROUNDS} rounds were too fast to be seen");
}

/// Every node reads what is kept, and counts the same.
async fn check(cluster: &Cluster, round: usize, large: &impl Fn(u8) -> Bytes) {
    let mut all = Vec::new();
    for client in cluster.clients() {
        for file in [0, 1, FILES / 2, FILES - 1] {
            let path = format!("small/f{file:03}");
            let found = wait_for("kept versions", PRUNE_LIMIT, async || contents(&client, &path).await).await;
            assert_eq!(found.len(), KEPT + 1, "{path}");
            assert_eq!(found[0], text(file, round, VERSIONS - 1), "{path}: the current version");
            let is_one = |old: &Bytes| (0..=round).any(|round| (0..VERSIONS).any(|version| *old == text(file, round, version)));
            assert!(found.iter().all(is_one), "{path}: {found:?}");
        }
        let found = wait_for("kept versions", PRUNE_LIMIT, async || contents(&client, "large.bin").await).await;
        assert!(found.len() == KEPT + 1 && found[0] == large(5), "the large file's current version");
        assert!(found.iter().all(|old| (0..6).any(|version| *old == large(version))), "an old version of the large file");
        let (row, _) = wait_for("numbers", PRUNE_LIMIT, async || counted(&client).await).await;
        let names = ["entries", "logical_bytes", "versions", "chunks", "condemned_bytes", "unlinked_bytes"];
        all.push(names.map(|name| (name, row[name].clone())));
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "nodes count differently: {all:?}");
}
