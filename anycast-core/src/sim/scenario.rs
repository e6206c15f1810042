//! A farm and what happens to it, as data: what `anycast simulate` runs, what a scenario file says, and what a failing
//! history is written as.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::bounds::Bounds;
use super::link::Network;
use crate::auth::{self, Authentication, KeyId, KeyRing};
use crate::config::{Config, LoadConfig, Mode, StandbyConfig};
use crate::event::Command;

/// A farm, its link, and what happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The servers.
    pub farm: Farm,
    /// The link.
    pub network: Network,
    /// Everything random follows from it.
    pub seed: u64,
    /// Servers start at random times within this.
    pub boot: Duration,
    /// What happens before this is not counted, and steps begin after it.
    pub warm_up: Duration,
    /// How long the farm is watched after that.
    pub duration: Duration,
    /// Queries per second that clients send, from the start.
    pub rate: u32,
    /// What must hold.
    pub bounds: Bounds,
    /// What happens.
    pub steps: Vec<Step>,
}

/// The servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Farm {
    /// How many.
    pub servers: usize,
    /// How ownership moves; the slice is that of weight 1.
    pub mode: Mode,
    /// Distance of an owner's heartbeats.
    pub heartbeat: Duration,
    /// How long a gate stays open without being renewed.
    pub lease: Duration,
    /// Weights, server by server, from the beginning again when they are used up; none = all 1.
    pub weights: Vec<u32>,
    /// Queries per second each can answer, likewise; none = not looked at.
    pub capacities: Vec<u32>,
    /// Congested from this load on, permille.
    pub congested_above: u16,
    /// The standby rule.
    pub standby: Option<StandbyConfig>,
    /// How long it takes to find out that a service hangs: check interval × fall + timeout.
    pub detection: Duration,
    /// All servers sign with one key, and obey nobody who does not (`auth = "enforce"`).
    pub keys: bool,
}

/// Something that happens to servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When, after the warm-up.
    pub at: Duration,
    /// What.
    pub deed: Deed,
    /// To which.
    pub on: Selector,
    /// After this time it is undone; what is meant by that depends on the deed.
    pub lasts: Option<Duration>,
    /// It happens again after each such time …
    pub every: Option<Duration>,
    /// … so many times in all; `None` = until the end.
    pub times: Option<u32>,
    /// To several servers: one after the other at this distance.
    pub spacing: Duration,
}

/// What happens to a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Deed {
    /// It loses power. Undone: it boots.
    Crash,
    /// The daemon dies (SIGKILL). Undone: it is started.
    Kill,
    /// It boots, or its daemon is started.
    Start,
    /// The service process exits. Undone: it runs again.
    Fail,
    /// The service process runs again, and no longer hangs.
    Recover,
    /// The service process hangs. Undone: it answers again.
    Hang,
    /// The daemon stands still, for as long as the step lasts (1 s).
    Pause,
    /// The daemon is stopped (SIGTERM). Undone: it is started.
    Stop,
    /// `anycast stop --keep`, and the daemon started again when the step has lasted (1 s).
    Restart,
    /// Frames between it and the servers not named by the step are lost with this probability. Undone: no longer.
    Cut {
        /// Which way.
        way: Way,
        /// The share lost; 1 = all.
        loss: f64,
    },
    /// No frames are lost any more but by the network's own loss.
    Heal,
    /// The operator asks. A drain is undone by an undrain.
    Operator(Command),
    /// The router solicits.
    Solicit,
    /// The farm's query rate becomes this, at once or, if the step lasts, little by little until its end.
    Rate(u32),
}

/// Ways between a server and the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What it sends.
    Out,
    /// What it should hear.
    In,
    /// Both.
    Both,
}

/// Which servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The owner; in `solicited`, whom the router's entry names.
    Owner,
    /// The owner's first successor.
    Next,
    /// Any server.
    Random,
    /// All.
    All,
    /// From this number to that, both included.
    Numbers(usize, usize),
}

