//! A lock taken through one node is honoured by all and outlives its leader; a holder that was paused beyond its time is refused, whoever came meanwhile.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::{Body, Method, StatusCode};
use serde_json::json;
use skep_chaos_tests::client::{Client, Outcome};
use skep_chaos_tests::cluster::{Cluster, ClusterOptions, PASSWORD};
use skep_chaos_tests::wait::wait_for;
use tokio::sync::oneshot;

use crate::history::leader;

/// How long a change may take while a leader is elected.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);
const PATH: &str = "/dav/common-files/plan.bin";
const EXCLUSIVE: &str =
    "<D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>";

/// A lock that was taken: its token in brackets, and its fencing number.
struct Held {
    token: String,
    fence: String,
}

impl Held {
    fn condition(&self) -> String {
        format!("({})", self.token)
    }
}

fn method(name: &str) -> Method {
    Method::from_bytes(name.as_bytes()).unwrap()
}

/// Takes the lock; why not, if it is another's still.
async fn lock(client: &Client, seconds: u64) -> Result<Held, String> {
    let request = client.request(method("LOCK"), PATH).header("Timeout", format!("Second-{seconds}")).header("Depth", "0").body(EXCLUSIVE);
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let held = Held { token: header("lock-token"), fence: header("x-skep-fence") };
    if status.is_success() { Ok(held) } else { Err(format!("{status}: {}", answer.text().await.unwrap_or_default())) }
}

/// Writes with what a holder sends; the status, or why there was no answer.
async fn put(client: &Client, said: &[(&str, &str)], body: impl Into<Body>) -> Result<StatusCode, String> {
    let request = said.iter().fold(client.request(Method::PUT, PATH), |request, (name, value)| request.header(*name, *value));
    let answer = request.body(body).send().await.map_err(|error| error.to_string())?;
    Ok(answer.status())
}

