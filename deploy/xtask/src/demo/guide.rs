//! What a person sees when the demo runs: where the nodes are, how to sign in, and what to try.

use super::cluster::ClusterFile;
use super::folder::DemoFolder;
use crate::cli::DemoOptions;
use crate::fault::Fault;
use crate::output;
use std::fs;
use std::path::Path;

/// Prints all of it.
pub(crate) fn show(folder: &DemoFolder, cluster: &ClusterFile, binary: &Path, options: &DemoOptions) -> Result<(), Fault> {
    output::heading("Skep is running");
    let rows: Vec<Vec<String>> = cluster
        .nodes
        .iter()
        .map(|node| vec![node.name.clone(), node.api.clone(), node.pid.to_string(), node.config.display().to_string()])
        .collect();
    output::table(&["node", "address", "process", "configuration"], &rows);
    output::line("");
    output::line(&format!("  sign in as {} with {}", cluster.admin.login, cluster.admin.password));
    output::line("");
    output::line("Try:");
    // Nobody else writes to the files of the demo: davfs2 need not lock each of them.
    let settings = folder.davfs_file();
    fs::write(&settings, "use_locks 0\nn_cookies 0\n").map_err(|cause| Fault::at("write", &settings, cause))?;
    for (purpose, command) in suggestions(folder, cluster, binary, options) {
        output::suggestion(&purpose, &command);
    }
    Ok(())
}

fn suggestions(folder: &DemoFolder, cluster: &ClusterFile, binary: &Path, options: &DemoOptions) -> Vec<(String, String)> {
    let node = |place: usize| &cluster.nodes[place % cluster.nodes.len()];
    let (first, second, third) = (node(0), node(1), node(2));
    let login = format!("{}:{}", cluster.admin.login, cluster.admin.password);
    let (binary, config) = (quoted(&binary.display().to_string()), |place: usize| quoted(&node(place).config.display().to_string()));
    let chosen = options.dir.as_ref().map_or_else(String::new, |_| format!(" --dir {}", quoted(&folder.path().display().to_string())));
    let mut lines = vec![
        (format!("a file up through {}", first.name), format!("curl -u {login} -T README.md {}/dav/common-files/README.md", first.api)),
        (format!("and down through {}", second.name), format!("curl -u {login} {}/dav/common-files/README.md", second.api)),
        ("in a browser: sign in, list, upload, download".to_owned(), format!("xdg-open {}", first.api)),
        (
            "as a folder of this machine (needs the package davfs2)".to_owned(),
            format!(
                "sudo mkdir -p /mnt/skep && sudo mount -t davfs -o conf={} {}/dav/common-files /mnt/skep",
                quoted(&folder.davfs_file().display().to_string()),
                third.api
            ),
        ),
        ("how the cluster is".to_owned(), format!("{binary} status --config {}", config(0))),
    ];
    lines.extend([
        (format!("kill {} and read everything through {}", third.name, first.name), format!("kill -9 {}", third.pid)),
        (String::from("every loaded file is read and compared"), format!("cargo xtask demo --verify {}{chosen}", first.api)),
        (format!("start {} again", third.name), format!("{binary} node --config {}", config(2))),
        (String::from("stop it if it was left running with --detach"), format!("cargo xtask demo --stop{chosen}")),
    ]);
    lines
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%,=".contains(letter);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_they_must_be() {
        assert_eq!(quoted("/a/b-c_d.toml"), "/a/b-c_d.toml");
        assert_eq!(quoted("/a b"), "'/a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
