//! Pool Element parameter (RFC 5354 3.10).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Type = 0xa              |       Length                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                        PE Identifier                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Home ENRP Server Identifier              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Registration Life, seconds               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! :                      User Transport parameter                 :
//! :             Pool Member Selection Policy parameter            :
//! :             ASAP Transport parameter (optional)               :
//! ```

use std::time::Duration;

use super::parameter::{Cursor, Parameter, ParameterType, Reports, Writer};
use super::{DecodeError, ElementId, PolicyParameter, RegistrarId, Transport};

/// How long a registration is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lifetime {
    /// Seconds, at most 2^31 - 1.
    Seconds(u32),
    /// Until it is taken back: -1 on the wire.
    Infinite,
}

impl Lifetime {
    /// The duration, if there is an end.
    pub const fn duration(self) -> Option<Duration> {
        match self {
            Self::Seconds(seconds) => Some(Duration::from_secs(seconds as u64)),
            Self::Infinite => None,
        }
    }

    const fn from_wire(word: u32) -> Result<Self, DecodeError> {
        match word {
            u32::MAX => Ok(Self::Infinite),
            0..=0x7fff_ffff => Ok(Self::Seconds(word)),
            _ => Err(DecodeError::Lifetime(word)),
        }
    }

    const fn to_wire(self) -> u32 {
        match self {
            Self::Infinite => u32::MAX,
            Self::Seconds(seconds) if seconds > 0x7fff_ffff => 0x7fff_ffff,
            Self::Seconds(seconds) => seconds,
        }
    }
}

/// An element as it registers, and as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolElement {
    /// Which of its pool.
    pub id: ElementId,
    /// Its home; [`RegistrarId::UNDETERMINED`] while it has none.
    pub home: RegistrarId,
    /// How long the registration is valid.
    pub life: Lifetime,
    /// Where the service is.
    pub user_transport: Transport,
    /// How it wants to be selected, with its load or weight.
    pub policy: PolicyParameter,
    /// Where it speaks ASAP. Filled in by its home (RFC 5352 3.1 R4).
    pub asap_transport: Option<Transport>,
}

impl PoolElement {
    pub(super) fn parse(mut cursor: Cursor<'_>, reports: &mut Reports) -> Result<Self, DecodeError> {
        let id = ElementId(cursor.u32()?);
        let home = RegistrarId(cursor.u32()?);
        let life = Lifetime::from_wire(cursor.u32()?)?;
        let (mut user, mut policy, mut asap) = (None, None, None);
        while let Some(parameter) = Parameter::next(&mut cursor, reports)? {
            let kind = parameter.kind;
            if kind == ParameterType::POLICY && policy.is_none() {
                policy = Some(PolicyParameter::parse(parameter.cursor())?);
            } else if Transport::is_transport(kind) && user.is_none() {
                user = Some(Transport::parse(parameter, reports)?);
            } else if kind == ParameterType::SCTP_TRANSPORT && asap.is_none() {
                asap = Some(Transport::parse(parameter, reports)?);
            } else {
                return Err(DecodeError::Unexpected { kind: kind.0, within: "Pool Element" });
            }
        }
        Ok(Self {
            id,
            home,
            life,
            user_transport: user.ok_or(DecodeError::Missing("user transport of a pool element"))?,
            policy: policy.ok_or(DecodeError::Missing("policy of a pool element"))?,
            asap_transport: asap,
        })
    }

    /// The whole parameter: what a handlespace keeps of an element.
    pub fn to_parameter(&self) -> Box<[u8]> {
        let mut octets = Vec::with_capacity(64);
        self.emit(&mut Writer::new(&mut octets));
        octets.into_boxed_slice()
    }

    /// An element from its whole parameter; `None` if it is malformed.
    pub fn from_parameter(octets: &[u8]) -> Option<Self> {
        let mut reports = Reports::default();
        let parameter = Parameter::next(&mut Cursor::new(octets), &mut reports).ok()??;
        let whole = parameter.kind == ParameterType::POOL_ELEMENT && parameter.whole.len() == octets.len();
        whole.then(|| Self::parse(parameter.cursor(), &mut reports).ok())?
    }

    pub(super) fn emit(&self, out: &mut Writer<'_>) {
        out.nested(ParameterType::POOL_ELEMENT, |out| {
            out.u32(self.id.0);
            out.u32(self.home.0);
            out.u32(self.life.to_wire());
            self.user_transport.emit(out);
            self.policy.emit(out);
            if let Some(transport) = &self.asap_transport {
                transport.emit(out);
            }
        });
    }
}
