//! A farm whose servers run NSD and the software that decides which of them answers, and what can happen to it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use anycast_user::control::Command;
use anycast_user::telemetry::status::State;
use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use super::daemon::{Daemon, DaemonOptions, PATIENCE};
use super::farm::{Farm, FarmOptions, SERVER, SERVICE, Server};
use super::keepalived::{Keepalived, KeepalivedOptions, VrrpState};
use super::nsd::Nsd;
use super::responder::{answers, pid_file};
use super::wait::{wait_for, wait_until};

/// keepalived's default priority; the lab's first server has it, each further one less by one.
const PRIORITY: u8 = 100;

/// What can happen to the server that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// All processes of the DNS server die.
    ProcessKilled,
    /// All processes of the DNS server stand still (SIGSTOP).
    ServiceHung,
    /// The server is cut off the link.
    LinkCut,
    /// All processes of the software that decides die, without a farewell.
    DaemonKilled,
    /// That software is asked to stop (SIGTERM).
    Planned,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ProcessKilled, Self::ServiceHung, Self::LinkCut, Self::DaemonKilled, Self::Planned];
}

/// What decides.
enum Software {
    Nothing,
    Anycast { options: Vec<DaemonOptions>, daemons: Vec<Option<Daemon>> },
    Keepalived { interval: Duration, routers: Vec<Option<Keepalived>> },
}

/// The farm with everything that runs in its servers. Processes go before what they run in.
pub struct Cluster {
    software: Software,
    nsd: Vec<Option<Nsd>>,
    /// The farm.
    pub farm: Farm,
}

impl Cluster {
    /// Builds a farm and starts NSD on each of its servers.
    ///
    /// # Errors
    /// The lab cannot run here, or NSD is not installed.
    pub fn new(servers: usize) -> Result<Self> {
        let farm = Farm::new(&FarmOptions { servers, ..FarmOptions::default() })?;
        let nsd = farm.servers.iter().map(|server| start_nsd(server).map(Some)).collect::<Result<_>>()?;
        Ok(Self { software: Software::Nothing, nsd, farm })
    }

    /// Starts `anycast run` on each server, with options of its own.
    ///
    /// # Errors
    /// A daemon does not start.
    pub fn run_anycast(&mut self, options: Vec<DaemonOptions>) -> Result<()> {
        self.stop()?;
        let servers = self.farm.servers.iter().zip(&options);
        let daemons = servers
            .map(|(server, options)| Daemon::start(server, options).map(Some))
            .collect::<Result<Vec<_>>>()?;
        self.software = Software::Anycast { options, daemons };
        Ok(())
    }

    /// Starts keepalived on each server.
    ///
    /// # Errors
    /// keepalived is not installed.
    pub fn run_keepalived(&mut self, interval: Duration) -> Result<()> {
        self.stop()?;
        let routers = (0..self.farm.servers.len())
            .map(|number| start_keepalived(&self.farm.servers[number], number, interval).map(Some))
            .collect::<Result<Vec<_>>>()?;
        self.software = Software::Keepalived { interval, routers };
        Ok(())
    }

