//! How a cluster begins: `skep init` makes its authority, its keys and the first command of its system group on one node, and ends.
//!
//! Invariant: the data folder says "forming" until everything is durable; whoever runs it again after an interruption starts over, which loses
//! nothing, because no process has served anything.

use std::sync::Arc;

use bytes::Bytes;
use rcgen::KeyPair;
use skep_api::auth::password::hash_password;
use skep_api::auth::secret::Secret;
use skep_placement::ids::{BootNumber, ClusterId, DeviceId, Generation, NodeId, RaftId};
use skep_placement::profile::Profile;
use skep_raft::handle::Metadata;
use skep_raft::wire::meta::v1 as meta;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::clock::System;
use crate::config::Config;
use crate::device_folders::{DeviceFolder, DeviceFolders, weigh};
use crate::identity::{DataFolder, Membership, NodeIdentity};
use crate::join::client::advertised;
use crate::master_key::{MasterKey, MasterKeyError, SealPurpose};
use crate::node::StartError;
use crate::node::metadata::{METADATA_FOLDER, metadata_options};
use crate::peers::{AddressBook, NodePeers};
use crate::tls::authority::{PublicKeyInfo, fingerprint, hex};
use crate::tls::credentials::load_or_create_key;
use crate::tls::{Authority, NodeCredentials, NodeTls, PeerName};
use crate::workers::placement::profile_record;

/// The first node's ids.
const FIRST_NODE: NodeId = NodeId(1);
const FIRST_RAFT_ID: RaftId = RaftId(1);

/// What the person who begins a cluster says.
pub struct FormOptions {
    /// Of the user admin.
    pub admin_password: Zeroizing<String>,
    /// How chunks are spread; `None`: it follows the number of nodes.
    pub profile: Option<Profile>,
}

impl std::fmt::Debug for FormOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FormOptions").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// What the person must keep.
pub struct Formed {
    /// The cluster.
    pub cluster: ClusterId,
    /// The lines of the recovery sheet.
    pub recovery_sheet: Zeroizing<String>,
    /// Of the authority's certificate, in hexadecimal.
    pub authority_sha256: String,
}

impl std::fmt::Debug for Formed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Formed({})", self.cluster)
    }
}

/// Begins a cluster with the configured node.
///
/// # Errors
/// [`StartError`], a sentence; it may be called again afterwards.
pub async fn form(config: &Config, options: FormOptions) -> Result<Formed, StartError> {
    let folder = DataFolder::lock(&config.node.data_dir)?;
    folder.check_vacant()?;
    let cluster = folder.identity()?.map_or_else(|| ClusterId(System.new_id()), |forming| forming.cluster);
    let identity = NodeIdentity {
        cluster,
        node: FIRST_NODE,
        system_raft_id: FIRST_RAFT_ID,
        system_generation: Generation(1),
        membership: Membership::Forming,
        boot: BootNumber(1),
    };
    // The password is checked before anything is written.
    let mut salt = [0; 16];
    System.fill(&mut salt);
    let password_phc =
        hash_password(&Secret::new(options.admin_password.to_string()), salt).map_err(|weak| StartError::Refused(weak.detail))?;
    folder.write(identity)?;
    let master = master_key(config, cluster)?;
    let authority = Authority::create(cluster, OffsetDateTime::now_utc())?;
    let key = load_or_create_key(folder.path())?;
    let credentials = issue(&authority, cluster, &key)?;
    credentials.store(folder.path())?;
    let mut folders = DeviceFolders::load(folder.path())?;
    let devices = folders.of(&config.devices)?;
    let mut command = first_command(config, &master, &authority, &devices)?;
    command.admin = Some(meta::UserRecord {
        id: new_id(),
        login: "admin".to_owned(),
        password_phc,
        admin: true,
        display_name: "Administrator".to_owned(),
        ..meta::UserRecord::default()
    });
    command.default_profile = Some(match options.profile {
        Some(profile) => profile_record(profile, false),
        None => profile_record(Profile::auto(1, devices.len()), true),
    });
    if let Some(node) = command.node.as_mut() {
        node.public_key_sha256 = Bytes::copy_from_slice(&PublicKeyInfo::of(&key)?.sha256());
    }
    for (device, id) in devices.iter().zip(begin(config, &folder, identity, &credentials, command).await?) {
        folders.set_device(&device.path, id)?;
    }
    folder.note_run(identity)?;
    Ok(Formed { cluster, recovery_sheet: master.sheet(), authority_sha256: hex(&fingerprint(authority.certificate())) })
}