impl Default for Farm {
    fn default() -> Self {
        Self {
            servers: 4,
            mode: Mode::Rotate { slice: Duration::from_secs(60) },
            heartbeat: Duration::from_millis(50),
            lease: Duration::from_millis(300),
            weights: Vec::new(),
            capacities: Vec::new(),
            congested_above: 800,
            standby: None,
            detection: Duration::from_millis(3_300),
            keys: false,
        }
    }
}

impl Farm {
    /// Weight of a server.
    pub fn weight(&self, server: usize) -> u32 {
        nth(&self.weights, server).unwrap_or(1)
    }

    /// Configuration of each server.
    pub fn configs(&self) -> Vec<Config> {
        let config = |number| {
            let mut config = super::config(number);
            config.lease = self.lease;
            config.restart_lease = config.restart_lease.max(self.lease);
            if let Some(farm) = &mut config.farm {
                farm.heartbeat = self.heartbeat;
                // Which key makes no difference; each start has an incarnation of its own.
                farm.auth = self.keys.then(|| Authentication {
                    keys: KeyRing::new(KeyId(1), &[0x5a; 32]),
                    mode: auth::Mode::Enforce,
                    incarnation: 1,
                });
            }
            for service in &mut config.services {
                service.mode = match self.mode {
                    Mode::Rotate { slice } => Mode::Rotate { slice: slice * self.weight(number) },
                    mode => mode,
                };
                service.standby = self.standby;
                service.load = nth(&self.capacities, number).map(|capacity| LoadConfig {
                    capacity,
                    congested_above: self.congested_above,
                    latency_limit: None,
                });
            }
            config
        };
        (0..self.servers).map(config).collect()
    }
}

fn nth(values: &[u32], number: usize) -> Option<u32> {
    values.get(number % values.len().max(1)).copied()
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            farm: Farm::default(),
            network: Network::default(),
            seed: 1,
            boot: Duration::from_secs(2),
            warm_up: Duration::from_secs(10),
            duration: Duration::from_secs(600),
            rate: 0,
            bounds: Bounds::default(),
            steps: Vec::new(),
        }
    }
}

impl Step {
    /// Something that happens once and is not undone.
    pub const fn once(at: Duration, deed: Deed, on: Selector) -> Self {
        Self { at, deed, on, lasts: None, every: None, times: None, spacing: Duration::ZERO }
    }
}

impl Deed {
    /// The word in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Kill => "kill",
            Self::Start => "start",
            Self::Fail => "fail",
            Self::Recover => "recover",
            Self::Hang => "hang",
            Self::Pause => "pause",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Cut { .. } => "cut",
            Self::Heal => "heal",
            Self::Operator(Command::Drain) => "drain",
            Self::Operator(Command::Undrain) => "undrain",
            Self::Operator(Command::Standby) => "standby",
            Self::Operator(Command::TakeOver) => "takeover",
            Self::Operator(Command::Announce) => "announce",
            Self::Solicit => "solicit",
            Self::Rate(_) => "rate",
        }
    }

    /// Reads [`name`](Self::name); a cut is whole, a rate 0.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|deed| deed.name() == name)
    }

    /// All, a cut whole and a rate 0.
    pub const ALL: [Self; 18] = [
        Self::Crash,
        Self::Kill,
        Self::Start,
        Self::Fail,
        Self::Recover,
        Self::Hang,
        Self::Pause,
        Self::Stop,
        Self::Restart,
        Self::Cut { way: Way::Both, loss: 1.0 },
        Self::Heal,
        Self::Operator(Command::Drain),
        Self::Operator(Command::Undrain),
        Self::Operator(Command::Standby),
        Self::Operator(Command::TakeOver),
        Self::Operator(Command::Announce),
        Self::Solicit,
        Self::Rate(0),
    ];
}

impl Way {
    /// The word in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
            Self::Both => "both",
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("owner"),
            Self::Next => f.write_str("next"),
            Self::Random => f.write_str("random"),
            Self::All => f.write_str("all"),
            Self::Numbers(from, to) if from == to => write!(f, "{from}"),
            Self::Numbers(from, to) => write!(f, "{from}-{to}"),
        }
    }
}

