//! `anycast run` in a server's namespace, as an operator runs it: a configuration file and a control socket.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command as Process, ExitStatus, Output};
use std::time::Duration;

use anycast_user::control::{Answer, Command, client};
use anycast_user::telemetry::status::{Service, State, Status};
use anyhow::{Context as _, Result, bail};

use super::child::{Child, anycast_binary};
use super::farm::{SERVER, SERVICE, Server};
use super::responder::{HEALTH_NAME, pid_file};
use super::wait::wait_for;

/// How long a daemon may take for anything but an election.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// One `[[service]]`.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Its name.
    pub name: String,
    /// The service address.
    pub address: IpAddr,
    /// `failover`, `solicited` or `rotate`.
    pub mode: String,
    /// The interface; [`SERVER`] unless a test wants a wrong one.
    pub interface: String,
    /// Watch the process whose id stands in the server's `dns.pid`, and ask it.
    pub check: bool,
    /// The standby rule: queries and window.
    pub standby: Option<(u32, Duration)>,
    /// More lines of `[service.standby]`.
    pub standby_more: String,
    /// More lines of the `[[service]]` table itself.
    pub more: String,
}

impl ServiceOptions {
    /// A checked service in mode `failover`.
    pub fn new(name: &str, address: IpAddr) -> Self {
        Self {
            name: name.to_owned(),
            address,
            mode: "failover".to_owned(),
            interface: SERVER.to_owned(),
            check: true,
            standby: None,
            standby_more: String::new(),
            more: String::new(),
        }
    }
}

/// A configuration for one server.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    /// Name of the farm.
    pub farm: String,
    /// The services; the first one carries the check, which the others share.
    pub services: Vec<ServiceOptions>,
    /// `native` or `generic`.
    pub xdp_mode: String,
    /// The lease.
    pub lease: Duration,
    /// How long the gate left by `stop --keep` stays open.
    pub restart_lease: Duration,
    /// How long a stopping server serves what still arrives.
    pub grace: Duration,
    /// Heartbeat interval.
    pub heartbeat: Duration,
    /// Between two runs of a check, which may take nine tenths of it.
    pub check_interval: Duration,
    /// More lines of `[daemon]`.
    pub more: String,
    /// More lines of `[farm]`.
    pub farm_more: String,
    /// More tables.
    pub tables: String,
}

impl Default for DaemonOptions {
    fn default() -> Self {
        Self {
            farm: "lab".to_owned(),
            services: vec![ServiceOptions::new("dns", SERVICE)],
            xdp_mode: "native".to_owned(),
            lease: Duration::from_millis(300),
            restart_lease: Duration::from_secs(10),
            grace: Duration::from_millis(500),
            heartbeat: Duration::from_millis(50),
            check_interval: Duration::from_millis(100),
            more: String::new(),
            farm_more: String::new(),
            tables: String::new(),
        }
    }
}

impl DaemonOptions {
    /// For one service.
    pub fn with(service: ServiceOptions) -> Self {
        Self { services: vec![service], ..Self::default() }
    }

    /// The file for `server`.
    pub fn toml(&self, server: &Server) -> String {
        let directory = server.directory.display();
        let mut file = format!(
            "[daemon]\n\
             control_socket = \"{directory}/control.sock\"\n\
             state_dir = \"{directory}/state\"\n\
             bpffs = \"{}\"\n\
             lease = \"{}ms\"\n\
             restart_lease = \"{}ms\"\n\
             grace = \"{}ms\"\n\
             {}\n\
             [farm]\n\
             name = \"{}\"\n\
             heartbeat = \"{}ms\"\n\
             {}\n",
            server.bpffs.display(),
            self.lease.as_millis(),
            self.restart_lease.as_millis(),
            self.grace.as_millis(),
            self.more,
            self.farm,
            self.heartbeat.as_millis(),
            self.farm_more,
        );
        let mut interfaces: Vec<&str> =
            self.services.iter().map(|service| service.interface.as_str()).collect();
        interfaces.dedup();
        let mode = &self.xdp_mode;
        let pid_file = pid_file(server);
        for interface in interfaces {
            // Writing to a string does not fail.
            let _ = write!(file, "\n[[interface]]\nname = \"{interface}\"\nmode = \"{mode}\"\n");
        }
        let mut checked_by = None;
        let (interval, timeout) = (self.check_interval.as_millis(), self.check_interval.as_millis() * 9 / 10);
        for service in &self.services {
            let ServiceOptions { name, address, mode, interface, more, .. } = service;
            let _ = write!(
                file,
                "\n[[service]]\nname = \"{name}\"\ninterface = \"{interface}\"\naddress = \"{address}\"\n\
                 ports = [53]\nmode = \"{mode}\"\n{more}\n"
            );
            match checked_by {
                Some(first) => {
                    let _ = writeln!(file, "check_as = \"{first}\"");
                }
                None => {
                    let dns = format!(
                        "dns = {{ server = \"[::1]:53\", name = \"{HEALTH_NAME}\", type = \"SOA\" }}"
                    );
                    let process = format!("process = {{ pid_file = \"{}\" }}", pid_file.display());
                    let always = "exec = { command = [\"/bin/true\"] }".to_owned();
                    let targets = if service.check { format!("{dns}\n{process}") } else { always };
                    let _ = write!(
                        file,
                        "[service.check]\ninterval = \"{interval}ms\"\ntimeout = \"{timeout}ms\"\nrise = 2\nfall = 3\n{targets}\n"
                    );
                    checked_by = Some(name);
                }
            }
            if let Some((queries, window)) = service.standby {
                let window = window.as_millis();
                let more = &service.standby_more;
                let _ =
                    write!(file, "[service.standby]\nqueries = {queries}\nwindow = \"{window}ms\"\n{more}\n");
            }
        }
        file + "\n" + &self.tables
    }
}

