//! Linker options of the BPF target.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("bpf") {
        // Network headers are not aligned to their words. The verifier allows such loads wherever the machine does them in
        // one go; told so, LLVM makes one load of a word that it would otherwise gather octet by octet. A bpf-linker whose
        // LLVM does not know the feature warns, and the program is right but slower.
        // No `+alu32`: with it no IPv4 service is found any more (the lab's wire test shows it).
        println!("cargo::rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    }
}
