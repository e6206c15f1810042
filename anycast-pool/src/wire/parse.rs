//! Reading of messages.
//!
//! Parameters may come in any order; one that a message must not have, or has twice, makes it malformed. Only those whose type
//! allows it are skipped.

use super::emit::FLAG;
use super::parameter::{Cursor, Parameter, ParameterType, Reports, padding};
use super::{
    Cause, CauseCode, DecodeError, ElementId, HEADER_LEN, Malformed, Message, MessageType, PolicyParameter,
    PoolElement, PoolHandle, RegistrarId, ResolutionResponse, StatusFlags, StatusVector, Transport,
};

/// Octets of an unknown message that are sent back with the report: more would make it an amplifier.
const REPORT_MAX: usize = 512;

/// A message, and what its sender is to be told of it nevertheless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The message.
    pub message: Message,
    /// Parameters that were skipped and must be reported in an ASAP_ERROR (RFC 5354 3: type bits `11`); mostly empty.
    pub report: Vec<Cause>,
}

impl Message {
    /// Reads a message that fills `octets`, but for the padding at its end.
    ///
    /// # Errors
    /// Why it cannot be taken, and what its sender must be told.
    pub fn parse(octets: &[u8]) -> Result<Parsed, Malformed> {
        let silent = |error| Malformed { error, report: Vec::new() };
        let Some((&[kind, flags, high, low], rest)) = octets.split_first_chunk::<HEADER_LEN>() else {
            return Err(silent(DecodeError::Short { need: HEADER_LEN, got: octets.len() }));
        };
        let said = u16::from_be_bytes([high, low]);
        let length = usize::from(said);
        if length < HEADER_LEN || octets.len() < length || octets.len() > length + padding(length) {
            return Err(silent(DecodeError::MessageLength { said, got: octets.len() }));
        }
        let Some(kind) = MessageType::from_code(kind) else {
            // RFC 5354 4: 01 is reported, 00 is not, 10 and 11 are reserved and discarded.
            let report = kind >> 6 == 0b01;
            let shown = &octets[..length.min(REPORT_MAX)];
            let cause = report.then(|| Cause::new(CauseCode::UnrecognizedMessage, shown));
            let report = cause.into_iter().collect();
            return Err(Malformed { error: DecodeError::UnknownMessage(octets[0]), report });
        };
        let body = Cursor::new(&rest[..length - HEADER_LEN]);
        let mut reports = Reports::default();
        match read(kind, flags & FLAG != 0, body, &mut reports) {
            Ok(message) => Ok(Parsed { message, report: reports.into_causes() }),
            Err(Failure { error, parameter }) => {
                let mut report = reports.into_causes();
                // An error is no reason for an error (RFC 5352 2.2.14 answers nothing, and two could do it for ever).
                if kind == MessageType::Error {
                    report.clear();
                } else if let Some(parameter) = parameter {
                    report.push(Cause::new(CauseCode::InvalidValues, parameter));
                }
                Err(Malformed { error, report })
            }
        }
    }
}

/// Why a message cannot be read, with the outermost parameter whose value is wrong.
struct Failure<'a> {
    error: DecodeError,
    parameter: Option<&'a [u8]>,
}

impl From<DecodeError> for Failure<'_> {
    fn from(error: DecodeError) -> Self {
        Self { error, parameter: None }
    }
}

/// The parameters of a message, each at most once where one is allowed.
#[derive(Default)]
struct Parts {
    handle: Option<PoolHandle>,
    id: Option<ElementId>,
    elements: Vec<PoolElement>,
    policy: Option<PolicyParameter>,
    causes: Option<Vec<Cause>>,
    transports: Vec<Transport>,
    cookie: Option<Vec<u8>>,
    limit: Option<u32>,
    status: Option<StatusVector>,
    flags: Option<StatusFlags>,
    wants_status: bool,
}

