//! One limit node: its files, its peers, its copy of the log, and the calls it answers.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_rustls::TlsAcceptor;

use super::appender::Appender;
use super::leader::Leader;
use super::peer::{Kind, Peer, read_call, write_answer};
use super::record::{FileRecord, decode, encode};
use super::{http_face, tls};
use crate::fault::Fault;

/// The log goes round in so many bytes.
const LOG_BYTES: u64 = 64 << 20;
/// Voters of the log.
const VOTERS_MAX: usize = 3;
/// Waiting records are proposed by so many calls at once.
const PROPOSALS_AT_ONCE: usize = 4;

/// Which node this is.
#[derive(Clone, Debug, clap::Args)]
pub struct LimitNodeOptions {
    /// Where it writes; holds the certificate.
    #[arg(long)]
    pub dir: PathBuf,
    /// Its place, from 0.
    #[arg(long)]
    pub index: usize,
    /// How many there are.
    #[arg(long)]
    pub count: usize,
    /// Port of the first node for clients; the others follow, then come those between nodes.
    #[arg(long)]
    pub port: u16,
}

impl LimitNodeOptions {
    pub(super) fn client_port(&self, node: usize) -> u16 {
        self.port + u16::try_from(node).unwrap_or(0)
    }

    fn peer_port(&self, node: usize) -> u16 {
        self.client_port(node) + u16::try_from(self.count).unwrap_or(0)
    }
}

type ReadIdAnswer = oneshot::Sender<Option<u64>>;
type ProposalAnswer = oneshot::Sender<Option<u64>>;

/// Everything of one node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) index: usize,
    /// `None` in this node's own place.
    peers: Vec<Option<Peer>>,
    pub(super) device: Appender,
    log: Appender,
    files: Mutex<HashMap<String, FileRecord>>,
    applied: watch::Sender<u64>,
    leader: Option<Leader>,
    readers: mpsc::UnboundedSender<ReadIdAnswer>,
    proposals: mpsc::UnboundedSender<(Bytes, ProposalAnswer)>,
}

/// Serves until the process is ended.
///
/// # Errors
/// If it cannot start.
pub fn run(options: &LimitNodeOptions) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::io("start", "a runtime", error))?;
    runtime.block_on(serve(options)).map_err(|error| Fault::io("run", format!("limit node {}", options.index), error))
}

async fn serve(options: &LimitNodeOptions) -> io::Result<()> {
    let (acceptor, connector) = tls::load(&options.dir)?;
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let peer = |node| (node != options.index).then(|| Peer::new(loopback(options.peer_port(node)), connector.clone()));
    let voters = options.count.min(VOTERS_MAX);
    let (leader, queues) = match options.index {
        0 => {
            let (leader, queues) = Leader::new(voters);
            (Some(leader), queues)
        }
        _follower => (None, Vec::new()),
    };
    let (readers, reader_queue) = mpsc::unbounded_channel();
    let (proposals, proposal_queue) = mpsc::unbounded_channel();
    let own = |name: &str| options.dir.join(format!("{name}{}", options.index));
    let node = Arc::new(Node {
        index: options.index,
        peers: (0..options.count).map(peer).collect(),
        device: Appender::growing(&own("device"))?,
        log: Appender::ring(&own("log"), LOG_BYTES)?,
        files: Mutex::default(),
        applied: watch::Sender::new(0),
        leader,
        readers,
        proposals,
    });
    Leader::start(&node, queues);
    tokio::spawn(fetch_read_ids(Arc::clone(&node), reader_queue));
    tokio::spawn(send_proposals(Arc::clone(&node), proposal_queue));
    let peers = TcpListener::bind(loopback(options.peer_port(options.index))).await?;
    let clients = TcpListener::bind(loopback(options.client_port(options.index))).await?;
    tokio::spawn(accept_peers(Arc::clone(&node), peers, acceptor));
    loop {
        let (stream, _from) = clients.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(http_face::serve(Arc::clone(&node), stream));
    }
}

async fn accept_peers(node: Arc<Node>, listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((stream, _from)) = listener.accept().await {
        let (node, acceptor) = (Arc::clone(&node), acceptor.clone());
        // A broken connection is the caller's to see.
        tokio::spawn(async move { node.answer_peer(stream, acceptor).await });
    }
}

/// One read id at a time, shared by all who came before it was asked for.
async fn fetch_read_ids(node: Arc<Node>, mut queue: mpsc::UnboundedReceiver<ReadIdAnswer>) {
    while let Some(first) = queue.recv().await {
        let mut readers = vec![first];
        while let Ok(next) = queue.try_recv() {
            readers.push(next);
        }
        let number = match node.peer(0) {
            None => node.confirmed().await,
            Some(leader) => leader.call(Kind::ReadId, &Bytes::new()).await.map(|mut answer| answer.try_get_u64().unwrap_or(0)),
        };
        let number = number.ok();
        for reader in readers {
            let _gone = reader.send(number);
        }
    }
}

