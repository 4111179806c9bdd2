//! A WebDAV server in memory for the tests of load and verify: MKCOL, PUT with a length, GET, and an answer to everything wrong.

use super::client;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// `admin:secret`.
const AUTHORIZATION: &str = "Basic YWRtaW46c2VjcmV0";

#[derive(Default)]
struct Store {
    folders: BTreeSet<String>,
    files: BTreeMap<String, Vec<u8>>,
    writes: usize,
    refusals: usize,
    stopped: bool,
}

/// A server on a free port of loopback.
pub(super) struct TestServer {
    address: String,
    store: Arc<Mutex<Store>>,
}

impl TestServer {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let store = Arc::new(Mutex::new(Store::default()));
        let shared = Arc::clone(&store);
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if shared.lock().expect("no panic").stopped {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(connection, &shared));
            }
        });
        TestServer { address, store }
    }

    pub(super) fn address(&self) -> String {
        self.address.clone()
    }

    /// Answers 503 to so many requests.
    pub(super) fn refuse_next(&self, count: usize) {
        self.store.lock().expect("no panic").refusals = count;
    }

    /// Closes the port.
    pub(super) fn stop(&self) {
        self.store.lock().expect("no panic").stopped = true;
        drop(TcpStream::connect(self.address.trim_start_matches("http://")));
    }

    pub(super) fn files(&self) -> usize {
        self.store.lock().expect("no panic").files.len()
    }

    pub(super) fn writes(&self) -> usize {
        self.store.lock().expect("no panic").writes
    }

    pub(super) fn damage(&self, path: &str) {
        let mut store = self.store.lock().expect("no panic");
        store.files.get_mut(&client::dav_path(path)).expect("it was loaded")[0] ^= 1;
    }

    pub(super) fn remove(&self, path: &str) {
        self.store.lock().expect("no panic").files.remove(&client::dav_path(path)).expect("it was loaded");
    }
}

struct Call {
    method: String,
    path: String,
    authorized: bool,
    length: Option<usize>,
}

fn serve(connection: TcpStream, store: &Mutex<Store>) {
    let mut reader = BufReader::new(connection.try_clone().expect("a socket can be shared"));
    let mut writer = connection;
    while let Some(call) = read_call(&mut reader) {
        let mut body = vec![0; call.length.unwrap_or(0)];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let (status, content) = answer(&call, body, &mut store.lock().expect("no panic"));
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nRetry-After: 0\r\n\r\n", content.len());
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&content)).is_err() {
            return;
        }
    }
    // A peer that is gone already is no concern of a test's server.
    writer.shutdown(Shutdown::Both).ok();
}

fn read_call(reader: &mut impl BufRead) -> Option<Call> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut words = line.split(' ');
    let mut call = Call { method: words.next()?.into(), path: words.next()?.into(), authorized: false, length: None };
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            return Some(call);
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => call.authorized = value == AUTHORIZATION,
            "content-length" => call.length = value.parse().ok(),
            _ => {}
        }
    }
}

fn answer(call: &Call, body: Vec<u8>, store: &mut Store) -> (u16, Vec<u8>) {
    if call.path == "/readyz" {
        return (200, Vec::new());
    }
    if !call.authorized {
        return (401, Vec::new());
    }
    if store.refusals > 0 {
        store.refusals -= 1;
        return (503, b"no leader".to_vec());
    }
    let parent = call.path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let has_parent = parent == "/dav/common-files" || store.folders.contains(parent);
    match call.method.as_str() {
        "MKCOL" | "PUT" if !has_parent => (409, b"no parent".to_vec()),
        "MKCOL" if !store.folders.insert(call.path.clone()) => (405, Vec::new()),
        "MKCOL" => (201, Vec::new()),
        "PUT" if call.length.is_none() => (411, Vec::new()),
        "PUT" => {
            store.writes += 1;
            store.files.insert(call.path.clone(), body);
            (201, Vec::new())
        }
        "GET" => store.files.get(&call.path).map_or_else(|| (404, b"no such file".to_vec()), |content| (200, content.clone())),
        _ => (405, Vec::new()),
    }
}
