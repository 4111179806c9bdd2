//! Compiles the protocol buffers without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = [
        "proto/skep/meta/v1/values.proto",
        "proto/skep/meta/v1/records.proto",
        "proto/skep/meta/v1/system.proto",
        "proto/skep/meta/v1/command.proto",
        "proto/skep/meta/v1/query.proto",
        "proto/skep/meta/v1/outcome.proto",
        "proto/skep/raft/v1/raft.proto",
    ];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().bytes(".").btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
