//! What the BPF program and user space share: the layout of the maps ([`abi`]), those of the lab's programs
//! ([`lab`]) and the packet formats ([`packet`]).
//!
//! Everything here is `no_std`, allocates nothing and never panics on input.
#![no_std]

pub mod abi;
pub mod lab;
pub mod packet;
