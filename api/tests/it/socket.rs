//! The event socket: who it tells of what, and how it ends.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use skep_api::server::{Drained, ServerOptions, serve};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

use crate::harness::Node;

const LIMIT: Duration = Duration::from_secs(30);

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Drained>,
}

impl Server {
    async fn start(node: &Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        let stop = CancellationToken::new();
        let options = ServerOptions { drain_wait: Duration::from_secs(60), ..ServerOptions::default() };
        let task = tokio::spawn(serve(options, listener, None, node.app.clone(), stop.clone()));
        Self { address, stop, task }
    }

    async fn connect(&self, path: &str) -> WebSocketStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        client_async(format!("ws://here{path}"), stream).await.expect("it speaks WebSocket").0
    }

    async fn stop(self) {
        let begun = Instant::now();
        self.stop.cancel();
        assert_eq!(self.task.await.expect("the server ends"), Drained::All);
        assert!(begun.elapsed() < LIMIT, "open sockets do not hold up a stop");
    }
}

async fn say(socket: &mut WebSocketStream<TcpStream>, message: &Value) {
    socket.send(Message::text(message.to_string())).await.expect("sent");
}

/// The next text, or the code that it was closed with.
async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Result<Value, u16> {
    loop {
        match timeout(LIMIT, socket.next()).await.expect("something in time").expect("not cut").expect("a message") {
            Message::Text(text) => return Ok(serde_json::from_str(text.as_str()).expect("JSON")),
            Message::Close(frame) => return Err(frame.map_or(0, |frame| frame.code.into())),
            _ping => {}
        }
    }
}

/// Makes files until the socket tells of one: nothing says when it has begun to listen.
async fn first_event(node: &Node, socket: &mut WebSocketStream<TcpStream>, folder: &str) -> Value {
    static FILES: AtomicU64 = AtomicU64::new(0);
    let limit = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < limit, "it tells of nothing");
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        assert!(node.dav("PUT", &format!("/dav/{folder}/first-{number}"), &[], "x").await.status.is_success());
        if let Ok(event) = timeout(Duration::from_millis(300), hear(socket)).await {
            return event.expect("an event");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_subscribes_is_told_of_what_it_may_read() {
    let node = Node::start().await;
    let token = node.token().await;
    let server = Server::start(&node).await;
    for path in ["/ws/event", "/ws/events"] {
        let mut socket = server.connect(path).await;
        say(&mut socket, &json!({"@type": "subscribe", "jwt": token})).await;
        let event = first_event(&node, &mut socket, "common-files").await;
        assert_eq!(event["Type"], "CREATE", "{event}");
        assert!(event["Target"]["Path"].as_str().is_some_and(|path| path.starts_with("common-files/first-")), "{event}");
        assert!(event["Metadata"]["EventWorkspaceId"].as_str().is_some_and(|id| id.len() == 36), "{event}");
        let first = format!("/dav/{}", event["Target"]["Path"].as_str().unwrap_or_default());
        let moved = node.dav("MOVE", &first, &[("destination", "/dav/common-files/moved")], "").await;
        assert!(moved.status.is_success(), "{}", moved.text());
        let event = loop {
            let event = hear(&mut socket).await.expect("an event");
            if event["Type"] != "CREATE" {
                break event;
            }
        };
        assert_eq!((&event["Type"], &event["Target"]["Path"]), (&json!("UPDATE_PATH"), &json!("common-files/moved")), "{event}");
        assert_eq!(event["Source"]["Uuid"], event["Target"]["Uuid"], "it is the same node");
        let delete = json!({"Nodes": [{"Path": "common-files/moved"}], "RemovePermanently": true});
        assert_eq!(node.rest(&token, ("POST", "/a/tree/delete"), &delete).await.status, 200);
        assert_eq!(hear(&mut socket).await.expect("an event")["Type"], "DELETE");
        say(&mut socket, &json!({"@type": "unsubscribe"})).await;
        say(&mut socket, &json!({"@type": "subscribe", "jwt": token})).await;
        first_event(&node, &mut socket, "common-files").await;
    }
    let mut open = server.connect("/ws/event").await;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(hear(&mut open).await, Err(1001), "a node that stops says so");
    stopping.await.expect("it has stopped");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn homes_are_told_to_their_owners_only() {
    let node = Node::start().await;
    let (admin, bob) = (node.token().await, node.session_of("bob").await);
    let server = Server::start(&node).await;
    let mut bobs = server.connect("/ws/event").await;
    say(&mut bobs, &json!({"@type": "subscribe", "jwt": bob})).await;
    first_event(&node, &mut bobs, "common-files").await;
    let mut admins = server.connect("/ws/event").await;
    say(&mut admins, &json!({"@type": "subscribe", "jwt": admin})).await;
    let event = first_event(&node, &mut admins, "personal-files").await;
    assert!(event["Target"]["Path"].as_str().is_some_and(|path| path.starts_with("personal-files/")), "{event}");
    assert!(node.dav("PUT", "/dav/common-files/last", &[], "x").await.status.is_success());
    loop {
        let event = hear(&mut bobs).await.expect("an event");
        let path = event["Target"]["Path"].as_str().unwrap_or_default().to_owned();
        assert!(path.starts_with("common-files/"), "the administrator's own files are nobody else's: {event}");
        if path == "common-files/last" {
            break;
        }
    }
    server.stop().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_understood_gets_an_error_and_an_end() {
    let node = Node::start().await;
    let server = Server::start(&node).await;
    for (sent, word) in [
        (json!({"@type": "subscribe", "jwt": "wrong"}), "token"),
        (json!({"@type": "subscribe"}), "jwt"),
        (json!({"@type": "JOIN"}), "JOIN"),
        (json!(7), "JSON object"),
    ] {
        let mut socket = server.connect("/ws/event").await;
        say(&mut socket, &sent).await;
        let error = hear(&mut socket).await.expect("an error comes before the end");
        assert_eq!(error["@type"], "error", "{sent}");
        assert!(error["error"].as_str().is_some_and(|error| error.contains(word)), "{sent}: {error}");
        assert_eq!(hear(&mut socket).await, Err(1008), "{sent}");
    }
    let mut socket = server.connect("/ws/event").await;
    socket.send(Message::text("x".repeat(2_049))).await.expect("sent");
    let ended = timeout(LIMIT, async { while let Some(Ok(_)) = socket.next().await {} }).await;
    assert!(ended.is_ok(), "a message that is too long ends the socket");
    let plain = node.rest("none", ("GET", "/ws/event"), &Value::Null).await;
    assert_eq!((plain.status.as_u16(), plain.json()["Meta"]["code"].as_str()), (400, Some("bad-request")), "{}", plain.text());
    let tried: Vec<_> =
        node.audit(skep_placement::ids::GroupId::SYSTEM).await.into_iter().filter(|line| line.action == "sign-in").collect();
    assert_eq!(tried.len(), 1, "of a wrong token the audit hears: {tried:?}");
    server.stop().await;
    node.stop().await;
}
