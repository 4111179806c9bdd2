//! `skep status`: the state of the cluster, a table for people, JSON for scripts.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::client::{Admin, Target};
use super::errors::CliError;
use super::output;
use crate::admin_rpc::wire::StatusRequest;

const AFTER_HELP: &str = "\
CLOCK is how far a node's clock is ahead of the nodes' median: more than 2 s and it does not lead if another node can, more than 10 s
and it is not ready. LAG is how many log entries a group's slowest voter is behind. BELOW PROFILE are chunks stored in a smaller code than their pool's; the
repair queue brings them up. AWAITING COLLECTION are bytes of chunks that nothing names any more; DELETED, STILL KEPT are bytes of what was deleted
for good and stays until history has passed it.

Examples:
  skep status --config /etc/skep/skep.toml
  skep status --config /etc/skep/skep.toml --watch
  skep status --config /etc/skep/skep.toml --json | jq .repair_queue";

/// Shows nodes, devices, groups, pools, repair and jobs as the node sees them now.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    target: Target,
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Shows it anew every two seconds until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(arguments: &StatusArguments) -> Result<(), CliError> {
    arguments.target.with_admin(async |admin| {
        loop {
            let json = status(&admin).await?;
            if arguments.watch && !arguments.json {
                output::clear_screen();
            }
            if arguments.json {
                output::line(&json);
            } else {
                show(&parse(&json)?);
            }
            if !arguments.watch {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    })
}

async fn status(admin: &Admin) -> Result<String, CliError> {
    Ok(admin.ask(async |calls| calls.status(StatusRequest {}).await).await?.json)
}

fn parse(json: &str) -> Result<Value, CliError> {
    serde_json::from_str(json)
        .map_err(|error| CliError::failed(format!("the node's answer cannot be read: {error}; is it of another version?")))
}

/// One row of the status with its fields by name.
struct Row<'a>(&'a Value);

impl Row<'_> {
    fn text(&self, name: &str) -> String {
        match &self.0[name] {
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            Value::Array(items) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        }
    }

    fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.0[name].as_bool().unwrap_or_default()
    }

    fn bytes(&self, name: &str) -> String {
        output::bytes(self.number(name))
    }
}

