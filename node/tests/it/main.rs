//! The command as it is called: what it says without a cluster. The tests of clusters are in `chaos-tests`; they use the binary built for these.

#![expect(clippy::unwrap_used, reason = "a test that fails shows the line and the value")]

use std::process::{Command, Output};

fn skep(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skep")).args(arguments).env_clear().output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_names_every_command() {
    let output = skep(&["--help"]);
    assert!(output.status.success());
    let text = said(&output.stdout);
    for command in ["node", "init", "join", "join-token", "status", "datasource", "workspace", "user", "token", "debug", "dev", "recover"] {
        assert!(text.contains(&format!("  {command} ")), "{command} is not in:\n{text}");
    }
}

#[test]
fn every_fault_of_a_configuration_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("skep.toml");
    std::fs::write(&file, "[node]\nname = \"n 1\"\nzoen = \"a\"\n[api]\nlisten = \"nowhere\"\n").unwrap();
    let output = skep(&["node", "--config", file.to_str().unwrap()]);
    assert!(!output.status.success());
    let text = said(&output.stderr);
    for part in ["node.name", "node.zoen", "node.zone", "api.listen", "rpc.listen", "skep.toml"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn the_example_is_the_one_that_is_packaged() {
    let output = skep(&["config", "example"]);
    assert!(output.status.success());
    let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/config/skep.example.toml");
    assert_eq!(said(&output.stdout), std::fs::read_to_string(packaged).unwrap());
}

#[test]
fn a_folder_without_a_cluster_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("skep.toml");
    let text = format!(
        "[node]\nname = \"n1\"\ndata_dir = \"{0}/node\"\nmaster_key_file = \"{0}/master.key\"\n[api]\nlisten = \"127.0.0.1:0\"\n\
         [rpc]\nlisten = \"127.0.0.1:0\"\n[[device]]\npath = \"{0}/d1\"\n",
        folder.path().display()
    );
    std::fs::write(&file, text).unwrap();
    let output = skep(&["node", "--config", file.to_str().unwrap()]);
    assert!(!output.status.success());
    let text = said(&output.stderr);
    assert!(text.contains("skep init") && text.contains("skep join"), "{text}");
}
