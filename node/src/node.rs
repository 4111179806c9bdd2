//! One running node: what it is put together from, in which order it starts and in which it stops.
//!
//! Start: configuration and identity are checked and a boot number is taken; both ports are bound; metadata start and the port between nodes
//! serves them; devices are opened (a new one is made known to the cluster first); chunk I/O, use cases and workers; last the port for clients.
//! Stop: not ready; leaderships handed over; requests finish; workers end; devices close; the port between nodes and the metadata close.
//! Invariant: nothing is served before the boot number is durable, and nothing runs on after [`Node::stop`].

mod certificate;
mod devices;
pub mod metadata;
mod port;
mod shards;
mod upkeep;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use skep_api::app::{App, AppOptions, AppParts};
use skep_api::server::{Drained, ServerOptions};
use skep_api::service::jobs::worker::Worker;
use skep_raft::handle::Metadata;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::admin_rpc::wire::admin_server::AdminServer;
use crate::admin_rpc::{AdminParts, AdminService};
use crate::clock::System;
use crate::config::Config;
use crate::device_folders::DeviceFoldersError;
use crate::device_store::OpenError;
use crate::durable_file::FileError;
use crate::identity::{DataFolder, IdentityError, Membership, NodeIdentity, require_member};
use crate::join::service::JoinService;
use crate::join::wire::join_server::JoinServer;
use crate::known_nodes;
use crate::master_key::{MasterKey, MasterKeyError};
use crate::peers::{AddressBook, NodePeers};
use crate::rpc_server::{RpcRouter, RpcServer};
use crate::status::StatusSource;
use crate::storage::{Storage, StorageOptions};
use crate::tasks::Tasks;
use crate::telemetry::{self, Metrics};
use crate::tls::{NodeCredentials, NodeTls, PeerName, TlsError};
use certificate::Renewal;
use metadata::{METADATA_FOLDER, metadata_options};
use port::{Port, Readiness};
use shards::LateShards;

/// How long tasks may take to end once they are told to.
const TASKS_PATIENCE: Duration = Duration::from_secs(10);
/// How long calls of other nodes may take to finish.
const RPC_PATIENCE: Duration = Duration::from_secs(2);
/// Clients are told so long that this node is not ready, before it takes no more connections.
const DRAIN_NOTICE: Duration = Duration::from_millis(500);

