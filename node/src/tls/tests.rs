//! Handshakes over a pipe: who is let in and who is not.

use std::io;
use std::sync::Arc;

use skep_placement::ids::{ClusterId, NodeId};
use time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::authority::{PublicKeyInfo, certificate_request, fingerprint};
use super::credentials::load_or_create_key;
use super::session::{handshake_name, joining_client_config};
use super::testing::{CLUSTER, authority, credentials, node, now};
use super::verify::Expected;
use super::{Alpn, Authority, NodeCredentials, NodeTls, PeerName, renewal};

/// Shakes hands and sends a byte each way; gives what the client and the server found.
async fn shake(server: &NodeTls, client: Arc<rustls::ClientConfig>) -> (io::Result<()>, io::Result<Option<PeerName>>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let acceptor = TlsAcceptor::from(server.server_config().unwrap());
    let serving = async {
        let mut stream = acceptor.accept(far).await?;
        stream.write_all(b"s").await?;
        stream.flush().await?;
        stream.read_u8().await?;
        let certificates = stream.get_ref().1.peer_certificates();
        Ok(certificates.map(|chain| PeerName::of_certificate(&chain[0]).unwrap()))
    };
    let connecting = async {
        let mut stream = TlsConnector::from(client).connect(handshake_name(), near).await?;
        stream.write_all(b"c").await?;
        stream.flush().await?;
        stream.read_u8().await.map(|_byte| ())
    };
    tokio::join!(connecting, serving)
}

fn assert_refused(result: io::Result<()>, why: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.contains(why), "{error:?} does not say {why:?}");
}

fn tls(credentials: &NodeCredentials) -> NodeTls {
    NodeTls::new(credentials).unwrap()
}

async fn dial(server: &NodeCredentials, client: &NodeCredentials, expected: Expected) -> (io::Result<()>, io::Result<Option<PeerName>>) {
    shake(&tls(server), tls(client).client_config(expected, Alpn::Control).unwrap()).await
}

#[tokio::test]
async fn two_nodes_of_a_cluster_know_each_other() {
    let ca = authority();
    let (client, server) = dial(&node(&ca, 1), &node(&ca, 2), Expected::Node(NodeId(1))).await;
    client.unwrap();
    assert_eq!(server.unwrap(), Some(PeerName { cluster: CLUSTER, node: NodeId(2) }));
}

#[tokio::test]
async fn another_node_than_the_expected_is_refused() {
    let ca = authority();
    let (client, _server) = dial(&node(&ca, 1), &node(&ca, 2), Expected::Node(NodeId(3))).await;
    assert_refused(client, "NotValidForName");
    dial(&node(&ca, 1), &node(&ca, 2), Expected::AnyNode).await.0.unwrap();
}

#[tokio::test]
async fn another_authority_is_refused_on_both_sides() {
    let (ours, theirs) = (authority(), authority());
    let (client, _server) = dial(&node(&theirs, 1), &node(&ours, 2), Expected::Node(NodeId(1))).await;
    assert_refused(client, "BadSignature");
    // A foreign client that trusts our server all the same.
    let forged = NodeCredentials { authority: ours.certificate().clone(), ..node(&theirs, 2) };
    let (_client, server) = dial(&node(&ours, 1), &forged, Expected::Node(NodeId(1))).await;
    assert!(server.is_err(), "a certificate of another authority was let in");
}

