//! Embeds the lab's BPF programs if `cargo xtask build` has made them.

use std::path::Path;

fn main() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/anycast-lab-programs");
    println!("cargo::rustc-check-cfg=cfg(lab_programs)");
    println!("cargo::rerun-if-changed={}", path.display());
    if path.exists() {
        println!("cargo::rustc-env=ANYCAST_LAB_PROGRAMS={}", path.display());
        println!("cargo::rustc-cfg=lab_programs");
    }
}