/// Why a node did not start: a sentence that says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The master key cannot be used.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The list of devices cannot be used.
    #[error(transparent)]
    DeviceFolders(#[from] DeviceFoldersError),
    /// The metadata do not start.
    #[error(transparent)]
    Metadata(#[from] skep_raft::errors::StartError),
    /// A device does not open.
    #[error(transparent)]
    Device(#[from] OpenError),
    /// A port is taken.
    #[error("cannot listen on {address} ({key}): {source}; is another process using it?")]
    Listen {
        /// Which key of the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Something else is in the way; a whole sentence.
    #[error("{0}")]
    Refused(String),
}

/// Why a running node ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The signals of the process cannot be followed.
    #[error("signals cannot be followed: {0}")]
    Signals(std::io::Error),
    /// One of its tasks has panicked; the log says why.
    #[error("the task `{0}` has failed; the log says why")]
    Task(&'static str),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    config: Config,
    identity: NodeIdentity,
    metadata: Metadata,
    storage: Storage,
    readiness: Readiness,
    addresses: Addresses,
    /// The ports; each ends by its own token.
    serving: Serving,
    /// Everything else that runs.
    tasks: Arc<Tasks>,
    /// Held to the end: the lock on the data folder.
    folder: DataFolder,
}

/// Where the node listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For clients.
    pub api: SocketAddr,
    /// For nodes.
    pub rpc: SocketAddr,
}

#[derive(Debug)]
struct Serving {
    api: tokio::task::JoinHandle<Drained>,
    api_stop: CancellationToken,
    rpc: Rpc,
}

#[derive(Debug)]
struct Rpc {
    task: tokio::task::JoinHandle<()>,
    stop: CancellationToken,
    cut: CancellationToken,
}

/// What a node is before it serves anything.
struct Base {
    config: Config,
    identity: NodeIdentity,
    folder: DataFolder,
    master: MasterKey,
    credentials: NodeCredentials,
    tls: Arc<NodeTls>,
    book: Arc<AddressBook>,
    peers: NodePeers,
    metrics: Metrics,
}

impl Base {
    /// Checks who this node is; nothing is served if anything does not fit.
    fn of(config: Config) -> Result<Self, StartError> {
        // Who never began or joined is told that, not that a key is missing.
        require_member(&config.node.data_dir)?;
        let master = MasterKey::load(&config.node.master_key_file)?;
        let folder = DataFolder::lock(&config.node.data_dir)?;
        let identity = folder.begin_boot(master.cluster())?;
        let credentials = NodeCredentials::load(folder.path())?;
        let expected = PeerName { cluster: identity.cluster, node: identity.node };
        let name = credentials.name()?;
        if name != expected {
            let sentence = format!("the certificate in {} is of {name}, but the folder is of {expected}", folder.path().display());
            return Err(StartError::Refused(sentence));
        }
        let tls = Arc::new(NodeTls::new(&credentials)?);
        let known = known_nodes::load(folder.path())?.into_iter().chain(config.rpc.peers.clone());
        let book = Arc::new(AddressBook::new(known));
        let peers = NodePeers::new(tls.clone(), book.clone());
        let metrics = Metrics::begin();
        telemetry::describe_all();
        telemetry::record_start(identity.boot);
        Ok(Self { config, identity, folder, master, credentials, tls, book, peers, metrics })
    }

    async fn start_metadata(&mut self) -> Result<Metadata, StartError> {
        let first_start = self.identity.membership == Membership::Joined;
        let options = metadata_options(&self.config, self.identity, first_start)?;
        let metadata = Metadata::start(options, Arc::new(self.peers.clone())).await?;
        self.identity = self.folder.note_run(self.identity)?;
        Ok(metadata)
    }
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { key, address, source })
}

impl Node {
    /// Starts the configured node; returns when it serves. A node that just joined waits here for the cluster to give its devices ids.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs on then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let mut base = Base::of(config)?;
        let api_tls =
            base.config.api.tls.as_ref().map(|tls| crate::tls::api::server_config(&tls.certificate_file, &tls.key_file)).transpose()?;
        let rpc_listener = listen("rpc.listen", base.config.rpc.listen).await?;
        let api_listener = listen("api.listen", base.config.api.listen).await?;
        let bound =
            |listener: &TcpListener, key, address| listener.local_addr().map_err(|source| StartError::Listen { key, address, source });
        let addresses = Addresses {
            api: bound(&api_listener, "api.listen", base.config.api.listen)?,
            rpc: bound(&rpc_listener, "rpc.listen", base.config.rpc.listen)?,
        };
        let metadata = base.start_metadata().await?;
        let starting = Starting::begin(&base, &metadata, addresses, rpc_listener);
        match starting.finish(&base).await {
            Ok(whole) => Ok(starting.serve(base, whole, addresses, (api_listener, api_tls))),
            Err(error) => {
                starting.give_up().await;
                Err(error)
            }
        }
    }

    /// Who this node is.
    pub fn identity(&self) -> NodeIdentity {
        self.identity
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Its storage, for tests and tools.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The groups, for tests and tools.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Runs until the process is told to end by SIGTERM or SIGINT, then stops in order. A second signal ends the process at once.
    ///
    /// # Errors
    /// [`RunError`] if the node ended by a fault of its own; it was stopped in order then, too.
    pub async fn run_until_signal(self) -> Result<(), RunError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
        let ended = tokio::select! {
            _signal = terminate.recv() => Ok(()),
            _signal = interrupt.recv() => Ok(()),
            name = self.tasks.failed() => Err(RunError::Task(name)),
        };
        let hurry = tokio::spawn(async move {
            tokio::select! {
                _signal = terminate.recv() => {}
                _signal = interrupt.recv() => {}
            }
            tracing::warn!("a second signal: the node ends at once");
            std::process::exit(1);
        });
        self.stop().await;
        hurry.abort();
        ended
    }

    /// Stops in order; every request that was begun is finished, as long as it does not take longer than `limits.drain_seconds`.
    pub async fn stop(self) {
        let started = std::time::Instant::now();
        tracing::info!("the node stops: it is not ready any more");
        self.readiness.stopping();
        self.serving.api_stop.cancel();
        // While clients are told that it is not ready, leaderships move, so that no request waits for an election.
        self.metadata.drain().await;
        match self.serving.api.await {
            Ok(Drained::All) => {}
            Ok(Drained::CutSome) => tracing::warn!("some requests took longer than limits.drain_seconds and were cut"),
            Err(error) => tracing::error!(%error, "the API server failed"),
        }
        let aborted = self.tasks.join(TASKS_PATIENCE).await;
        if !aborted.is_empty() {
            tracing::warn!(tasks = aborted.join(", "), "tasks did not end in time");
        }
        self.storage.close().await;
        self.metadata.end_lines();
        self.serving.rpc.end().await;
        self.metadata.close().await;
        tracing::info!(took = ?started.elapsed(), "the node has stopped");
        drop(self.folder);
    }
}

