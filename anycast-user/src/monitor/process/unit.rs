//! The main process of a systemd unit, over D-Bus (org.freedesktop.systemd1(5)).

use std::{future::Future, time::Duration};

use futures_util::StreamExt;
use zbus::{
    Connection, MatchRule, MessageStream,
    connection::Builder,
    message::Type,
    zvariant::{OwnedObjectPath, OwnedValue},
};

use super::{Bus, ProcessError, Target, watch::Source};

/// How often the main process is asked for although nothing was signalled, and how long after a failure the bus is tried
/// again. Exits do not wait for this.
const REREAD: Duration = Duration::from_secs(5);
/// How long after losing the bus it is tried again.
const RECONNECT: Duration = Duration::from_secs(1);
/// How long systemd may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A unit.
pub(super) struct Unit {
    name: String,
    bus: Bus,
    session: Option<Session>,
}

/// A connection to the bus, with the unit's changes subscribed to.
struct Session {
    connection: Connection,
    unit: OwnedObjectPath,
    changes: MessageStream,
}

impl Unit {
    pub(super) fn new(name: String, bus: Bus) -> Self {
        Self { name, bus, session: None }
    }

    async fn main_pid(&mut self) -> zbus::Result<i32> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(within(Session::open(&self.name, &self.bus)).await?),
        };
        within(session.main_pid()).await
    }
}

impl Source for Unit {
    fn target(&self) -> String {
        Target::Unit { name: self.name.clone(), bus: self.bus.clone() }.to_string()
    }

    async fn read(&mut self) -> Result<i32, ProcessError> {
        match self.main_pid().await {
            Ok(pid) if pid > 0 => Ok(pid),
            Ok(_) => Err(ProcessError::NotStarted { name: self.name.clone() }),
            Err(source) => {
                self.session = None;
                Err(ProcessError::Bus { name: self.name.clone(), source })
            }
        }
    }

    async fn changed(&mut self) {
        let Some(session) = &mut self.session else {
            return tokio::time::sleep(RECONNECT).await;
        };
        match tokio::time::timeout(REREAD, session.changes.next()).await {
            Ok(Some(Ok(_))) | Err(_) => {}
            Ok(Some(Err(error))) => {
                tracing::debug!(unit = self.name, %error, "lost the message bus");
                self.session = None;
            }
            Ok(None) => self.session = None,
        }
    }
}

impl Session {
    async fn open(name: &str, bus: &Bus) -> zbus::Result<Self> {
        let builder = match bus {
            Bus::System => Builder::system()?,
            Bus::Address(address) => Builder::address(address.as_str())?,
        };
        let connection = builder.method_timeout(ANSWER).build().await?;

        // Without a subscriber systemd sends no signals (its Manager.Subscribe).
        let manager = (Some(SYSTEMD), MANAGER_PATH, Some(MANAGER));
        connection.call_method(manager.0, manager.1, manager.2, "Subscribe", &()).await?;
        // LoadUnit instead of GetUnit: it also knows units that were never started.
        let unit: OwnedObjectPath = connection
            .call_method(manager.0, manager.1, manager.2, "LoadUnit", &(name,))
            .await?
            .body()
            .deserialize()?;

        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(SYSTEMD)?
            .path(unit.as_ref())?
            .interface(PROPERTIES)?
            .member("PropertiesChanged")?
            .build();
        // A signal is only a hint to ask again, so one may be lost when many come at once.
        const QUEUE: usize = 8;
        let changes = MessageStream::for_match_rule(rule.to_owned(), &connection, Some(QUEUE)).await?;
        Ok(Self { connection, unit, changes })
    }

    async fn main_pid(&self) -> zbus::Result<i32> {
        let reply = self
            .connection
            .call_method(Some(SYSTEMD), &self.unit, Some(PROPERTIES), "Get", &(SERVICE, "MainPID"))
            .await?;
        let value: OwnedValue = reply.body().deserialize()?;
        let pid = u32::try_from(value)?;
        // The kernel's largest id is 4194304 (PID_MAX_LIMIT).
        Ok(i32::try_from(pid).unwrap_or(0))
    }
}

/// Limits what the builder's timeout does not: connecting and the handshake.
async fn within<T>(answer: impl Future<Output = zbus::Result<T>>) -> zbus::Result<T> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(result) => result,
        Err(_elapsed) => Err(zbus::Error::Failure(format!("no answer within {ANSWER:?}"))),
    }
}
