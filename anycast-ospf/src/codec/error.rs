//! Why octets are no OSPFv3, and what to change so that they are.

/// Why something cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DecodeError {
    #[error("{what}: {got} octets where {need} are needed")]
    Short { what: &'static str, need: usize, got: usize },
    #[error("OSPF version {0}, not 3")]
    Version(u8),
    #[error("packet type {0} is unknown")]
    Kind(u8),
    #[error("the packet says that it has {said} octets, {got} were received")]
    Length { said: u16, got: usize },
    #[error("{what}: {left} octets are left over behind items of {unit}")]
    Ragged { what: &'static str, unit: usize, left: usize },
    #[error("{what}: {said} items do not fit, at most {room} can")]
    Count { what: &'static str, said: u32, room: usize },
    #[error("{what}: {octets} octets follow the end")]
    Trailing { what: &'static str, octets: usize },
    #[error("an LSA says that it has {said} octets, a header alone has 20 and {room} are there")]
    LsaLength { said: u16, room: usize },
    #[error("a prefix cannot be {0} bits long")]
    PrefixLength(u8),
    #[error("TLV {kind} cannot have {length} octets")]
    TlvLength { kind: u16, length: usize },
    #[error("TLV {0} is missing")]
    TlvMissing(u16),
    #[error("enterprise number {got}, not {want}")]
    Enterprise { got: u32, want: u32 },
}

impl DecodeError {
    /// What to change.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Version(2) => "an OSPFv2 daemon sends on protocol 89 over IPv6: configure OSPFv3 there",
            Self::Version(_) | Self::Kind(_) => {
                "something that is not OSPFv3 sends on IP protocol 89: find the sender"
            }
            Self::Length { .. } | Self::Short { .. } => {
                "the packet was cut: look for a smaller MTU or a broken tunnel on the way, else for a broken sender"
            }
            Self::Ragged { .. } | Self::Count { .. } | Self::Trailing { .. } | Self::LsaLength { .. } => {
                "the sender builds wrong packets: update or report its software"
            }
            Self::PrefixLength(_) => {
                "the originator of the LSA builds it wrong: update or report its software"
            }
            Self::TlvLength { .. } | Self::TlvMissing(_) => {
                "the LS type of the load LSA is used by something else, or by another version: give each its own type"
            }
            Self::Enterprise { .. } => "set the same enterprise number on all servers, or another LS type",
        }
    }
}
