//! The maximum of every queue, body, name, wait and retry of this crate.

use std::time::Duration;

/// How long one request waits for metadata, all its questions together; a body read in between starts it anew.
pub const METADATA_WAIT: Duration = Duration::from_millis(4_000);
/// How long a job's command may take.
pub const JOB_STEP_WAIT: Duration = Duration::from_secs(10);
/// Longest a client may be silent within a body.
pub const BODY_SILENCE: Duration = Duration::from_secs(60);
/// Longest wait for the head of a request.
pub const HEAD_WAIT: Duration = Duration::from_secs(30);
/// Longest TLS handshake.
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for open requests when the server stops.
pub const DRAIN_WAIT: Duration = Duration::from_secs(30);
/// Open connections.
pub const CONNECTIONS: usize = 4_096;
/// Streams of one HTTP/2 connection.
pub const STREAMS_PER_CONNECTION: u32 = 128;
/// Bytes of a JSON or form body.
pub const JSON_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of the XML body of a WebDAV request.
pub const XML_BODY_BYTES: usize = 32 * 1024;
/// Tags in the XML body of a WebDAV request.
pub const XML_TAGS: usize = 512;
/// Bytes of a request's head.
pub const HEAD_BYTES: usize = 64 * 1024;
/// Bytes of a name in a path.
pub const NAME_BYTES: usize = 255;
/// Names in a path.
pub const PATH_DEPTH: usize = 256;
/// Paths in one request.
pub const PATHS_PER_REQUEST: usize = 1_000;
/// Entries in one page of a listing.
pub const PAGE_ENTRIES: u32 = 1_000;
/// Ends of pages that a node remembers, so that the next page is found at once.
pub const PAGE_HINTS: usize = 4_096;
/// An instant so long ago, microseconds, that no clock of the cluster is before it: what was there then does not change any more.
pub const SETTLED_MICROS: u64 = 20_000_000;
/// Entries of a folder that are sorted in memory.
pub const SORTED_ENTRIES: usize = 10_000;
/// Chunks in the first page of a manifest.
pub const CHUNKS_PER_PAGE: u32 = 256;
/// Password checks that run at once: each takes 19 MiB.
pub const PASSWORD_CHECKS: usize = 2;
/// Bytes of a password.
pub const PASSWORD_BYTES: usize = 1_024;
/// Shortest new password, characters.
pub const PASSWORD_CHARACTERS_MIN: usize = 8;
/// How long a verified Basic password is remembered.
pub const PASSWORD_REMEMBERED: Duration = Duration::from_secs(600);
/// Remembered passwords.
pub const PASSWORDS_REMEMBERED: usize = 10_000;
/// Failed sign-ins of one login from one address within [`ATTEMPT_WINDOW`].
pub const ATTEMPTS_PER_LOGIN: u32 = 10;
/// Failed sign-ins from one address within [`ATTEMPT_WINDOW`].
pub const ATTEMPTS_PER_ADDRESS: u32 = 100;
/// The window of failed sign-ins.
pub const ATTEMPT_WINDOW: Duration = Duration::from_secs(600);
/// Rows of the table of failed sign-ins.
pub const ATTEMPTS_REMEMBERED: usize = 20_000;
/// Bytes of a token as sent.
pub const TOKEN_BYTES: usize = 256;
/// Lifetime of a session that a program opens.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(3_600);
/// Lifetime of a session in a browser.
pub const BROWSER_SESSION_LIFETIME: Duration = Duration::from_secs(8 * 3_600);
/// Bytes of a request id taken from a client.
pub const REQUEST_ID_BYTES: usize = 64;
/// Homes of users that are known to exist.
pub const HOMES_REMEMBERED: usize = 10_000;
/// Tries to find a free name for a copy beside its source.
pub const COPY_NAMES: u32 = 100;
/// Jobs that one node works on at once.
pub const JOBS_AT_ONCE: usize = 2;
/// Jobs a request may list.
pub const JOBS_LISTED: usize = 500;
/// How long a claim of a job holds.
pub const JOB_LEASE: Duration = Duration::from_secs(30);
/// How often a job's progress is written.
pub const JOB_REPORT: Duration = Duration::from_secs(5);
/// How often a node looks for jobs whose lease ran out.
pub const JOB_SEARCH: Duration = Duration::from_secs(2);
/// Commands of one job in flight.
pub const JOB_COMMANDS: usize = 32;
/// Tries of one command of a job while the cluster is not available.
pub const JOB_TRIES: u32 = 60;
/// How long ended jobs are kept.
pub const JOB_RETENTION: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How often ended jobs and expired tokens are dropped.
pub const HOUSEKEEPING: Duration = Duration::from_secs(600);
/// Jobs or tokens dropped by one command.
pub const HOUSEKEEPING_STEP: u32 = 500;
/// How long a WebDAV request waits for the job it started.
pub const DAV_JOB_WAIT: Duration = Duration::from_secs(120);
/// Users in one page of a listing.
pub const USERS_LISTED: usize = 1_000;
/// How often an open stream has its rights decided again; a revoke ends it within a minute.
pub const STREAM_RIGHTS_CHECK: Duration = Duration::from_secs(30);
/// Bytes read away of a body that was refused.
pub const LEFTOVER_BYTES: usize = 4 * 1024 * 1024;
/// How long is read on of a body that was refused.
pub const LEFTOVER_WAIT: Duration = Duration::from_secs(1);
/// Bytes of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// Files looked at by one question of a policy's preview.
pub const PREVIEW_FILES: u32 = 1_000;
/// Attributes that clients keep with a workspace.
pub const WORKSPACE_ATTRIBUTES: usize = 64;
/// Bytes of one of them.
pub const WORKSPACE_ATTRIBUTE_BYTES: usize = 4_096;
/// Steps of a batch.
pub const BATCH_STEPS: usize = 10_000;
/// Bytes of a value noted at an entry.
pub const NOTE_BYTES: usize = 64 * 1024;
/// Values that a search answers.
pub const NOTES_FOUND: usize = 10_000;
/// Datasources that are asked at once for an entry by its id.
pub const DATASOURCES_ASKED: usize = 8;
/// Lists of states in an If header, and states in each.
pub const STATE_TESTS: usize = 64;
/// Tokens of locks that one request submits.
pub const LOCK_TOKENS: usize = 256;
/// Seconds of a lock whose client names no time.
pub const LOCK_SECONDS: u64 = 600;
/// Seconds of the longest lock.
pub const LOCK_SECONDS_MAX: u64 = 7 * 24 * 3_600;
/// Changes in one answer of the feed, and rows of it that one look of the group passes over.
pub const FEED_CHANGES: u32 = 1_000;
/// Pages of the feed that one request looks at before it answers.
pub const FEED_PAGES: u32 = 10;
/// Changes in an answer of the feed whose client names no number.
pub const FEED_CHANGES_DEFAULT: u32 = 100;
/// Longest wait of a request for the next change.
pub const FEED_WAIT: Duration = Duration::from_secs(60);
/// How often an open stream of changes says where it stands when nothing happens.
pub const FEED_SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Between two looks for changes while many come.
pub const FEED_PAUSE: Duration = Duration::from_millis(20);
/// Between two looks for changes on a node without a replica that would tell.
pub const FEED_LOOK: Duration = Duration::from_secs(1);
/// Open streams, sockets and waiting requests for changes on a node.
pub const FEEDS_OPEN: usize = 1_024;
/// Bytes of a message from a client of the event socket.
pub const SOCKET_MESSAGE_BYTES: usize = 2_048;
/// How long a client of the event socket may take to say who it is.
pub const SOCKET_SUBSCRIBE_WAIT: Duration = Duration::from_secs(30);
/// How long a client of the event socket may be silent, also to pings, and how long it may go on unsubscribed.
pub const SOCKET_SILENCE: Duration = Duration::from_secs(60);
/// How long sending to a client of the event socket may take.
pub const SOCKET_SEND_WAIT: Duration = Duration::from_secs(30);
/// Events of a socket that wait to be sent.
pub const SOCKET_EVENTS: usize = 64;
/// Workspaces that one event socket follows.
pub const SOCKET_WORKSPACES: usize = 64;
/// Refusals that wait for the audit on a node; more are dropped and counted.
pub const REFUSALS_WAITING: usize = 4_096;
/// Refusals that one command writes into the audit.
pub const REFUSALS_PER_COMMAND: usize = 256;
/// Bytes of a text in such a refusal.
pub const REFUSAL_TEXT_BYTES: usize = 1_024;
/// How often waiting refusals are written into the audit.
pub const REFUSALS_WRITTEN: Duration = Duration::from_secs(1);
/// How long the last waiting refusals may take at a stop.
pub const REFUSALS_LAST_WAIT: Duration = Duration::from_secs(4);
/// Seconds of a content lock: whoever edits takes it anew.
pub const CONTENT_LOCK_SECONDS: u64 = 24 * 3_600;

/// A request that took longer is logged also if it went well.
pub const SLOW_REQUEST: Duration = Duration::from_secs(2);