/// The key of an interrupted attempt, or a new one.
fn master_key(config: &Config, cluster: ClusterId) -> Result<MasterKey, StartError> {
    let path = &config.node.master_key_file;
    match MasterKey::load(path) {
        Ok(key) if key.cluster() == cluster => Ok(key),
        Ok(_of_another) => Err(MasterKeyError::Exists { path: path.clone() }.into()),
        Err(MasterKeyError::Missing { .. }) => {
            let key = MasterKey::generate(cluster)?;
            key.store(path)?;
            Ok(key)
        }
        Err(error) => Err(error.into()),
    }
}

fn issue(authority: &Authority, cluster: ClusterId, key: &KeyPair) -> Result<NodeCredentials, StartError> {
    let name = PeerName { cluster, node: FIRST_NODE };
    let certificate = authority.issue(name, &PublicKeyInfo::of(key)?, OffsetDateTime::now_utc())?;
    Ok(NodeCredentials { authority: authority.certificate().clone(), certificate, key: key.serialize_der().into() })
}

fn new_id() -> Bytes {
    Bytes::copy_from_slice(&System.new_id())
}

/// A datasource's key, sealed.
fn sealed_key(master: &MasterKey) -> Result<Bytes, StartError> {
    let mut key = Zeroizing::new([0; 32]);
    System.fill(key.as_mut_slice());
    Ok(master.seal(SealPurpose::DatasourceKey, key.as_slice())?.into())
}

fn first_command(
    config: &Config,
    master: &MasterKey,
    authority: &Authority,
    folders: &[DeviceFolder],
) -> Result<meta::InitCluster, StartError> {
    let cluster = meta::ClusterRecord {
        cluster: Bytes::copy_from_slice(&master.cluster().0),
        ca_certificate: Bytes::copy_from_slice(authority.certificate()),
        ca_key_sealed: master.seal(SealPurpose::AuthorityKey, &authority.key_pkcs8())?.into(),
        ..meta::ClusterRecord::default()
    };
    let node = meta::NodeRecord {
        name: config.node.name.clone(),
        zone: config.node.zone.clone(),
        api_address: advertised(config.api.advertise.as_ref(), config.api.listen),
        api_scheme: config.api_scheme().to_owned(),
        rpc_address: advertised(config.rpc.advertise.as_ref(), config.rpc.listen),
        boot: 1,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..meta::NodeRecord::default()
    };
    let mut devices = Vec::with_capacity(config.devices.len());
    for device in &config.devices {
        devices.push(device_record(FIRST_NODE, weigh(device)?, device));
    }
    Ok(meta::InitCluster {
        cluster: Some(cluster),
        node: Some(node),
        devices,
        device_nonces: folders.iter().map(|folder| Bytes::copy_from_slice(&folder.nonce)).collect(),
        chunk_key_sealed: sealed_key(master)?,
        chunk_key_sealed_personal: sealed_key(master)?,
        common_workspace: new_id(),
        personal_workspace: new_id(),
        ..meta::InitCluster::default()
    })
}

/// What the cluster is told of a new device.
pub(crate) fn device_record(node: NodeId, weight: u64, device: &crate::config::DeviceConfig) -> meta::DeviceRecord {
    meta::DeviceRecord { node: node.0, weight, label: device.path.display().to_string(), ..meta::DeviceRecord::default() }
}

/// Starts the metadata of this node alone, has the first command done, and ends them. Gives the devices' ids.
async fn begin(
    config: &Config,
    folder: &DataFolder,
    identity: NodeIdentity,
    credentials: &NodeCredentials,
    command: meta::InitCluster,
) -> Result<Vec<DeviceId>, StartError> {
    let leftover = folder.path().join(METADATA_FOLDER);
    if leftover.exists() {
        std::fs::remove_dir_all(&leftover).map_err(crate::durable_file::FileError::at("remove", &leftover))?;
    }
    let options = metadata_options(config, identity, true)?;
    let peers = NodePeers::new(Arc::new(NodeTls::new(credentials)?), Arc::new(AddressBook::default()));
    let metadata = Metadata::start(options, Arc::new(peers)).await?;
    let begun = metadata.init_cluster(command).await;
    metadata.close().await;
    let begun = begun.map_err(|error| StartError::Refused(format!("the cluster could not be begun: {error}")))?;
    Ok(begun.done.numbers.into_iter().map(DeviceId).collect())
}
