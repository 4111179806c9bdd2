//! Administration of a running cluster: accounts, rights and tokens by the command line, in force at once on every node; what lies where; and
//! no secret in any log.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::cluster::{Cluster, ClusterOptions, PASSWORD};
use skep_chaos_tests::content::random_bytes;
use skep_chaos_tests::wait::wait_for;

/// How long a leader may be missing.
const LIMIT: Duration = Duration::from_secs(30);
const NEW_PASSWORD: &str = "a new password of the administrator";
const OWN_PASSWORD: &str = "what alice chose for herself";
/// In a request, to be found in the log.
const REQUEST_ID: &str = "found-in-the-log-0815";

/// Everything that may never be in a log.
#[derive(Default)]
struct Secrets(Vec<String>);

impl Secrets {
    fn note(&mut self, secret: &str) {
        self.0.push(secret.to_owned());
    }

    /// A password, also as Basic carries it.
    fn note_password(&mut self, login: &str, password: &str) {
        self.note(password);
        self.note(&STANDARD.encode(format!("{login}:{password}")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_administered_by_the_command_line() {
    let environment = [("SKEP_LOG_LEVEL", "debug"), ("SKEP_LOG_FORMAT", "json")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut cluster = Cluster::start(ClusterOptions { environment: environment.to_vec(), ..ClusterOptions::nodes(3) }).await;
    let mut secrets = Secrets::default();
    secrets.note_password("admin", PASSWORD);
    what_lies_where_is_shown(&cluster).await;
    a_lost_password_is_set_anew(&cluster, &mut secrets).await;
    let alice = an_account_is_made(&cluster, &mut secrets).await;
    a_right_taken_away_is_gone_everywhere(&cluster, &alice).await;
    a_token_taken_back_is_refused_everywhere(&cluster, &mut secrets).await;
    a_datasource_is_made_and_used(&cluster).await;
    a_request_repeated_is_done_once(&mut cluster).await;
    no_secret_is_in_a_log(&cluster, &mut secrets).await;
}

fn administrator(cluster: &Cluster, place: usize) -> Client {
    cluster.client(place).signed_in_as("admin", NEW_PASSWORD)
}

fn file_of(cluster: &Cluster, name: &str, text: &str) -> String {
    let path = cluster.folder().with_extension(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

async fn what_lies_where_is_shown(cluster: &Cluster) {
    let length = 9 << 20;
    assert_eq!(cluster.client(0).put("/common-files/large.bin", random_bytes(1, length)).await, Outcome::Acknowledged);
    cluster.wait_repaired(0, LIMIT).await;
    let said = cluster.skep(1, &["debug", "chunk", "--path", "large.bin"]).good().unwrap();
    assert!(said.starts_with(&format!("large.bin: {length} bytes")), "{said}");
    let chunks: Vec<&str> = said.split("\nchunk ").skip(1).collect();
    assert_eq!(chunks.len(), 3, "4 MiB a chunk: {said}");
    for chunk in &chunks {
        assert!(chunk.contains("in code 2+1") && chunk.contains("at home"), "{chunk}");
        let rows: Vec<&str> = chunk.lines().filter(|line| line.contains("stored")).collect();
        let nodes: std::collections::BTreeSet<&str> = rows.iter().filter_map(|row| row.split('(').nth(1)?.split(')').next()).collect();
        assert_eq!((rows.len(), nodes.len()), (3, 3), "three shards on three nodes: {chunk}");
    }
    let id = chunks[0].split_whitespace().next().unwrap();
    let one = cluster.skep(2, &["debug", "chunk", "--chunk", id]).good().unwrap();
    assert!(one.contains(id) && one.contains("in code 2+1"), "{one}");
    let unknown = cluster.skep(0, &["debug", "chunk", "--path", "absent.bin"]);
    assert!(!unknown.is_success && unknown.err.contains("absent.bin"), "{unknown:?}");

    let listed = cluster.skep(0, &["debug", "segment"]).good().unwrap();
    let name = listed.split_whitespace().find(|word| word.starts_with("large-")).unwrap_or_else(|| panic!("no large segment: {listed}"));
    let records = cluster.skep(0, &["debug", "segment", "--name", name]).good().unwrap();
    assert!(records.contains(id), "the segment holds a shard of chunk {id}: {records}");

    let log = cluster.skep(0, &["debug", "log"]).good().unwrap();
    assert!(log.contains("segment-") && log.contains("leader"), "{log}");
    let replicas = log.lines().filter(|line| line.contains("node ")).count();
    assert_eq!(replicas, 3, "the system group and two datasources, each with a leader: {log}");

    device_bytes_follow_the_profile(cluster, u64::try_from(length).unwrap()).await;
}

/// Device bytes for each byte of the large class: half as many more, and little besides.
async fn device_bytes_follow_the_profile(cluster: &Cluster, logical: u64) {
    let fits = |bytes: u64| bytes * 10 >= logical * 15 && bytes * 10 <= logical * 17;
    let status = cluster.status(0).unwrap();
    let row = status["datasources"].as_array().unwrap().iter().find(|row| row["name"] == "pydiods1").unwrap().clone();
    assert_eq!(row["logical_bytes"].as_u64(), Some(logical), "{row}");
    assert!(row["stored_bytes"].as_u64().is_some_and(fits), "{row}");
    // Devices tell of their use now and then.
    wait_for("the use of the devices", LIMIT, async || {
        let status = cluster.status(0)?;
        let devices = status["devices"].as_array().cloned().unwrap_or_default();
        let bytes = devices.iter().filter_map(|device| device["live_bytes"].as_u64()).sum();
        if fits(bytes) { Ok(()) } else { Err(format!("{bytes} bytes on devices of {logical}: {devices:?}")) }
    })
    .await;
}

/// The way back after a lost password: it is set by whoever can read a node's files, and nothing signed in before holds any more.
async fn a_lost_password_is_set_anew(cluster: &Cluster, secrets: &mut Secrets) {
    let mut sessions = Vec::new();
    for client in cluster.clients() {
        // Each node has verified the old password and remembers it.
        assert_eq!(
            client.request(Method::GET, "/dav/common-files/large.bin").header("Range", "bytes=0-9").send().await.unwrap().status(),
            206
        );
        sessions.push(client.token().await.unwrap());
    }
    let file = file_of(cluster, "password", NEW_PASSWORD);
    let said = cluster.skep(1, &["user", "password", "admin", "--password-file", &file]).good().unwrap();
    assert!(said.contains("admin") && !said.contains(NEW_PASSWORD), "{said}");
    secrets.note_password("admin", NEW_PASSWORD);
    for (place, client) in cluster.clients().into_iter().enumerate() {
        let by_password = client.request(Method::GET, "/dav/common-files/large.bin").send().await.unwrap();
        assert_eq!(by_password.status(), StatusCode::UNAUTHORIZED, "the old password through node {place}");
        assert!(by_password.headers().contains_key("www-authenticate"));
        assert!(client.token().await.is_err(), "a sign-in with the old password through node {place}");
        for session in &sessions {
            let (status, answer) = client.rest(session, Method::GET, "/a/tree/stat/common-files/large.bin", None).await.unwrap();
            assert_eq!(status, StatusCode::UNAUTHORIZED, "an old session through node {place}: {answer}");
        }
        let fresh = administrator(cluster, place);
        assert_eq!(fresh.get_range("/common-files/large.bin", 0, 9).await.unwrap(), random_bytes(1, 9 << 20).slice(0..10));
        let session = fresh.token().await.unwrap();
        let (status, answer) = fresh.rest(&session, Method::GET, "/a/tree/stat/common-files/large.bin", None).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        secrets.note(&session);
    }
    sessions.iter().for_each(|session| secrets.note(session));
}

/// A user with a drawn password, a workspace of its own, and a password that it chose.
async fn an_account_is_made(cluster: &Cluster, secrets: &mut Secrets) -> String {
    let said = cluster.skep(0, &["user", "create", "alice", "--display-name", "Alice"]).good().unwrap();
    let drawn = said.split("password: ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_owned();
    secrets.note_password("alice", &drawn);
    let listed = cluster.skep(2, &["user", "list"]).good().unwrap();
    assert!(listed.lines().any(|line| line.contains("alice") && line.contains("Alice") && line.contains("active")), "{listed}");
    let twice = cluster.skep(1, &["user", "create", "alice"]);
    assert!(!twice.is_success && twice.err.contains("alice"), "{twice:?}");
    cluster.skep(0, &["workspace", "create", "plans", "--folder", "plans"]).good().unwrap();
    cluster.skep(1, &["workspace", "grant", "plans", "--user", "alice", "--permission", "rw"]).good().unwrap();
    let listed = cluster.skep(2, &["workspace", "list"]).good().unwrap();
    assert!(listed.lines().any(|line| line.contains("plans") && line.contains("alice:rw")), "{listed}");

    let alice = cluster.client(2).signed_in_as("alice", &drawn);
    assert_eq!(alice.put("/plans/first.txt", Bytes::from_static(b"first")).await, Outcome::Acknowledged, "at once, on another node");
    let session = alice.token().await.unwrap();
    let change = json!({"Login": "alice", "Password": OWN_PASSWORD, "OldPassword": drawn});
    let (status, answer) = alice.rest(&session, Method::PUT, "/a/user/alice", Some(change)).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    secrets.note_password("alice", OWN_PASSWORD);
    secrets.note(&session);
    let old = cluster.client(1).signed_in_as("alice", &drawn).get("/plans/first.txt").await;
    assert!(old.as_ref().is_err_and(|error| error.starts_with("401")), "{old:?}");
    OWN_PASSWORD.to_owned()
}

/// A write that has begun and waits for its body: the node has decided that it may begin, and said so.
struct WriteUnderWay(std::net::TcpStream);

impl WriteUnderWay {
    fn begin(client: &Client, path: &str, (login, password): (&str, &str), length: usize) -> Self {
        let address = client.base().strip_prefix("http://").unwrap();
        let mut connection = std::net::TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(LIMIT)).unwrap();
        let basic = STANDARD.encode(format!("{login}:{password}"));
        let head = format!(
            "PUT /dav{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {basic}\r\nContent-Length: {length}\r\n\
             Expect: 100-continue\r\nConnection: close\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).unwrap();
        let mut said = [0; 25];
        connection.read_exact(&mut said).unwrap();
        assert_eq!(String::from_utf8_lossy(&said), "HTTP/1.1 100 Continue\r\n\r\n", "the node asks for the body");
        Self(connection)
    }

    /// Sends the body; gives the answer.
    fn send(mut self, body: &[u8]) -> String {
        self.0.write_all(body).unwrap();
        let mut answer = Vec::new();
        let _closed = self.0.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// What the command line takes away through one node is gone on the others when the command has ended, also for a write under way.
async fn a_right_taken_away_is_gone_everywhere(cluster: &Cluster, password: &str) {
    let grant = |place: usize, permission: &str| {
        cluster.skep(place, &["workspace", "grant", "plans", "--user", "alice", "--permission", permission]).good().unwrap()
    };
    for (round, length) in [1_000, 300_000].into_iter().enumerate() {
        let (taker, other) = (round, round + 1);
        let alice = cluster.client(other).signed_in_as("alice", password);
        assert_eq!(alice.put("/plans/kept.txt", Bytes::from_static(b"kept")).await, Outcome::Acknowledged);
        let path = format!("/plans/under-way-{round}.bin");
        let under_way = WriteUnderWay::begin(&alice, &path, ("alice", password), length);
        grant(taker, "r");
        for place in 0..3 {
            let alice = cluster.client(place).signed_in_as("alice", password);
            let write = alice.put("/plans/late.txt", Bytes::from_static(b"late")).await;
            assert!(matches!(&write, Outcome::Refused(StatusCode::FORBIDDEN, _)), "a write through node {place}: {write:?}");
            assert_eq!(alice.get("/plans/kept.txt").await.unwrap(), Some(Bytes::from_static(b"kept")), "reading is still allowed");
        }
        let answer = under_way.send(&random_bytes(7, length));
        assert!(answer.starts_with("HTTP/1.1 403"), "a commit after the right was taken: {answer}");
        grant(other, "none");
        for place in 0..3 {
            let read = cluster.client(place).signed_in_as("alice", password).get("/plans/kept.txt").await;
            assert!(!matches!(read, Ok(Some(_))), "a read through node {place} without any right: {read:?}");
        }
        grant(taker, "rw");
        assert_eq!(alice.get(&path).await, Ok(None), "nothing of the refused write is there");
        assert_eq!(alice.put("/plans/kept.txt", Bytes::from_static(b"again")).await, Outcome::Acknowledged, "and back at once");
    }
}

async fn a_token_taken_back_is_refused_everywhere(cluster: &Cluster, secrets: &mut Secrets) {
    let secret =
        cluster.skep(0, &["token", "create", "--user", "alice", "--label", "backup", "--days", "1"]).good().unwrap().trim().to_owned();
    secrets.note(&secret);
    let stat = async |place: usize| cluster.client(place).rest(&secret, Method::GET, "/a/tree/stat/plans/first.txt", None).await.unwrap().0;
    for place in 0..3 {
        assert_eq!(stat(place).await, StatusCode::OK, "at once through node {place}");
    }
    let listed = cluster.skep(1, &["token", "list", "--user", "alice"]).good().unwrap();
    assert!(!listed.contains(&secret), "nobody has the secret");
    let row = listed.lines().find(|line| line.contains("backup")).unwrap();
    cluster.skep(2, &["token", "delete", row.split_whitespace().next().unwrap()]).good().unwrap();
    for place in 0..3 {
        assert_eq!(stat(place).await, StatusCode::UNAUTHORIZED, "through node {place}");
    }
}

async fn a_datasource_is_made_and_used(cluster: &Cluster) {
    cluster.skep(1, &["datasource", "create", "archive", "--profile", "1+2"]).good().unwrap();
    let listed = cluster.skep(2, &["datasource", "list"]).good().unwrap();
    assert!(listed.lines().any(|line| line.contains("archive") && line.contains("1+2")), "{listed}");
    cluster.skep(0, &["workspace", "create", "kept", "--datasource", "archive", "--everybody", "rw"]).good().unwrap();
    let bytes = random_bytes(5, 200_000);
    wait_for("the new group to serve", LIMIT, async || match administrator(cluster, 0).put("/kept/a.bin", bytes.clone()).await {
        Outcome::Acknowledged => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(administrator(cluster, 2).get("/kept/a.bin").await.unwrap(), Some(bytes));
    cluster.skep(1, &["workspace", "delete", "kept"]).good().unwrap();
    let gone = administrator(cluster, 0).get("/kept/a.bin").await;
    assert_eq!(gone, Ok(None), "a workspace that is gone shows nothing");
}

/// `Idempotency-Key`: the same request through another node, and after the leader died, gets the first one's answer and does nothing.
async fn a_request_repeated_is_done_once(cluster: &mut Cluster) {
    let send = async |client: Client, text: &'static str| {
        let request = client.request(Method::PUT, "/dav/common-files/once.txt").header("Idempotency-Key", "5a1f-once");
        let answer = request.body(text).send().await.map_err(|error| error.to_string())?;
        let etag = answer.headers().get("etag").map(|etag| etag.to_str().unwrap().to_owned());
        Ok::<_, String>((answer.status(), etag))
    };
    let first = send(administrator(cluster, 0), "once").await.unwrap();
    assert!(first.0.is_success() && first.1.is_some(), "{first:?}");
    assert_eq!(send(administrator(cluster, 1), "once").await.unwrap().1, first.1, "through another node");
    let other = send(administrator(cluster, 2), "something else").await.unwrap();
    assert_eq!(other.0, StatusCode::UNPROCESSABLE_ENTITY, "a key belongs to one request");
    let leads = wait_for("a leader", LIMIT, async || cluster.leader(0, "pydiods1").ok_or_else(|| "none".to_owned())).await;
    cluster.kill(leads);
    let alive = (leads + 1) % 3;
    let again = wait_for("an answer from the survivors", LIMIT, async || match send(administrator(cluster, alive), "once").await? {
        answer if answer.0.is_success() => Ok(answer),
        answer => Err(format!("{answer:?}")),
    })
    .await;
    assert_eq!(again.1, first.1, "after the leader died");
    assert_eq!(versions(&administrator(cluster, alive), "common-files/once.txt").await, 1, "it was written once");
    cluster.start_again(leads).await;
}

async fn versions(client: &Client, path: &str) -> usize {
    let session = client.token().await.unwrap();
    let (status, stat) = client.rest(&session, Method::GET, &format!("/a/tree/stat/{path}"), None).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{stat}");
    let uuid = stat["Node"]["Uuid"].as_str().unwrap();
    let question = Some(json!({}));
    let (status, found) = client.rest(&session, Method::POST, &format!("/n/node/{uuid}/versions"), question).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{found}");
    found["Versions"].as_array().map_or(0, Vec::len)
}

/// At the level that tells most, over everything that was done above.
async fn no_secret_is_in_a_log(cluster: &Cluster, secrets: &mut Secrets) {
    let token = cluster.skep(0, &["join-token"]).good().unwrap().trim().to_owned();
    secrets.note(&token);
    let client = administrator(cluster, 1);
    let wrong = "not the password at all";
    assert!(client.signed_in_as("admin", wrong).token().await.is_err());
    secrets.note_password("admin", wrong);
    let marked = client.request(Method::GET, "/dav/common-files/once.txt").header("X-Request-Id", REQUEST_ID).send().await.unwrap();
    assert_eq!(marked.headers()["x-request-id"], REQUEST_ID, "the id comes back");
    let logs = wait_for("the line of a request", LIMIT, async || match cluster.logs() {
        logs if logs.contains(REQUEST_ID) => Ok(logs),
        _not_yet => Err("its id is in no line".to_owned()),
    })
    .await;
    for secret in &secrets.0 {
        let line = logs.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "a secret is in a log");
    }
    every_line_of_a_request_bears_its_id(&cluster.folder().join("n2/log.txt"));
}

fn every_line_of_a_request_bears_its_id(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let (mut answered, mut debug) = (0, 0);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: no JSON in {}: {line}", file.display()));
        debug += usize::from(line["level"] == "DEBUG");
        if line["message"] == "answered" {
            let span = &line["span"];
            assert!(span["request_id"].as_str().is_some_and(|id| !id.is_empty()) && span["path"].is_string(), "{line}");
            answered += 1;
        }
    }
    assert!(answered > 20 && debug > 20, "{answered} answers and {debug} lines of the level asked for");
}
