//! The XDP fast path.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    // A BPF program has no `main`; this one lets host tools (rust-analyzer, `cargo check --workspace`) see the crate.
}