/// Writes until there is an answer that says how it went: without a leader there is none.
async fn put_in_the_end(client: &Client, said: &[(&str, &str)], body: &'static str) -> StatusCode {
    wait_for("an answer to a write", CHANGE_LIMIT, async || match put(client, said, body).await? {
        status @ (StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => Err(status.to_string()),
        status => Ok(status),
    })
    .await
}

/// Clients of all nodes as a second user, who may write to the common files.
async fn second_user(cluster: &Cluster) -> Vec<Client> {
    let admin = cluster.client(0);
    let token = admin.token().await.unwrap();
    let (status, answer) = admin.rest(&token, Method::PUT, "/a/user/bob", Some(json!({"Password": PASSWORD}))).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    let grant = json!({"Login": "bob", "Workspace": "common-files", "Permission": "rw"});
    let (status, answer) = admin.rest(&token, Method::PUT, "/a/skep/grant", Some(grant)).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{answer}");
    cluster.clients().iter().map(|client| Client::new(client.base(), "bob", PASSWORD)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_honoured_by_all_nodes_and_outlives_its_leader() {
    let mut cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let bobs = second_user(&cluster).await;
    assert_eq!(cluster.client(0).put("/common-files/plan.bin", Bytes::from_static(b"one")).await, Outcome::Acknowledged);
    let held = lock(&cluster.client(0), 600).await.unwrap();
    let condition = held.condition();
    for (bob, holder) in bobs.iter().zip(cluster.clients()) {
        assert_eq!(put(bob, &[], "bob's").await, Ok(StatusCode::LOCKED), "{}", bob.base());
        assert_eq!(put(&holder, &[("If", &condition)], "the holder's").await, Ok(StatusCode::NO_CONTENT), "{}", holder.base());
    }
    let dead = (0..3).find_map(|place| leader(&cluster, place)).unwrap();
    cluster.kill(dead);
    for alive in (0..3).filter(|place| *place != dead) {
        assert_eq!(put_in_the_end(&bobs[alive], &[], "bob's").await, StatusCode::LOCKED, "node {dead} led and is dead");
        let fenced = [("If", condition.as_str()), ("X-Skep-Fence", held.fence.as_str())];
        assert_eq!(put_in_the_end(&cluster.client(alive), &fenced, "the holder's").await, StatusCode::NO_CONTENT);
    }
    cluster.start_again(dead).await;
    assert_eq!(put_in_the_end(&bobs[dead], &[], "bob's").await, StatusCode::LOCKED, "the one that was dead");
    cluster.restart_all().await;
    assert_eq!(put_in_the_end(&bobs[1], &[], "bob's").await, StatusCode::LOCKED, "all were dead");
    assert_eq!(cluster.client(2).get("/common-files/plan.bin").await.unwrap().as_deref(), Some(b"the holder's".as_slice()));
    let unlock = cluster.client(1).request(method("UNLOCK"), PATH).header("Lock-Token", &held.token).send().await.unwrap();
    assert_eq!(unlock.status(), StatusCode::NO_CONTENT);
    assert_eq!(put_in_the_end(&bobs[2], &[], "bob's").await, StatusCode::NO_CONTENT);
}

/// A body that stops in the middle until it is told to go on: the write of a holder that is paused.
fn paused_body() -> (Body, oneshot::Sender<()>) {
    let (go_on, told) = oneshot::channel();
    let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![1_u8; 200_000]))]);
    let second = stream::once(async move {
        told.await.map_err(|_gone| std::io::Error::other("the test ended"))?;
        Ok(Bytes::from(vec![2_u8; 200_000]))
    });
    (Body::wrap_stream(first.chain(second)), go_on)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_late_write_of_a_holder_that_was_paused_is_refused() {
    let cluster = Cluster::start(ClusterOptions::nodes(3)).await;
    let bobs = second_user(&cluster).await;
    let holder = cluster.client(0);
    assert_eq!(holder.put("/common-files/plan.bin", Bytes::from_static(b"one")).await, Outcome::Acknowledged);
    let old = lock(&holder, 1).await.unwrap();
    let condition = old.condition();
    let (by_list, by_token) = ([("If", condition.as_str())], [("X-Skep-Lock-Token", old.token.as_str())]);
    // Both begin while the lock holds and are paused with half of their bytes sent.
    let ((first, go_on_first), (second, go_on_second)) = (paused_body(), paused_body());
    let paused = async { tokio::join!(put(&holder, &by_list, first), put(&holder, &by_token, second)) };
    let taking_over = async {
        let new = wait_for("the lock to end", CHANGE_LIMIT, async || lock(&bobs[1], 600).await).await;
        assert!(new.fence.parse::<u64>().unwrap() > old.fence.parse::<u64>().unwrap(), "{} after {}", new.fence, old.fence);
        assert_eq!(put(&bobs[2], &[("If", &new.condition())], "bob's").await, Ok(StatusCode::NO_CONTENT));
        go_on_first.send(()).unwrap();
        go_on_second.send(()).unwrap();
        new
    };
    let ((listed, submitted), new) = tokio::join!(paused, taking_over);
    assert_eq!(listed, Ok(StatusCode::PRECONDITION_FAILED), "the If header names a lock that is over");
    assert_eq!(submitted, Ok(StatusCode::LOCKED), "the lock is another's");
    let fenced = [("X-Skep-Lock-Token", old.token.as_str()), ("X-Skep-Fence", old.fence.as_str())];
    assert_eq!(put(&holder, &fenced, "late").await, Ok(StatusCode::LOCKED));
    let unlock = bobs[0].request(method("UNLOCK"), PATH).header("Lock-Token", &new.token).send().await.unwrap();
    assert_eq!(unlock.status(), StatusCode::NO_CONTENT);
    for client in cluster.clients() {
        assert_eq!(put(&client, &fenced, "late").await, Ok(StatusCode::PRECONDITION_FAILED), "nobody has the lock, and still");
        assert_eq!(client.get("/common-files/plan.bin").await.unwrap().as_deref(), Some(b"bob's".as_slice()));
    }
    // One that nobody took after it had ended is over as well.
    let short = lock(&holder, 1).await.unwrap();
    let fenced = [("X-Skep-Lock-Token", short.token.as_str()), ("X-Skep-Fence", short.fence.as_str())];
    let refused = wait_for("the lock to end", CHANGE_LIMIT, async || match put(&cluster.client(1), &fenced, "in time").await? {
        StatusCode::NO_CONTENT => Err("it holds still".to_owned()),
        status => Ok(status),
    })
    .await;
    assert_eq!(refused, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put(&bobs[0], &[], "free").await, Ok(StatusCode::NO_CONTENT));
}
