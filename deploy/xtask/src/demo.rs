//! `cargo xtask demo`: from a checkout to three running nodes with real files in them.
//!
//! Invariant: when the command returns without `--detach`, by whatever way, nothing that it started still runs.

mod client;
mod cluster;
mod content;
mod folder;
mod guide;
mod load;
mod manifest;
mod parallel;
mod plan;
mod processes;
mod tree;
mod verify;

#[cfg(test)]
mod test_server;

use crate::cli::DemoOptions;
use crate::fault::Fault;
use crate::interrupt::Interrupt;
use crate::machine::{self, RoomWanted};
use crate::{build, output, packages, target};
use cluster::Cluster;
use folder::DemoFolder;
use std::process::ExitCode;

/// Nodes of the demo.
pub(crate) const NODES: u16 = 3;

/// Runs the command.
pub(crate) fn run(options: &DemoOptions) -> Result<ExitCode, Fault> {
    let path = match &options.dir {
        Some(dir) => std::path::absolute(dir).map_err(|cause| Fault::at("use", dir, cause))?,
        None => target::cache_dir()?.join("demo"),
    };
    let folder = DemoFolder::at(path);
    if let Some(node) = &options.verify {
        return verify::run(&folder, node, &Interrupt::install()?);
    }
    if options.stop {
        return stop(&folder);
    }
    let interrupt = Interrupt::install()?;
    start(options, &folder, &interrupt)
}

fn stop(folder: &DemoFolder) -> Result<ExitCode, Fault> {
    folder.require_marker()?;
    let stopped = cluster::stop_all(folder)?;
    if stopped == 0 {
        output::line(&format!("nothing of {} is running", folder.path().display()));
    } else {
        output::good(&format!("stopped {stopped} processes; the data stay in {}", folder.path().display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn start(options: &DemoOptions, folder: &DemoFolder, interrupt: &Interrupt) -> Result<ExitCode, Fault> {
    output::heading("Checking the machine");
    packages::ensure(&packages::TO_BUILD)?;
    if options.fresh {
        folder.require_marker_or_empty()?;
        cluster::stop_all(folder)?;
        folder.wipe()?;
    }
    folder.create()?;
    let loads = plan::decide(options, folder)?;
    check_machine(options, folder, &loads)?;

    output::heading("Building");
    let skep = build::skep().map_err(|fault| if interrupt.requested() { Fault::new("interrupted") } else { fault })?;
    interrupt.check()?;

    output::heading("Starting three nodes");
    let cluster = cluster::start(folder, &skep, options.port, interrupt)?;
    match fill_and_show(options, folder, &cluster, &loads, interrupt) {
        Ok(()) if options.detach => {
            cluster.leave_running();
            Ok(ExitCode::SUCCESS)
        }
        Ok(()) => {
            output::line("");
            output::line("Ctrl-C stops all of it.");
            cluster.run_until(interrupt)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(fault) => {
            cluster.stop()?;
            Err(fault)
        }
    }
}

fn check_machine(options: &DemoOptions, folder: &DemoFolder, loads: &plan::Loads) -> Result<(), Fault> {
    let target = target::target_dir()?;
    let built = target::rocksdb_is_built(&target);
    let build_bytes = if built { 1 << 30 } else { 6 << 30 };
    machine::check_disk(&[
        RoomWanted { purpose: "the build", path: target, bytes: build_bytes },
        RoomWanted { purpose: "the nodes", path: folder.path().to_path_buf(), bytes: loads.room_bytes() },
    ])?;
    machine::check_memory(!built)?;
    if cluster::running(folder).is_none() {
        cluster::stop_all(folder)?;
        machine::check_ports(options.port, NODES)?;
    }
    Ok(())
}

fn fill_and_show(
    options: &DemoOptions,
    folder: &DemoFolder,
    cluster: &Cluster,
    loads: &plan::Loads,
    interrupt: &Interrupt,
) -> Result<(), Fault> {
    output::heading("Loading files");
    load::run(folder, cluster.file(), loads, interrupt)?;
    guide::show(folder, cluster.file(), cluster.binary(), options)
}
