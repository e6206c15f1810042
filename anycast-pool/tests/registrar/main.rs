//! The registrar in virtual time: messages in, messages out.

mod elements;
mod lab;
mod malformed;
mod push;
mod random;
mod reports;
mod resolution;
mod restore;
