//! Octets to meaning and back.
//!
//! Read in two steps: [`Header`] first, whose fields tell whether the rest is for us at all, then [`Packet`]. LSAs keep their
//! bodies verbatim ([`Lsa`]), so that what is passed on is what came, known or not; [`LsaBody`] reads one.
//!
//! Bodies are read through a cursor that cannot leave its slice rather than by named offsets: nearly every field lies behind a
//! list, and a cursor has no index to be wrong. Reserved fields are zero when sent and ignored when received.

pub mod body;
pub mod checksum;
mod cursor;
mod database;
mod error;
mod hello;
mod lsa;
mod options;
mod packet;

pub use body::{LinkKind, LsaBody};
pub use database::{DatabaseDescription, LSA_HEADER_LEN, REQUEST_LEN, UPDATE_OVERHEAD};
pub use error::DecodeError;
pub use hello::{HELLO_LEN, Hello};
pub use lsa::{
    FloodScope, INITIAL_SEQUENCE, LsType, Lsa, LsaHeader, LsaKey, MAX_AGE, MAX_AGE_DIFF, MAX_SEQUENCE,
};
pub use options::{Options, PrefixOptions};
pub use packet::{Body, HEADER_LEN, Header, Kind, Packet};

pub(crate) use cursor::Cursor;
