//! The feed of a group whose leaders die: read on at any node it misses nothing and says nothing twice.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::join_all;
use skep_placement::ids::NodeId;
use skep_raft::errors::ProposeError;
use skep_raft::handle::Metadata;
use skep_raft::wire::meta::v1::{
    ChangesPage, ChangesQuery, Command, CopyEntry, CreateFolder, DeleteEntry, EntryPath, MoveEntry, Query, SetTimes, TreeCommand,
    WalkQuery, answer, command, query, tree_command,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::harness::{Cluster, DATA, Settings, later, soon, until};
use crate::replayed::Replayed;

/// Commands of each round, of which each has one leader die.
const COMMANDS: u64 = 300;
const ROUNDS: u64 = 2;

/// Numbers that look drawn; the same in each run.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn path(&mut self) -> Option<EntryPath> {
        let depth = 1 + self.below(3);
        let names = (0..depth).map(|_| ["a", "b", "c", "d"][usize::try_from(self.below(4)).expect("below four")].to_owned()).collect();
        Some(EntryPath { base: Bytes::from(vec![0; 16]), names })
    }

    /// A change of a small tree, which may be refused.
    fn command(&mut self, number: u64) -> Command {
        use tree_command::What;
        let entry = Bytes::copy_from_slice(&(u128::from(number) + 1).to_be_bytes());
        let what = match self.below(10) {
            0..=4 => What::CreateFolder(CreateFolder { path: self.path(), entry, ..CreateFolder::default() }),
            5 | 6 => What::MoveEntry(MoveEntry { from: self.path(), to: self.path(), overwrite: true, ..MoveEntry::default() }),
            7 => What::CopyEntry(CopyEntry { from: self.path(), to: self.path(), overwrite: true, seed: entry, ..CopyEntry::default() }),
            8 => What::SetTimes(SetTimes { path: self.path(), mtime: number }),
            _ => What::DeleteEntry(DeleteEntry { path: self.path(), permanently: true, ..DeleteEntry::default() }),
        };
        Command { what: Some(command::What::Tree(TreeCommand { what: Some(what) })), ..Command::default() }
    }
}

/// Follows the feed, each page by another node.
struct Follower {
    nodes: Arc<Mutex<Vec<Metadata>>>,
    turn: usize,
    at: (u64, u32),
    pages: u64,
    replayed: Replayed,
}

impl Follower {
    fn next_node(&mut self) -> Metadata {
        self.turn += 1;
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes[self.turn % nodes.len()].clone()
    }

    /// Reads on by one page; nothing from a node that has just died.
    async fn read_on(&mut self) -> Option<ChangesPage> {
        let asked = ChangesQuery { after_index: self.at.0, after_sub: self.at.1, limit: 7, within: None };
        let asked = Query { what: Some(query::What::Changes(asked)) };
        let answer = self.next_node().query(DATA, asked, soon()).await.ok()?;
        let Some(answer::What::Changes(page)) = answer.what else { panic!("an answer of another kind: {answer:?}") };
        assert!(!page.too_old && page.generation == 1, "nothing was dropped, nothing recovered: {page:?}");
        for shown in &page.changes {
            assert!((shown.index, shown.sub) > self.at, "in order, and none twice: {shown:?} behind {:?}", self.at);
            self.at = (shown.index, shown.sub);
            self.replayed.take(shown);
        }
        self.pages += u64::from(!page.changes.is_empty());
        Some(page)
    }

    /// Reads on until the feed tells all up to an index, which is known when the changes have ended.
    async fn run(mut self, mut end: watch::Receiver<Option<u64>>) -> Self {
        let limit = Instant::now() + std::time::Duration::from_secs(120);
        loop {
            assert!(Instant::now() < limit, "the feed does not come to its end");
            let Some(page) = self.read_on().await else {
                tokio::task::yield_now().await;
                continue;
            };
            let ends_at = *end.borrow_and_update();
            if !page.more && ends_at.is_some_and(|index| page.end_index >= index) {
                return self;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_misses_nothing_and_says_nothing_twice_while_leaders_die() {
    let mut cluster = Cluster::grown(3, Settings::default()).await;
    let all = |cluster: &Cluster| cluster.nodes.values().map(|node| node.metadata.clone()).collect::<Vec<_>>();
    let nodes = Arc::new(Mutex::new(all(&cluster)));
    let (end, ends_at) = watch::channel(None);
    let follower = Follower { nodes: Arc::clone(&nodes), turn: 0, at: (0, 0), pages: 0, replayed: Replayed::default() };
    let following = tokio::spawn(follower.run(ends_at));
    let mut drawn = Drawn(42);
    let mut last = 0;
    for round in 0..ROUNDS {
        let leader = cluster.leader(DATA).await;
        let commands: Vec<Command> = (0..COMMANDS).map(|number| drawn.command(round * COMMANDS + number)).collect();
        last = last.max(changed_while_dying(&mut cluster, leader, commands, &nodes).await);
    }
    end.send_replace(Some(last));
    let followed = following.await.unwrap();
    assert!(followed.pages >= 20, "only {} pages told of something", followed.pages);
    let root = Bytes::from(vec![0; 16]);
    let told = followed.replayed.below(&root);
    assert!(told.entries.len() > 3, "the tree has grown: {told:?}");
    for node in cluster.nodes.values() {
        assert_eq!(told, walked(&node.metadata, &root).await, "as node {} has it", node.id);
    }
    cluster.close().await;
}

/// Has a node that lives carry the commands out while the leader dies and comes back. The index of the last one.
async fn changed_while_dying(cluster: &mut Cluster, leader: NodeId, commands: Vec<Command>, nodes: &Mutex<Vec<Metadata>>) -> u64 {
    let other = cluster.nodes.keys().copied().find(|id| *id != leader).expect("there are others");
    let metadata = cluster.node(other.0).metadata.clone();
    let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&done);
    let count = commands.len();
    let proposing = tokio::spawn(async move {
        let mut last = 0;
        for some in commands.chunks(10) {
            let proposed = join_all(some.iter().map(|command| metadata.propose(DATA, command.clone(), later()))).await;
            for result in proposed {
                match result {
                    Ok(proposed) => last = last.max(proposed.index),
                    Err(ProposeError::Rejected(_)) => {}
                    Err(error) => panic!("neither done nor refused: {error}"),
                }
            }
            counted.fetch_add(some.len(), std::sync::atomic::Ordering::Relaxed);
        }
        last
    });
    until("some commands are done", || async { done.load(std::sync::atomic::Ordering::Relaxed) >= count / 5 }).await;
    assert!(done.load(std::sync::atomic::Ordering::Relaxed) < count, "the leader is to die before everything is done");
    let dead = cluster.kill(leader).await;
    let last = proposing.await.expect("every command is done or refused");
    cluster.restart(dead).await;
    *nodes.lock().unwrap_or_else(PoisonError::into_inner) = cluster.nodes.values().map(|node| node.metadata.clone()).collect();
    last
}

async fn walked(metadata: &Metadata, root: &Bytes) -> Replayed {
    let path = Some(EntryPath { base: root.clone(), names: Vec::new() });
    let (mut found, mut after) = (Replayed::default(), Some(Vec::new()));
    while let Some(names) = after {
        let walk = Query { what: Some(query::What::Walk(WalkQuery { path: path.clone(), after: names, limit: 1_000, at: 0 })) };
        after = match metadata.query(DATA, walk, later()).await.expect("the node answers").what {
            Some(answer::What::Walk(page)) => found.add_walked(page),
            other => panic!("{other:?}"),
        };
    }
    found
}
