//! The lab's command: the demo and the benches.

fn main() {}