    /// Ends what decides, one server after the other; afterwards nobody has the address.
    ///
    /// # Errors
    /// It does not end, or leaves the address.
    pub fn stop(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.software, Software::Nothing) {
            Software::Nothing => {}
            Software::Anycast { daemons, .. } => {
                for daemon in daemons.into_iter().flatten() {
                    daemon.terminate()?;
                }
            }
            Software::Keepalived { routers, .. } => {
                for mut router in routers.into_iter().flatten() {
                    router.ask_to_stop()?;
                    router.wait()?;
                }
            }
        }
        for server in &self.farm.servers {
            for interface in ["lo", SERVER] {
                if server.has_address(interface, SERVICE)? {
                    bail!("{SERVICE} is still on {interface} of {}", server.name);
                }
            }
        }
        self.farm.forget_router_neighbour(SERVICE)
    }

    /// The daemon of a server; none while it does not run, or something else does.
    pub fn daemon(&self, server: usize) -> Option<&Daemon> {
        match &self.software {
            Software::Anycast { daemons, .. } => daemons[server].as_ref(),
            Software::Nothing | Software::Keepalived { .. } => None,
        }
    }

    /// The server that has the address, if all others could take it.
    pub fn owner(&self) -> Option<usize> {
        match &self.software {
            Software::Nothing => None,
            Software::Anycast { daemons, .. } => {
                let state = |daemon: &Option<Daemon>| {
                    let service = daemon.as_ref()?.service("dns").ok()?;
                    Some((service.state, service.gate.answers(), service.peers.len()))
                };
                let peers = daemons.len() - 1;
                only(daemons.iter().map(state), |state| match state {
                    (State::Owner, true, heard) if *heard >= peers => Some(true),
                    (State::Ready, false, heard) if *heard >= peers => Some(false),
                    _ => None,
                })
            }
            Software::Keepalived { routers, .. } => {
                only(routers.iter().map(|router| router.as_ref()?.state()), |state| match state {
                    VrrpState::Master => Some(true),
                    VrrpState::Backup => Some(false),
                    VrrpState::Fault => None,
                })
            }
        }
    }

    /// Waits until one server has the address and all others could take it.
    ///
    /// # Errors
    /// They do not come to that; the error tells what they are instead.
    pub fn settled(&self, patience: Duration) -> Result<usize> {
        wait_for("one server has the address, all others could take it", patience, || self.owner())
            .with_context(|| self.describe())
    }

    /// Lets something happen to a server; tells when.
    ///
    /// # Errors
    /// It cannot be done.
    pub fn strike(&mut self, event: Event, server: usize) -> Result<Instant> {
        let nsd = self.nsd[server].as_mut().context("no DNS server there")?;
        let at = Instant::now();
        match (event, &mut self.software) {
            (Event::ProcessKilled, _) => nsd.kill_all()?,
            (Event::ServiceHung, _) => nsd.signal(Signal::SIGSTOP)?,
            (Event::LinkCut, _) => return self.farm.cut(server),
            (_, Software::Nothing) => bail!("nothing runs there"),
            (Event::DaemonKilled, Software::Anycast { daemons, .. }) => {
                daemons[server].as_mut().context("no daemon there")?.kill()?;
            }
            (Event::Planned, Software::Anycast { daemons, .. }) => {
                daemons[server].as_mut().context("no daemon there")?.child().signal(Signal::SIGTERM)?;
            }
            (Event::DaemonKilled, Software::Keepalived { routers, .. }) => {
                routers[server].as_mut().context("no keepalived there")?.kill()?;
            }
            (Event::Planned, Software::Keepalived { routers, .. }) => {
                routers[server].as_ref().context("no keepalived there")?.ask_to_stop()?;
            }
        }
        Ok(at)
    }

    /// Repairs what [`Cluster::strike`] did.
    ///
    /// # Errors
    /// What was struck does not start again.
    pub fn repair(&mut self, event: Event, server: usize) -> Result<()> {
        let place = &self.farm.servers[server];
        match event {
            Event::ProcessKilled => {
                // Its pid file goes with the dead one.
                self.nsd[server] = None;
                self.nsd[server] = Some(start_nsd(place)?);
                Ok(())
            }
            Event::ServiceHung => {
                self.nsd[server].as_ref().context("no DNS server there")?.signal(Signal::SIGCONT)
            }
            Event::LinkCut => self.farm.set_port(server, true),
            Event::DaemonKilled | Event::Planned => self.restart(server),
        }
    }

    /// `anycast stop --keep` and start again; the farm must run our daemon.
    ///
    /// # Errors
    /// The daemon does not end, or does not start.
    pub fn restart_keeping(&mut self, server: usize) -> Result<()> {
        let Software::Anycast { options, daemons } = &mut self.software else {
            bail!("no daemon runs there")
        };
        let status = daemons[server].take().context("no daemon there")?.stop_keep()?;
        if !status.success() {
            bail!("`anycast stop --keep`: the daemon ended with {status}");
        }
        daemons[server] = Some(Daemon::start(&self.farm.servers[server], &options[server])?);
        Ok(())
    }

    /// Sends a command to a server's daemon.
    ///
    /// # Errors
    /// No daemon, or it refuses.
    pub fn request(&self, server: usize, command: &Command) -> Result<()> {
        self.daemon(server).context("no daemon there")?.request(command).map(drop)
    }

    /// Starts what was killed or asked to stop.
    fn restart(&mut self, number: usize) -> Result<()> {
        let server = &self.farm.servers[number];
        match &mut self.software {
            Software::Nothing => bail!("nothing ran there"),
            Software::Anycast { options, daemons } => {
                let mut last = daemons[number].take().context("no daemon there")?;
                // Killed or asked to: in both cases it ends.
                last.child().wait(PATIENCE)?;
                daemons[number] = Some(Daemon::start(server, &options[number])?);
            }
            Software::Keepalived { interval, routers } => {
                let mut last = routers[number].take().context("no keepalived there")?;
                last.wait()?;
                // A killed one has left the addresses, which the next would take for somebody else's.
                if server.has_address(SERVER, SERVICE)? {
                    server.namespace.ip(&["addr", "flush", "dev", SERVER, "to", &SERVICE.to_string()])?;
                    server.namespace.ip(&["addr", "flush", "dev", SERVER, "to", "fe80::53"])?;
                }
                routers[number] = Some(start_keepalived(server, number, *interval)?);
            }
        }
        Ok(())
    }

    /// What everybody is.
    fn describe(&self) -> String {
        match &self.software {
            Software::Nothing => "nothing runs".to_owned(),
            Software::Anycast { daemons, .. } => {
                let mut lines = String::new();
                for (number, daemon) in daemons.iter().enumerate() {
                    let service = daemon.as_ref().map(|daemon| daemon.service("dns"));
                    lines += &match service {
                        Some(Ok(service)) => format!(
                            "s{}: {}, {}, {:?}, {} peers\n",
                            number + 1,
                            service.state.name(),
                            service.state_reason,
                            service.not_able_because,
                            service.peers.len()
                        ),
                        Some(Err(error)) => format!("s{}: {error:#}\n", number + 1),
                        None => format!("s{}: not running\n", number + 1),
                    };
                }
                lines
            }
            Software::Keepalived { routers, .. } => routers
                .iter()
                .map(|router| match router {
                    Some(router) => format!("{:?}: {}\n", router.state(), router.log()),
                    None => "not running\n".to_owned(),
                })
                .collect(),
        }
    }
}