#[tokio::test]
async fn another_cluster_under_the_same_authority_is_refused() {
    let ca = authority();
    let stranger = credentials(&ca, ClusterId([9; 16]), 1, now());
    let (client, _server) = dial(&stranger, &node(&ca, 2), Expected::Node(NodeId(1))).await;
    assert_refused(client, "NotValidForName");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_both_sides() {
    let ca = Authority::create(CLUSTER, now() - Duration::days(400)).unwrap();
    let expired = |id| credentials(&ca, CLUSTER, id, now() - Duration::days(120));
    let (client, _server) = dial(&expired(1), &node(&ca, 2), Expected::Node(NodeId(1))).await;
    assert_refused(client, "expired");
    let (_client, server) = dial(&node(&ca, 1), &expired(2), Expected::Node(NodeId(1))).await;
    assert!(server.unwrap_err().to_string().contains("expired"));
}

#[tokio::test]
async fn a_node_certificate_signs_nothing() {
    let ca = authority();
    let middle = node(&ca, 1);
    let key = load_or_create_key(tempfile::tempdir().unwrap().path()).unwrap();
    let forger = Authority::from_parts(&middle.certificate, &middle.key).unwrap();
    let name = PeerName { cluster: CLUSTER, node: NodeId(7) };
    let certificate = forger.issue(name, &PublicKeyInfo::of(&key).unwrap(), now()).unwrap();
    let forged = NodeCredentials { authority: middle.certificate.clone(), certificate, key: key.serialize_der().into() };
    let (client, _server) = dial(&forged, &node(&ca, 2), Expected::Node(NodeId(7))).await;
    assert!(client.is_err(), "a certificate signed by a node was taken");
}

#[tokio::test]
async fn a_joiner_pins_the_authority_and_comes_without_a_name() {
    let (ours, theirs) = (authority(), authority());
    let pin = fingerprint(ours.certificate());
    let (client, server) = shake(&tls(&node(&ours, 1)), joining_client_config(pin, CLUSTER).unwrap()).await;
    client.unwrap();
    assert_eq!(server.unwrap(), None);
    let (client, _server) = shake(&tls(&node(&theirs, 1)), joining_client_config(pin, CLUSTER).unwrap()).await;
    assert!(client.is_err(), "another authority was taken for the pinned one");
    // The pinned certificate is sent along, but the server's own is not signed by it.
    let mixed = NodeCredentials { authority: ours.certificate().clone(), ..node(&theirs, 1) };
    let (client, _server) = shake(&tls(&mixed), joining_client_config(pin, CLUSTER).unwrap()).await;
    assert!(client.is_err(), "a server that only shows the pinned certificate was taken");
    let (client, _server) = shake(&tls(&node(&ours, 1)), joining_client_config(pin, ClusterId([9; 16])).unwrap()).await;
    assert!(client.is_err(), "another cluster was taken for the token's");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_from_the_next_connection_on() {
    let ca = Authority::create(CLUSTER, now() - Duration::days(80)).unwrap();
    let old = credentials(&ca, CLUSTER, 1, now() - Duration::days(70));
    assert!(renewal::is_due(&old.certificate, now()).unwrap());
    let server = tls(&old);
    let renewed = renewal::renew(&old, &ca, now()).unwrap();
    assert!(!renewal::is_due(&renewed.certificate, now()).unwrap());
    assert_eq!(renewed.key, old.key);
    server.replace(&renewed).unwrap();
    assert_eq!(server.certificate(), renewed.certificate);
    shake(&server, tls(&node(&ca, 2)).client_config(Expected::Node(NodeId(1)), Alpn::Control).unwrap()).await.0.unwrap();
    assert!(server.replace(&node(&ca, 2)).unwrap_err().to_string().contains("node/1"));
}

#[test]
fn the_authority_survives_being_stored_and_signs_requests() {
    let folder = tempfile::tempdir().unwrap();
    let made = authority();
    let ca = Authority::from_parts(made.certificate(), &made.key_pkcs8()).unwrap();
    let key = load_or_create_key(folder.path()).unwrap();
    assert_eq!(load_or_create_key(folder.path()).unwrap().serialize_der(), key.serialize_der(), "the key is kept");
    let mut request = certificate_request(&key).unwrap();
    let public_key = PublicKeyInfo::of_request(&request).unwrap();
    assert_eq!(public_key.sha256(), PublicKeyInfo::of(&key).unwrap().sha256());
    let name = PeerName { cluster: CLUSTER, node: NodeId(4) };
    let certificate = ca.issue(name, &public_key, now()).unwrap();
    let stored = NodeCredentials { authority: ca.certificate().clone(), certificate, key: key.serialize_der().into() };
    stored.store(folder.path()).unwrap();
    let loaded = NodeCredentials::load(folder.path()).unwrap();
    assert_eq!(loaded.name().unwrap(), name);
    NodeTls::new(&loaded).unwrap();
    let last = request.len() - 1;
    request[last] ^= 1;
    assert!(PublicKeyInfo::of_request(&request).is_err(), "a request with a wrong signature was taken");
    std::fs::remove_file(folder.path().join("tls/node.der")).unwrap();
    assert!(NodeCredentials::load(folder.path()).unwrap_err().to_string().contains("node.der"));
}