impl std::str::FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<usize>().ok();
        let numbers = match text.split_once('-') {
            Some((from, to)) => number(from).zip(number(to)).filter(|(from, to)| from <= to),
            None => number(text).map(|number| (number, number)),
        };
        Ok(match (text, numbers) {
            ("owner", _) => Self::Owner,
            ("next", _) => Self::Next,
            ("random", _) => Self::Random,
            ("all", _) => Self::All,
            (_, Some((from, to))) => Self::Numbers(from, to),
            _ => {
                return Err(format!(
                    "{text:?} is no server: write owner, next, random, all, a number as \"3\" or a range as \"0-9\""
                ));
            }
        })
    }
}

/// A duration as the file has it: microseconds at the finest.
pub(super) fn written(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        _ if micros.is_multiple_of(1_000_000) => format!("\"{}s\"", micros / 1_000_000),
        _ if micros.is_multiple_of(1_000) => format!("\"{}ms\"", micros / 1_000),
        _ => format!("\"{micros}us\""),
    }
}

/// The scenario as a file (TOML) that reads back as the same scenario.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let farm = &self.farm;
        writeln!(f, "[farm]\nservers = {}", farm.servers)?;
        match farm.mode {
            Mode::Failover => writeln!(f, "mode = \"failover\"")?,
            Mode::Rotate { slice } => writeln!(f, "mode = \"rotate\"\nslice = {}", written(slice))?,
            Mode::Solicited => writeln!(f, "mode = \"solicited\"")?,
        }
        writeln!(f, "heartbeat = {}\nlease = {}", written(farm.heartbeat), written(farm.lease))?;
        if !farm.weights.is_empty() {
            writeln!(f, "weights = {:?}", farm.weights)?;
        }
        if !farm.capacities.is_empty() {
            writeln!(f, "capacity = {:?}", farm.capacities)?;
            writeln!(f, "congested_above = {:?}", f64::from(farm.congested_above) / 1000.0)?;
        }
        if let Some(standby) = farm.standby {
            let window = written(standby.window);
            writeln!(f, "standby = {{ queries = {}, window = {window} }}", standby.queries)?;
        }
        writeln!(f, "detection = {}", written(farm.detection))?;
        if farm.keys {
            writeln!(f, "keys = true")?;
        }
        let link = &self.network;
        writeln!(f, "\n[link]\nlatency = {}\njitter = {}", written(link.delay), written(link.jitter))?;
        writeln!(f, "loss = {:?}\nduplication = {:?}", link.loss, link.duplication)?;
        writeln!(f, "reordering = {:?}\ndrift = {}", link.reordering, link.drift)?;
        if link.loss_run != u32::MAX {
            writeln!(f, "loss_run = {}", link.loss_run)?;
        }
        writeln!(f, "\n[run]\nseed = {}\nboot = {}", self.seed, written(self.boot))?;
        writeln!(f, "warm_up = {}\nduration = {}", written(self.warm_up), written(self.duration))?;
        writeln!(f, "rate = {}", self.rate)?;
        if self.bounds != Bounds::default() {
            writeln!(f, "\n[bounds]\n{}", self.bounds)?;
        }
        self.steps.iter().try_for_each(|step| step.fmt(f))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("\n[[step]]\nat = {}\ndo = \"{}\"\n", written(self.at), self.deed.name());
        match self.deed {
            Deed::Rate(rate) => writeln!(text, "rate = {rate}")?,
            Deed::Solicit => {}
            Deed::Cut { way, loss } => {
                writeln!(text, "server = \"{}\"\nway = \"{}\"\nloss = {loss:?}", self.on, way.name())?;
            }
            _ => writeln!(text, "server = \"{}\"", self.on)?,
        }
        for (key, value) in [("for", self.lasts), ("every", self.every)] {
            if let Some(value) = value {
                writeln!(text, "{key} = {}", written(value))?;
            }
        }
        if let Some(times) = self.times {
            writeln!(text, "times = {times}")?;
        }
        if !self.spacing.is_zero() {
            writeln!(text, "spacing = {}", written(self.spacing))?;
        }
        f.write_str(&text)
    }
}
