//! A private bus with one name on it: a stub of systemd that behaves as org.freedesktop.systemd1(5) says.
//!
//! It is stricter than convenient where the real one is: no signal goes out unless the client called `Subscribe` and
//! added a match rule for it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::{
    net::UnixListener,
    task::{JoinHandle, JoinSet},
};
use zbus::{
    Connection, Guid, connection,
    fdo::Error,
    interface,
    zvariant::{ObjectPath, OwnedObjectPath},
};

const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/nsd_2eservice";

/// The bus; it is gone when this is dropped.
pub struct Systemd {
    socket: PathBuf,
    state: Arc<Mutex<State>>,
    accept: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    main_pid: u32,
    subscribed: bool,
    match_rules: Vec<String>,
    clients: Vec<Connection>,
    asked: usize,
}

impl Systemd {
    /// Listens at `socket`.
    pub fn start(socket: &Path, main_pid: i32) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let state =
            Arc::new(Mutex::new(State { main_pid: main_pid.try_into().unwrap(), ..State::default() }));
        let shared = Arc::clone(&state);
        let accept = tokio::spawn(async move {
            let mut handshakes = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                handshakes.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { socket: socket.to_owned(), state, accept }
    }

    /// The D-Bus address of the bus.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket.display())
    }

    /// Another main process, or none (0), and a signal if anybody may have it.
    pub async fn change_main_pid(&self, main_pid: i32) {
        let (clients, wanted) = {
            let mut state = self.state.lock().unwrap();
            state.main_pid = main_pid.try_into().unwrap();
            let rule = state.match_rules.iter().any(|rule| {
                rule.contains("member='PropertiesChanged'")
                    && rule.contains(UNIT_PATH)
                    && rule.contains("type='signal'")
            });
            (state.clients.clone(), state.subscribed && rule)
        };
        for client in clients.iter().filter(|_| wanted) {
            let unit = client.object_server().interface::<_, Service>(UNIT_PATH).await.unwrap();
            unit.get().await.main_p_i_d_changed(unit.signal_emitter()).await.unwrap();
        }
    }

    /// How often the main process was asked for.
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.accept.abort();
        // The connections close with their last owner.
        self.state.lock().unwrap().clients.clear();
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn serve(stream: tokio::net::UnixStream, state: Arc<Mutex<State>>) {
    // Peer to peer for zbus: this end is the bus itself, which has no bus to say hello to.
    let client = connection::Builder::unix_stream(stream)
        .server(Guid::generate())
        .unwrap()
        .p2p()
        .serve_at("/org/freedesktop/DBus", MessageBus(Arc::clone(&state)))
        .unwrap()
        .serve_at("/org/freedesktop/systemd1", Manager(Arc::clone(&state)))
        .unwrap()
        .serve_at(UNIT_PATH, Service(Arc::clone(&state)))
        .unwrap()
        .build()
        .await
        .unwrap();
    state.lock().unwrap().clients.push(client);
}

/// What every bus can do (the D-Bus specification's "message bus messages").
struct MessageBus(Arc<Mutex<State>>);

#[interface(name = "org.freedesktop.DBus")]
impl MessageBus {
    fn hello(&self) -> String {
        ":1.1".to_owned()
    }

    fn add_match(&self, rule: String) {
        self.0.lock().unwrap().match_rules.push(rule);
    }

    fn remove_match(&self, rule: String) {
        self.0.lock().unwrap().match_rules.retain(|known| *known != rule);
    }
}

struct Manager(Arc<Mutex<State>>);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {
        self.0.lock().unwrap().subscribed = true;
    }

    fn load_unit(&self, name: &str) -> Result<OwnedObjectPath, Error> {
        match name {
            "nsd.service" => Ok(ObjectPath::from_static_str_unchecked(UNIT_PATH).into()),
            _ => Err(Error::InvalidArgs(format!("Unit name {name} is not valid."))),
        }
    }
}

struct Service(Arc<Mutex<State>>);

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> u32 {
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        state.main_pid
    }
}
