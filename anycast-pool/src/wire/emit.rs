//! Writing of messages.

use super::parameter::{ParameterType, Writer};
use super::{
    Cause, ElementId, EmitError, MESSAGE_MAX, Message, MessageType, PoolHandle, RegistrarId, StatusFlags,
};

/// The one flag that a message can have (RFC 5352 2.2): R, S, A or H.
pub(super) const FLAG: u8 = 0x01;

impl Message {
    /// Appends the message to `out`, padded to four octets.
    ///
    /// # Errors
    /// It is longer than a message can be; `out` is as before.
    pub fn emit(&self, out: &mut Vec<u8>) -> Result<(), EmitError> {
        match self {
            Self::Registration { handle, element, flags } => {
                emit_message(out, MessageType::Registration, false, |out| {
                    emit_handle(handle, out);
                    // Before what every registrar knows: RSPLIB's skips what it does not know there, but not at the end.
                    if *flags != StatusFlags::NONE {
                        out.nested(ParameterType::ELEMENT_FLAGS, |out| out.u32(u32::from(flags.0)));
                    }
                    element.emit(out);
                })
            }
            Self::Deregistration { handle, id } => {
                emit_message(out, MessageType::Deregistration, false, |out| emit_name(handle, *id, out))
            }
            Self::RegistrationResponse { handle, id, rejected, errors } => {
                emit_message(out, MessageType::RegistrationResponse, *rejected, |out| {
                    emit_name(handle, *id, out);
                    emit_errors(errors, out);
                })
            }
            Self::DeregistrationResponse { handle, id, errors } => {
                emit_message(out, MessageType::DeregistrationResponse, false, |out| {
                    emit_name(handle, *id, out);
                    emit_errors(errors, out);
                })
            }
            Self::HandleResolution { handle, subscribe, limit, status } => {
                emit_message(out, MessageType::HandleResolution, *subscribe, |out| {
                    emit_handle(handle, out);
                    // In this order for RSPLIB, as above.
                    if *status {
                        out.nested(ParameterType::STATUS_VECTOR, |_| {});
                    }
                    if let Some(limit) = limit {
                        out.nested(ParameterType::RESOLUTION_OPTION, |out| out.u32(*limit));
                    }
                })
            }
            Self::HandleResolutionResponse(response) => {
                emit_message(out, MessageType::HandleResolutionResponse, response.accepted, |out| {
                    emit_handle(&response.handle, out);
                    if let Some(policy) = &response.policy {
                        policy.emit(out);
                    }
                    response.elements.iter().for_each(|element| element.emit(out));
                    emit_errors(&response.errors, out);
                    if let Some(status) = &response.status {
                        status.emit(out);
                    }
                })
            }
            Self::EndpointKeepAlive { registrar, handle, adopt } => {
                emit_message(out, MessageType::EndpointKeepAlive, *adopt, |out| {
                    emit_registrar(*registrar, out);
                    emit_handle(handle, out);
                })
            }
            Self::EndpointKeepAliveAck { handle, id } => {
                emit_message(out, MessageType::EndpointKeepAliveAck, false, |out| emit_name(handle, *id, out))
            }
            Self::EndpointUnreachable { handle, id } => {
                emit_message(out, MessageType::EndpointUnreachable, false, |out| emit_name(handle, *id, out))
            }
            Self::ServerAnnounce { registrar, transports } => {
                emit_message(out, MessageType::ServerAnnounce, false, |out| {
                    emit_registrar(*registrar, out);
                    transports.iter().for_each(|transport| transport.emit(out));
                })
            }
            Self::Cookie(cookie) => {
                emit_message(out, MessageType::Cookie, false, |out| emit_cookie(cookie, out))
            }
            Self::CookieEcho(cookie) => {
                emit_message(out, MessageType::CookieEcho, false, |out| emit_cookie(cookie, out))
            }
            Self::BusinessCard { handle, elements } => {
                emit_message(out, MessageType::BusinessCard, false, |out| {
                    emit_handle(handle, out);
                    elements.iter().for_each(|element| element.emit(out));
                })
            }
            Self::Error(causes) => {
                emit_message(out, MessageType::Error, false, |out| Cause::emit_all(causes, out))
            }
        }
    }

    /// The message alone.
    ///
    /// # Errors
    /// It is longer than a message can be.
    pub fn to_octets(&self) -> Result<Vec<u8>, EmitError> {
        let mut octets = Vec::new();
        self.emit(&mut octets)?;
        Ok(octets)
    }
}

/// Writes a header, the parameters, and the length into the header.
pub(crate) fn emit_message(
    out: &mut Vec<u8>,
    kind: MessageType,
    flag: bool,
    body: impl FnOnce(&mut Writer<'_>),
) -> Result<(), EmitError> {
    let start = out.len();
    let mut writer = Writer::new(out);
    writer.u8(kind.code());
    writer.u8(if flag { FLAG } else { 0 });
    writer.u16(0);
    body(&mut writer);
    writer.set_length(start);
    let too_long = writer.is_too_long();
    let length = out.len() - start;
    if too_long || length > MESSAGE_MAX {
        out.truncate(start);
        return Err(EmitError::TooLong(length));
    }
    Ok(())
}

pub(crate) fn emit_handle(handle: &PoolHandle, out: &mut Writer<'_>) {
    out.nested(ParameterType::POOL_HANDLE, |out| out.octets(handle.as_bytes()));
}

fn emit_name(handle: &PoolHandle, id: ElementId, out: &mut Writer<'_>) {
    emit_handle(handle, out);
    out.nested(ParameterType::ELEMENT_ID, |out| out.u32(id.0));
}

/// The registrar's identifier stands bare, not as a parameter (RFC 5352 2.2.7, 2.2.10).
fn emit_registrar(registrar: RegistrarId, out: &mut Writer<'_>) {
    out.u32(registrar.0);
}

fn emit_cookie(cookie: &[u8], out: &mut Writer<'_>) {
    out.nested(ParameterType::COOKIE, |out| out.octets(cookie));
}

fn emit_errors(errors: &[Cause], out: &mut Writer<'_>) {
    if !errors.is_empty() {
        Cause::emit_all(errors, out);
    }
}