impl Rpc {
    async fn end(self) {
        self.stop.cancel();
        let Self { mut task, cut, .. } = self;
        if tokio::time::timeout(RPC_PATIENCE, &mut task).await.is_err() {
            cut.cancel();
            if let Err(error) = task.await {
                tracing::error!(%error, "the RPC server failed");
            }
        }
    }
}

/// A node whose metadata run and whose port between nodes serves them.
struct Starting {
    metadata: Metadata,
    tasks: Arc<Tasks>,
    readiness: Readiness,
    rpc: Rpc,
    shards: Arc<LateShards>,
    admin: AdminService,
}

/// What was put together once the devices were open.
struct Whole {
    storage: Storage,
    app: App,
}

impl Starting {
    fn begin(base: &Base, metadata: &Metadata, addresses: Addresses, listener: TcpListener) -> Self {
        let tasks = Arc::new(Tasks::new());
        let readiness = Readiness::default();
        let shards = Arc::new(LateShards::default());
        let admin = AdminService::new(metadata.clone());
        let router = RpcRouter::new()
            .with(metadata.raft_service())
            .with(metadata.metadata_service())
            .with(AdminServer::new(admin.clone()))
            .with_open_to_joiners(JoinServer::new(JoinService::new(metadata.clone(), base.master.clone())));
        let server = RpcServer { tls: base.tls.clone(), router, shards: shards.clone(), admission: upkeep::admission(metadata) };
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let serving = server.serve(listener, stop.clone(), cut.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the port between nodes has failed");
            }
        });
        let starting = Self { metadata: metadata.clone(), tasks, readiness, rpc: Rpc { task, stop, cut }, shards, admin };
        starting.spawn_upkeep(base, addresses);
        starting
    }

    fn spawn_upkeep(&self, base: &Base, addresses: Addresses) {
        let (tasks, metadata) = (&self.tasks, &self.metadata);
        let stop = tasks.stopping();
        tasks.spawn("addresses", upkeep::follow_addresses(metadata.clone(), base.book.clone(), stop.clone()));
        let boot = upkeep::boot_command(&base.config, base.identity, addresses);
        tasks.spawn("boot registration", upkeep::register_boot(metadata.clone(), boot, self.readiness.clone(), stop.clone()));
        tasks.spawn("freshness", upkeep::watch_freshness(metadata.clone(), self.readiness.clone(), stop.clone()));
        let proof = (base.credentials.clone(), base.tls.clone());
        let renewal = Renewal::new(metadata.clone(), base.master.clone(), proof, base.folder.path().to_owned());
        tasks.spawn("certificate renewal", renewal.run(stop.clone()));
        tasks.spawn("metrics upkeep", upkeep::measure(base.metrics.clone(), base.tls.clone(), stop));
    }

    /// Opens the devices and puts together what works with them.
    async fn finish(&self, base: &Base) -> Result<Whole, StartError> {
        let opened = devices::open(base, &self.metadata).await?;
        let folders = opened.folders.clone();
        let storage = self.start_storage(base, opened).await?;
        self.shards.provide(storage.local.clone());
        let status = StatusSource {
            node: base.identity.node,
            boot: base.identity.boot,
            cluster: base.identity.cluster,
            metadata: self.metadata.clone(),
            maps: storage.maps.clone(),
            health: storage.health.clone(),
            peers: base.peers.clone(),
        };
        let port = Arc::new(Port::new(self.readiness.clone(), base.metrics.clone(), status));
        let parts = AppParts {
            metadata: self.metadata.clone(),
            chunks: Arc::new(storage.chunks.clone()),
            node: port.clone(),
            clock: Arc::new(System),
            random: Arc::new(System),
        };
        let api = &base.config.api;
        let options = AppOptions { public_url: api.public_url.clone(), metrics_public: api.metrics_public, ..AppOptions::default() };
        let app = App::new(parts, options);
        self.tasks.spawn("jobs", Worker::new(app.service().clone(), base.identity.node).run(self.tasks.stopping()));
        self.admin.provide(AdminParts {
            node: base.identity.node,
            metadata: self.metadata.clone(),
            app: app.clone(),
            port,
            master: base.master.clone(),
            maps: storage.maps.clone(),
            transport: storage.transport.clone(),
            devices: folders,
            log_folder: base.config.node.data_dir.join(METADATA_FOLDER).join("log"),
        });
        Ok(Whole { storage, app })
    }

    async fn start_storage(&self, base: &Base, opened: devices::Opened) -> Result<Storage, StartError> {
        let options = StorageOptions {
            node: base.identity.node,
            boot: base.identity.boot,
            stores: opened.stores,
            events: opened.events,
            master: base.master.clone(),
            dialer: Arc::new(base.peers.clone()),
            budget_bytes: usize::try_from(base.config.memory.budget_bytes).unwrap_or(usize::MAX),
        };
        let storage = Storage::start(options, &self.metadata, &self.tasks).await;
        storage.map_err(|error| StartError::Refused(format!("the cluster map cannot be used: {error}")))
    }

    /// Opens the port for clients: from here on the node serves.
    fn serve(
        self,
        base: Base,
        whole: Whole,
        addresses: Addresses,
        (listener, tls): (TcpListener, Option<Arc<rustls::ServerConfig>>),
    ) -> Node {
        let api_stop = CancellationToken::new();
        let options = ServerOptions {
            connections: base.config.limits.connections_max,
            drain_notice: DRAIN_NOTICE,
            drain_wait: base.config.limits.drain,
            ..ServerOptions::default()
        };
        let api = tokio::spawn(skep_api::server::serve(options, listener, tls, whole.app, api_stop.clone()));
        self.readiness.opened();
        tracing::info!(identity = %base.identity, api = %addresses.api, rpc = %addresses.rpc, "the node serves");
        Node {
            config: base.config,
            identity: base.identity,
            metadata: self.metadata,
            storage: whole.storage,
            readiness: self.readiness,
            addresses,
            serving: Serving { api, api_stop, rpc: self.rpc },
            tasks: self.tasks,
            folder: base.folder,
        }
    }

    /// Ends what runs already.
    async fn give_up(self) {
        self.tasks.join(TASKS_PATIENCE).await;
        self.metadata.end_lines();
        self.rpc.end().await;
        self.metadata.close().await;
    }
}

impl Node {
    /// The configuration it runs by.
    pub fn config(&self) -> &Config {
        &self.config
    }
}
