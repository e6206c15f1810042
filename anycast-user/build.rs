//! Embeds the BPF object, if it has been built.

use std::{env, path::PathBuf};

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    // Where `cargo xtask build` leaves it, whatever the target directory of this build is.
    let object = manifest.join("../target/bpf/anycast-fast-path");
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rustc-check-cfg=cfg(embedded_object)");
    if object.is_file() {
        println!("cargo::rustc-cfg=embedded_object");
        println!("cargo::rustc-env=ANYCAST_FAST_PATH={}", object.display());
    }
}
