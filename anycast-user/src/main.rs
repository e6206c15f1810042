//! The `anycast` command.

fn main() {}