/// Sends what waits to the leader, a few batches at once.
async fn send_proposals(node: Arc<Node>, mut queue: mpsc::UnboundedReceiver<(Bytes, ProposalAnswer)>) {
    let permits = Arc::new(tokio::sync::Semaphore::new(PROPOSALS_AT_ONCE));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let Some((first, answer)) = queue.recv().await else { return };
        let (mut batch, mut answers) = (BytesMut::from(first.as_ref()), vec![answer]);
        while let Ok((records, answer)) = queue.try_recv() {
            batch.extend_from_slice(&records);
            answers.push(answer);
        }
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            let _permit = permit;
            let batch = batch.freeze();
            let number = match (node.peer(0), node.leader()) {
                (Some(leader), _) => leader.call(Kind::Propose, &batch).await.map(|mut answer| answer.try_get_u64().unwrap_or(0)),
                (None, Some(leader)) => leader.propose(batch).await,
                (None, None) => Err(io::ErrorKind::NotConnected.into()),
            };
            let number = number.ok();
            for answer in answers {
                let _gone = answer.send(number);
            }
        });
    }
}

impl Node {
    /// Another node; `None` for this one.
    pub(super) fn peer(&self, node: usize) -> Option<&Peer> {
        self.peers.get(node).and_then(Option::as_ref)
    }

    pub(super) fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    /// How many nodes there are, dead ones too.
    pub(super) fn count(&self) -> usize {
        self.peers.len()
    }

    /// The nodes that answer.
    pub(super) fn alive(&self) -> Vec<usize> {
        let alive = |node: &usize| self.peers.get(*node).is_some_and(|peer| peer.as_ref().is_none_or(Peer::is_alive));
        (0..self.peers.len()).filter(alive).collect()
    }

    /// Puts records into the log of a quorum.
    pub(super) async fn propose(&self, records: Bytes) -> io::Result<()> {
        let (answer, wait) = oneshot::channel();
        let gone = || io::Error::other("the leader does not answer");
        self.proposals.send((records, answer)).map_err(|_ended| gone())?;
        wait.await.ok().flatten().map(|_number| ()).ok_or_else(gone)
    }

    /// Waits until everything that was committed before this call is in this node's map.
    pub(super) async fn read_point(&self) -> io::Result<()> {
        let (answer, wait) = oneshot::channel();
        let gone = || io::Error::other("the leader does not answer");
        self.readers.send(answer).map_err(|_ended| gone())?;
        let number = wait.await.ok().flatten().ok_or_else(gone)?;
        // Nodes without the log have no map to wait for.
        if self.index < VOTERS_MAX {
            self.applied.subscribe().wait_for(|applied| *applied >= number).await.map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// A file by its name; a node without the log asks one that has it.
    pub(super) async fn file(&self, name: &str) -> io::Result<Option<FileRecord>> {
        match self.peer(self.index % VOTERS_MAX) {
            Some(voter) if self.index >= VOTERS_MAX => {
                let mut found = voter.call(Kind::Lookup, &Bytes::copy_from_slice(name.as_bytes())).await?;
                if found.is_empty() { Ok(None) } else { Ok(decode(&mut found)?.1) }
            }
            _own => Ok(self.own_file(name)),
        }
    }

    fn own_file(&self, name: &str) -> Option<FileRecord> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Makes records durable here and takes their files into the map.
    pub(super) async fn append(&self, last: u64, records: Bytes) -> io::Result<()> {
        self.log.append(records.clone()).await?;
        self.apply(records)?;
        self.applied.send_replace(last);
        Ok(())
    }

    /// Takes files into the map.
    pub(super) fn apply(&self, mut records: Bytes) -> io::Result<()> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        while !records.is_empty() {
            if let (name, Some(file)) = decode(&mut records)? {
                files.insert(name, file);
            }
        }
        Ok(())
    }

    /// The leader's committed number, after another voter has said that it is there.
    async fn confirmed(&self) -> io::Result<u64> {
        let leader = self.leader.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let committed = leader.committed();
        let voters = self.peers.len().min(VOTERS_MAX);
        if let Some(peer) = self.peers.iter().take(voters).flatten().find(|peer| peer.is_alive()) {
            peer.call(Kind::Confirm, &Bytes::new()).await?;
        }
        Ok(committed)
    }

    /// Calls of fdatasync so far.
    pub(super) fn syncs(&self) -> u64 {
        self.device.syncs() + self.log.syncs()
    }

    async fn answer_peer(&self, stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = acceptor.accept(stream).await?;
        while let Some((kind, payload)) = read_call(&mut stream).await? {
            let answer = self.answer(kind, payload).await?;
            write_answer(&mut stream, &answer).await?;
        }
        Ok(())
    }

    async fn answer(&self, kind: Kind, mut payload: Bytes) -> io::Result<Bytes> {
        let number = |number: u64| Bytes::copy_from_slice(&number.to_be_bytes());
        let take = |payload: &mut Bytes| payload.try_get_u64().map_err(io::Error::other);
        match kind {
            Kind::PutShard => Ok(number(self.device.append(payload).await?)),
            Kind::GetShard => {
                let (place, length) = (take(&mut payload)?, take(&mut payload)?);
                self.device.read(place, usize::try_from(length).map_err(io::Error::other)?).await
            }
            Kind::Propose => {
                let leader = self.leader.as_ref().ok_or(io::ErrorKind::NotConnected)?;
                Ok(number(leader.propose(payload).await?))
            }
            Kind::ReadId => Ok(number(self.confirmed().await?)),
            Kind::Append => {
                let last = take(&mut payload)?;
                self.append(last, payload).await?;
                Ok(Bytes::new())
            }
            Kind::Confirm => Ok(Bytes::new()),
            Kind::Lookup => {
                let name = String::from_utf8_lossy(&payload).into_owned();
                Ok(self.own_file(&name).map(|file| encode(&name, Some(&file))).unwrap_or_default())
            }
        }
    }
}
