//! The decisions of an anycast server farm, sans-IO: [`time`] is an argument, effects are returned as data.
//!
//! What is absent here: clocks, sockets, threads, files, randomness that does not come from a seed.

pub mod time;