/// The position of the only one that `owns`; none if another does too, or if one is neither an owner nor ready to be.
fn only<S>(states: impl Iterator<Item = Option<S>>, owns: impl Fn(&S) -> Option<bool>) -> Option<usize> {
    let mut owner = None;
    for (number, state) in states.enumerate() {
        if owns(&state?)? && owner.replace(number).is_some() {
            return None;
        }
    }
    owner
}

fn start_nsd(server: &Server) -> Result<Nsd> {
    let addresses = [IpAddr::V6(Ipv6Addr::LOCALHOST), SERVICE];
    let Server { namespace, name, directory, .. } = server;
    let nsd = Nsd::start(namespace, name, directory, &pid_file(server), &addresses, None)?;
    wait_until("NSD answers", PATIENCE, || answers(namespace, (Ipv6Addr::LOCALHOST, 53).into()))?;
    Ok(nsd)
}

fn start_keepalived(server: &Server, number: usize, interval: Duration) -> Result<Keepalived> {
    let priority = PRIORITY - u8::try_from(number).context("too many servers for VRRP's priorities")?;
    Keepalived::start(server, &KeepalivedOptions { address: SERVICE, interval, priority })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_and_nobody_unable() {
        let owner = |states: &[Option<Option<bool>>]| only(states.iter().copied(), |state| *state);
        let (yes, no, unable) = (Some(Some(true)), Some(Some(false)), Some(None));
        assert_eq!(owner(&[no, yes, no]), Some(1));
        for wrong in [[no, no, no], [yes, no, yes], [yes, unable, no], [yes, no, None]] {
            assert_eq!(owner(&wrong), None, "{wrong:?}");
        }
    }
}