impl Parts {
    fn read<'a>(kind: MessageType, mut body: Cursor<'a>, reports: &mut Reports) -> Result<Self, Failure<'a>> {
        let mut parts = Self::default();
        while let Some(parameter) = Parameter::next(&mut body, reports)? {
            parts.take(kind, parameter, reports).map_err(|error| {
                let parameter = error.is_value().then_some(parameter.whole);
                Failure { error, parameter }
            })?;
        }
        Ok(parts)
    }

    fn take(
        &mut self,
        message: MessageType,
        parameter: Parameter<'_>,
        reports: &mut Reports,
    ) -> Result<(), DecodeError> {
        use {MessageType as M, ParameterType as P};
        match (message, parameter.kind) {
            (
                M::Registration
                | M::Deregistration
                | M::RegistrationResponse
                | M::DeregistrationResponse
                | M::HandleResolution
                | M::HandleResolutionResponse
                | M::EndpointKeepAlive
                | M::EndpointKeepAliveAck
                | M::EndpointUnreachable
                | M::BusinessCard,
                P::POOL_HANDLE,
            ) => once(&mut self.handle, PoolHandle::new(parameter.value()), parameter, message),
            (
                M::Deregistration
                | M::RegistrationResponse
                | M::DeregistrationResponse
                | M::EndpointKeepAliveAck
                | M::EndpointUnreachable,
                P::ELEMENT_ID,
            ) => once(&mut self.id, ElementId(parameter.word()?), parameter, message),
            // RSPLIB's registrar says whom it asks, which RFC 5352 2.2.7 has no place for.
            (M::EndpointKeepAlive, P::ELEMENT_ID) => parameter.word().map(|_| ()),
            (M::Registration, P::POOL_ELEMENT) if !self.elements.is_empty() => {
                Err(unexpected(parameter, message))
            }
            (M::Registration | M::HandleResolutionResponse | M::BusinessCard, P::POOL_ELEMENT) => {
                self.elements.push(PoolElement::parse(parameter.cursor(), reports)?);
                Ok(())
            }
            (M::Registration, P::ELEMENT_FLAGS) => {
                let flags = StatusFlags(parameter.word()? as u16).within(StatusFlags::OWN);
                once(&mut self.flags, flags, parameter, message)
            }
            (M::HandleResolution, P::RESOLUTION_OPTION) => {
                once(&mut self.limit, parameter.word()?, parameter, message)
            }
            (M::HandleResolution, P::STATUS_VECTOR) => {
                self.wants_status = true;
                Ok(())
            }
            (M::HandleResolutionResponse, P::POLICY) => {
                let policy = PolicyParameter::parse(parameter.cursor())?;
                once(&mut self.policy, policy, parameter, message)
            }
            (M::HandleResolutionResponse, P::STATUS_VECTOR) => {
                once(&mut self.status, StatusVector::parse(parameter.cursor())?, parameter, message)
            }
            (
                M::RegistrationResponse | M::DeregistrationResponse | M::HandleResolutionResponse | M::Error,
                P::OPERATION_ERROR,
            ) => once(&mut self.causes, causes(parameter)?, parameter, message),
            (M::ServerAnnounce, kind) if Transport::is_transport(kind) => {
                self.transports.push(Transport::parse(parameter, reports)?);
                Ok(())
            }
            (M::Cookie | M::CookieEcho, P::COOKIE) => {
                once(&mut self.cookie, parameter.value().to_vec(), parameter, message)
            }
            (_, kind) if kind.is_skippable() => Ok(()),
            _ => Err(unexpected(parameter, message)),
        }
    }

    fn handle(&mut self) -> Result<PoolHandle, DecodeError> {
        self.handle.take().ok_or(DecodeError::Missing("pool handle"))
    }

    fn id(&self) -> Result<ElementId, DecodeError> {
        self.id.ok_or(DecodeError::Missing("PE identifier"))
    }

    fn cookie(self) -> Result<Vec<u8>, DecodeError> {
        self.cookie.ok_or(DecodeError::Missing("cookie"))
    }
}

fn read<'a>(
    kind: MessageType,
    flag: bool,
    mut body: Cursor<'a>,
    reports: &mut Reports,
) -> Result<Message, Failure<'a>> {
    let registrar = match kind {
        MessageType::EndpointKeepAlive | MessageType::ServerAnnounce => RegistrarId(body.u32()?),
        _ => RegistrarId::UNDETERMINED,
    };
    let mut parts = Parts::read(kind, body, reports)?;
    Ok(match kind {
        MessageType::Registration => Message::Registration {
            handle: parts.handle()?,
            element: parts.elements.pop().ok_or(DecodeError::Missing("pool element"))?,
            flags: parts.flags.unwrap_or_default(),
        },
        MessageType::Deregistration => Message::Deregistration { handle: parts.handle()?, id: parts.id()? },
        MessageType::RegistrationResponse => Message::RegistrationResponse {
            handle: parts.handle()?,
            id: parts.id()?,
            rejected: flag,
            errors: parts.causes.unwrap_or_default(),
        },
        MessageType::DeregistrationResponse => Message::DeregistrationResponse {
            handle: parts.handle()?,
            id: parts.id()?,
            errors: parts.causes.unwrap_or_default(),
        },
        MessageType::HandleResolution => {
            let (limit, status) = (parts.limit, parts.wants_status);
            Message::HandleResolution { handle: parts.handle()?, subscribe: flag, limit, status }
        }
        MessageType::HandleResolutionResponse => Message::HandleResolutionResponse(ResolutionResponse {
            handle: parts.handle()?,
            accepted: flag,
            policy: parts.policy,
            elements: parts.elements,
            errors: parts.causes.unwrap_or_default(),
            status: parts.status,
        }),
        MessageType::EndpointKeepAlive => {
            Message::EndpointKeepAlive { registrar, handle: parts.handle()?, adopt: flag }
        }
        MessageType::EndpointKeepAliveAck => {
            Message::EndpointKeepAliveAck { handle: parts.handle()?, id: parts.id()? }
        }
        MessageType::EndpointUnreachable => {
            Message::EndpointUnreachable { handle: parts.handle()?, id: parts.id()? }
        }
        MessageType::ServerAnnounce => Message::ServerAnnounce { registrar, transports: parts.transports },
        MessageType::Cookie => Message::Cookie(parts.cookie()?),
        MessageType::CookieEcho => Message::CookieEcho(parts.cookie()?),
        MessageType::BusinessCard => {
            Message::BusinessCard { handle: parts.handle()?, elements: parts.elements }
        }
        MessageType::Error => Message::Error(parts.causes.ok_or(DecodeError::Missing("operation error"))?),
    })
}

fn once<T>(
    place: &mut Option<T>,
    value: T,
    parameter: Parameter<'_>,
    message: MessageType,
) -> Result<(), DecodeError> {
    if place.is_some() {
        return Err(unexpected(parameter, message));
    }
    *place = Some(value);
    Ok(())
}

const fn unexpected(parameter: Parameter<'_>, message: MessageType) -> DecodeError {
    DecodeError::Unexpected { kind: parameter.kind.0, within: message.name() }
}

/// The causes of an Operation Error. One without causes says at least that something is wrong.
fn causes(parameter: Parameter<'_>) -> Result<Vec<Cause>, DecodeError> {
    let causes = Cause::parse_all(parameter.cursor())?;
    Ok(if causes.is_empty() { vec![Cause::bare(CauseCode::Unspecified)] } else { causes })
}