/// A running daemon; killed if it is dropped without having been stopped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    socket: PathBuf,
    config: PathBuf,
}

impl Daemon {
    /// Starts one and waits until it answers on its control socket.
    ///
    /// # Errors
    /// It ended instead: the error carries what it printed.
    pub fn start(server: &Server, options: &DaemonOptions) -> Result<Self> {
        let mut daemon = Self::spawn(server, options)?;
        let status = |daemon: &mut Self| -> Option<Result<()>> {
            match daemon.child.ended() {
                Ok(None) => daemon.status().ok().map(|_| Ok(())),
                Ok(Some(status)) => {
                    Some(Err(anyhow::anyhow!("anycast run ended with {status}: {}", daemon.log())))
                }
                Err(error) => Some(Err(error)),
            }
        };
        let what = format!("the daemon of {} answers", server.name);
        wait_for(&what, PATIENCE, || status(&mut daemon)).with_context(|| daemon.log())??;
        Ok(daemon)
    }

    /// Starts one and does not wait: for configurations that it must refuse.
    ///
    /// # Errors
    /// The binary is not there.
    pub fn spawn(server: &Server, options: &DaemonOptions) -> Result<Self> {
        let config = write_config(server, options)?;
        let mut command = server.namespace.command(anycast_binary()?);
        command.args(["run", "-v", "--config"]).arg(&config);
        let child = Child::spawn(
            &format!("anycast run of {}", server.name),
            command,
            &server.directory.join("anycast.log"),
        )?;
        Ok(Self { child, socket: server.directory.join("control.sock"), config })
    }

    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its configuration file.
    pub fn config(&self) -> &PathBuf {
        &self.config
    }

    /// What it printed, and what daemons before it in this server printed.
    pub fn log(&self) -> String {
        self.child.log()
    }

    /// Sends a command over the control socket.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub fn request(&self, command: &Command) -> Result<Answer> {
        client::request(&self.socket, command).with_context(|| format!("ask the daemon for {command:?}"))
    }

    /// Its status.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self) -> Result<Status> {
        match self.request(&Command::Status)? {
            Answer::Status(status) => Ok(*status),
            other => bail!("asked for the status, got {other:?}"),
        }
    }

    /// The status of one service.
    ///
    /// # Errors
    /// It does not answer, or has no such service.
    pub fn service(&self, name: &str) -> Result<Service> {
        let services = self.status()?.services;
        services
            .into_iter()
            .find(|service| service.name == name)
            .with_context(|| format!("no service {name}"))
    }

    /// Waits until a service is in a state.
    ///
    /// # Errors
    /// It is not within `timeout`: the error says what it is in.
    pub fn wait_for_state(&self, service: &str, state: State, timeout: Duration) -> Result<Service> {
        self.wait_for_service(service, &format!("state {}", state.name()), timeout, |found| {
            found.state == state
        })
    }

    /// Waits until a service is as wanted.
    ///
    /// # Errors
    /// It is not within `timeout`: the error tells how it is.
    pub fn wait_for_service(
        &self,
        service: &str,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&Service) -> bool,
    ) -> Result<Service> {
        let mut last = None;
        let found = wait_for(&format!("{service}: {what}"), timeout, || {
            last = self.service(service).ok();
            last.clone().filter(|found| wanted(found))
        });
        found.with_context(|| format!("last seen: {last:#?}"))
    }

    /// SIGKILL: no farewell.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Errors
    /// It still runs after [`PATIENCE`].
    pub fn terminate(mut self) -> Result<ExitStatus> {
        self.child.terminate(PATIENCE)
    }

    /// `anycast stop --keep`, then waits for the end.
    ///
    /// # Errors
    /// It refuses, or still runs after [`PATIENCE`].
    pub fn stop_keep(mut self) -> Result<ExitStatus> {
        self.request(&Command::Stop { keep: true })?;
        self.child.wait(PATIENCE)
    }
}

/// Writes the configuration of a server and returns where.
///
/// # Errors
/// The directory cannot be written.
pub fn write_config(server: &Server, options: &DaemonOptions) -> Result<PathBuf> {
    let state = server.directory.join("state");
    std::fs::create_dir_all(&state).with_context(|| format!("create {}", state.display()))?;
    let config = server.directory.join("anycast.toml");
    std::fs::write(&config, options.toml(server)).with_context(|| format!("write {}", config.display()))?;
    Ok(config)
}

/// Runs the `anycast` binary to its end in a server's namespace.
///
/// # Errors
/// The binary is not there.
pub fn anycast(server: &Server, arguments: &[&str]) -> Result<Output> {
    let mut command: Process = server.namespace.command(anycast_binary()?);
    command.args(arguments).output().context("run anycast")
}
