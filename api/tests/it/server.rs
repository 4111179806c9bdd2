//! The listener: real connections, and a drain that answers what is open.

use std::time::Duration;

use skep_api::server::{Drained, ServerOptions, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::harness::{Node, PASSWORD};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_request_is_answered_while_the_server_stops() {
    use base64::Engine;
    let node = Node::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("it is bound");
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(ServerOptions::default(), listener, None, node.app.clone(), stop.clone()));
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("admin:{PASSWORD}"));
    let mut client = TcpStream::connect(address).await.expect("it listens");
    let head = format!(
        "PUT /dav/common-files/slow HTTP/1.1\r\nhost: here\r\nauthorization: Basic {basic}\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.expect("sent");
    let mut go_on = [0; 25];
    client.read_exact(&mut go_on).await.expect("the server asks for the body");
    assert!(go_on.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&go_on));
    client.write_all(b"12345").await.expect("sent");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("no new connections are taken");
    client.write_all(b"67890").await.expect("sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("answered and closed");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(server.await.expect("the server ends"), Drained::All);
    let got = node.dav("GET", "/dav/common-files/slow", &[], axum::body::Body::empty()).await;
    assert_eq!(got.text(), "1234567890");
    node.stop().await;
}
