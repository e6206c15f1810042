//! The BPF side: loading, attaching, pinning, maps and rings. The only user of aya.