fn rows(status: &Value, name: &str, row: impl Fn(&Row<'_>) -> Vec<String>) -> Vec<Vec<String>> {
    status[name].as_array().map(|items| items.iter().map(|item| row(&Row(item))).collect()).unwrap_or_default()
}

fn show(status: &Value) {
    let whole = Row(status);
    output::line(format!("cluster {}, seen by node {}", whole.text("cluster"), whole.text("answered_by")));
    output::heading("nodes");
    let nodes = rows(status, "nodes", |row| {
        let alive = if row.flag("alive") { "up" } else { "silent" };
        vec![
            row.text("id"),
            row.text("name"),
            row.text("zone"),
            alive.to_owned(),
            row.text("state"),
            row.text("api"),
            row.text("rpc"),
            row.text("version"),
            clock(row.0["clock_offset_ms"].as_i64()),
        ]
    });
    output::table(&["id", "name", "zone", "", "state", "api", "rpc", "version", "clock"], nodes, "no node");
    output::heading("devices");
    let devices = rows(status, "devices", |row| {
        let used = row.number("total_bytes").saturating_sub(row.number("free_bytes"));
        let used = format!("{} of {}", output::bytes(used), row.bytes("total_bytes"));
        vec![row.text("id"), row.text("node"), row.text("state"), used, row.bytes("live_bytes"), row.text("shards"), row.text("label")]
    });
    output::table(&["id", "node", "state", "file system used", "live", "shards", "folder"], devices, "no device");
    show_groups(status);
    show_storage(status);
    show_jobs(status);
    for warning in status["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        output::note(warning);
    }
}

/// How far a clock is off, for people.
fn clock(offset_ms: Option<i64>) -> String {
    offset_ms.map_or_else(|| "-".to_owned(), |off| format!("{off:+} ms"))
}

fn show_groups(status: &Value) {
    output::heading("groups");
    let groups = rows(status, "groups", |row| {
        let leader = match row.0["leader"].as_u64() {
            Some(node) => format!("node {node}"),
            None => "none known".to_owned(),
        };
        vec![row.text("id"), row.text("name"), leader, row.text("voters"), row.text("learners"), row.text("lag"), row.text("applied")]
    });
    output::table(&["id", "name", "leader", "voters", "learners", "lag", "applied"], groups, "no group");
}

fn show_storage(status: &Value) {
    output::heading("pools");
    let pools = rows(status, "pools", |row| {
        let kind = if row.flag("automatic") { "auto" } else { "fixed" };
        vec![row.text("id"), row.text("code"), row.text("domain"), kind.to_owned(), row.text("placement_groups"), row.text("incomplete")]
    });
    output::table(&["id", "code", "domain", "profile", "placement groups", "incomplete"], pools, "no pool");
    output::heading("datasources");
    let datasources = rows(status, "datasources", |row| {
        let available = if row.flag("available") { "yes" } else { "no quorum" };
        let (logical, stored) = (row.number("logical_bytes"), row.number("stored_bytes"));
        let mut line =
            vec![row.text("id"), row.text("name"), row.text("pool"), available.to_owned(), row.text("entries"), row.text("chunks")];
        line.extend([output::bytes(logical), output::bytes(stored), ratio(stored, logical)]);
        line
    });
    let header = ["id", "name", "pool", "available", "entries", "chunks", "logical", "stored", "stored/logical"];
    output::table(&header, datasources, "no datasource");
    output::heading("stored by class");
    output::table(&["datasource", "class", "logical", "stored", "stored/logical"], classes(status), "no datasource");
    output::heading("versions, locks and what waits to go");
    let kept = rows(status, "datasources", |row| {
        let (condemned, unlinked) = (row.bytes("condemned_bytes"), row.bytes("unlinked_bytes"));
        vec![row.text("name"), row.text("versions"), row.text("policy"), row.text("locks"), unlinked, condemned]
    });
    output::table(&["datasource", "versions", "policy", "locks", "deleted, still kept", "awaiting collection"], kept, "no datasource");
    show_quotas(status);
    let whole = Row(status);
    output::heading("repair and collection");
    let mut counts = vec![whole.text("repair_queue"), below_profile(&whole)];
    counts.extend([whole.bytes("unlinked_bytes"), whole.bytes("awaiting_collection_bytes")]);
    output::table(&["repair queue", "below profile", "deleted, still kept", "awaiting collection"], vec![counts], "");
}

fn show_quotas(status: &Value) {
    output::heading("quotas");
    let mut quotas = rows(status, "datasources", |row| {
        let stored = used(&row.bytes("stored_bytes"), row.number("quota_bytes"), output::bytes);
        vec![
            "datasource".to_owned(),
            row.text("name"),
            String::new(),
            stored,
            used(&row.text("entries"), row.number("quota_entries"), |count| count.to_string()),
        ]
    });
    let none = |row: &Vec<String>| row.iter().skip(3).all(String::is_empty);
    quotas.retain(|row| !none(row));
    quotas.extend(rows(status, "quotas", |row| {
        let bytes = used(&row.bytes("used_bytes"), row.number("quota_bytes"), output::bytes);
        let entries = used(&row.text("used_entries"), row.number("quota_entries"), |count| count.to_string());
        vec![row.text("kind"), row.text("workspace"), row.text("login"), bytes, entries]
    }));
    output::table(&["of a", "name", "user", "bytes", "entries"], quotas, "no quota is set");
}

/// What is used of a quota; nothing where there is none.
fn used(used: &str, quota: u64, shown: impl Fn(u64) -> String) -> String {
    if quota == 0 { String::new() } else { format!("{used} of {}", shown(quota)) }
}

/// A line for each class of each datasource: how many bytes a logical byte takes.
fn classes(status: &Value) -> Vec<Vec<String>> {
    const CLASSES: [(&str, &str); 3] =
        [("inlined", "inline, in the metadata"), ("copies", "small, whole copies"), ("coded", "large, erasure-coded")];
    let datasources = status["datasources"].as_array().into_iter().flatten();
    let lines = datasources.flat_map(|datasource| {
        CLASSES.map(|(field, name)| {
            let class = Row(&datasource[field]);
            let (logical, stored) = (class.number("logical_bytes"), class.number("stored_bytes"));
            vec![Row(datasource).text("name"), name.to_owned(), output::bytes(logical), output::bytes(stored), ratio(stored, logical)]
        })
    });
    lines.collect()
}

/// How many chunks are below their profile; of long queues only a part is looked at.
fn below_profile(whole: &Row<'_>) -> String {
    let count = whole.text("below_profile");
    if whole.flag("below_profile_at_least") { format!("at least {count}") } else { count }
}

fn show_jobs(status: &Value) {
    output::heading("jobs");
    let jobs = rows(status, "jobs", |row| {
        let permille = row.number("progress_permille");
        let progress = format!("{}.{} %", permille / 10, permille % 10);
        vec![row.text("id"), row.text("name"), row.text("login"), row.text("state"), row.text("node"), progress, row.text("message")]
    });
    output::table(&["id", "name", "user", "state", "node", "progress", "message"], jobs, "no job under way");
}

/// A quotient with two digits.
fn ratio(above: u64, below: u64) -> String {
    match u128::from(above).checked_mul(100).and_then(|hundredths| hundredths.checked_div(u128::from(below))) {
        Some(hundredths) => format!("{}.{:02}", hundredths / 100, hundredths % 100),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use skep_api::ports::{
        ClusterStatus, DatasourceStatus, DeviceStatus, GroupStatus, JobStatus, NodeStatus, PoolStatus, QuotaStatus, StoredClass,
    };

    use super::*;

    /// Every field that the tables show is one of the status.
    #[test]
    fn the_tables_show_fields_that_there_are() {
        let status = ClusterStatus {
            nodes: vec![NodeStatus::default()],
            devices: vec![DeviceStatus::default()],
            groups: vec![GroupStatus::default()],
            pools: vec![PoolStatus::default()],
            datasources: vec![DatasourceStatus::default()],
            jobs: vec![JobStatus::default()],
            quotas: vec![QuotaStatus::default()],
            ..ClusterStatus::default()
        };
        let value = serde_json::to_value(&status).unwrap();
        let source = include_str!("status.rs");
        let shown = source.split("#[cfg(test)]").next().unwrap();
        let names = shown.split("(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let accessed = names.filter(|name| name.contains('_') || ["alive", "zone", "rpc", "lag", "chunks"].contains(name));
        let text = value.to_string();
        let mut count = 0;
        for name in accessed {
            assert!(text.contains(&format!("\"{name}\":")), "the status has no field {name}");
            count += 1;
        }
        assert!(count > 10, "the test looks at something");
        show(&value);
    }

    #[test]
    fn each_class_has_a_line_with_its_ratio() {
        let class = |logical_bytes, stored_bytes| StoredClass { logical_bytes, stored_bytes };
        let datasource = DatasourceStatus {
            name: "main".to_owned(),
            inlined: class(10, 10),
            copies: class(100, 300),
            coded: class(1_000, 1_500),
            ..DatasourceStatus::default()
        };
        let status = ClusterStatus { datasources: vec![datasource], ..ClusterStatus::default() };
        let lines = classes(&serde_json::to_value(&status).unwrap());
        let shown: Vec<(&str, &str)> = lines.iter().map(|line| (line[1].as_str(), line[4].as_str())).collect();
        assert_eq!(shown, [("inline, in the metadata", "1.00"), ("small, whole copies", "3.00"), ("large, erasure-coded", "1.50")]);
    }

    #[test]
    fn a_count_of_a_part_says_so() {
        let shown = |at_least| {
            let status = ClusterStatus { below_profile: 7, below_profile_at_least: at_least, ..ClusterStatus::default() };
            below_profile(&Row(&serde_json::to_value(&status).unwrap()))
        };
        assert_eq!((shown(false), shown(true)), ("7".to_owned(), "at least 7".to_owned()));
    }

    #[test]
    fn a_clock_has_a_sign() {
        assert_eq!(clock(Some(1500)), "+1500 ms");
        assert_eq!(clock(Some(-3)), "-3 ms");
        assert_eq!(clock(None), "-");
    }

    #[test]
    fn quotients_have_two_digits() {
        assert_eq!(ratio(3, 2), "1.50");
        assert_eq!(ratio(1, 0), "-");
        assert_eq!(ratio(u64::MAX, 1), format!("{}.00", u64::MAX));
    }
}
