//! Generates the messages and services from `proto/` without a protoc on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "common",
        "security",
        "coordinator",
        "overlord",
        "controller",
        "worker",
        "flight",
    ]
    .map(|name| format!("proto/sarsen/v1/{name}.proto"));
    for file in &files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(&files, ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
