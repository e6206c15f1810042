//! The program under test, loaded without an interface, and what can be observed of one frame's way through it.

use std::fmt::Write as _;
use std::path::Path;

use anycast_common::abi::{Counters, DROPS, Drop, Event, Gate, Limits};
use anycast_user::datapath::{self, Datapath};
use anyhow::{Context as _, Result, bail};
use aya::maps::{Map, MapData, MapInfo, PerCpuArray, PerCpuValues};
use aya::programs::{ProgramInfo, loaded_programs};
use aya::util::nr_cpus;

use crate::frames::Mac;
use crate::reference::{Outcome, RouterGate, Service, Verdict, World};

/// What the program did with one frame.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The XDP action, as the program returned it.
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// What was added to which service's counters, where anything was.
    pub counted: Vec<(usize, Counters)>,
    /// What was added to `DROPS`, where anything was.
    pub drops: Vec<(Drop, u64)>,
    /// What came out of the rings.
    pub events: Vec<Event>,
}

/// The program with its maps.
pub struct Subject {
    datapath: Datapath,
    mac: Mac,
    services: Vec<Service>,
    gates: Vec<Gate>,
    /// With extras: the gates of single routers.
    extra: Option<Vec<RouterGate>>,
    indexes: Vec<u32>,
    limits: PerCpuArray<MapData, Limits>,
    unlimited: PerCpuValues<Limits>,
    counters: Vec<Counters>,
    drops: [u64; DROPS],
}

impl Subject {
    /// Loads the program that the `anycast` binary carries.
    ///
    /// # Errors
    /// If it is not embedded (`cargo xtask build`), or the kernel refuses it.
    pub fn embedded(mac: Mac, services: &[Service]) -> Result<Self> {
        Self::new(Datapath::unattached().context("load the embedded program")?, mac, services)
    }

    /// Loads the program with extras that the `anycast` binary carries.
    ///
    /// # Errors
    /// As [`Subject::embedded`].
    pub fn extra(mac: Mac, services: &[Service]) -> Result<Self> {
        let datapath = Datapath::unattached_extra().context("load the embedded program with extras")?;
        Ok(Self { extra: Some(Vec::new()), ..Self::new(datapath, mac, services)? })
    }

    /// The program's instructions, after translation by the kernel.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn instructions(&self) -> Result<u32> {
        Ok(self.datapath.instructions()?.0)
    }

    /// Loads the program of another object.
    ///
    /// # Errors
    /// If the file cannot be read or the kernel refuses the program.
    pub fn from_file(path: &Path, mac: Mac, services: &[Service]) -> Result<Self> {
        Self::new(load(path, false)?, mac, services)
    }

    /// Loads the program with extras of another object.
    ///
    /// # Errors
    /// As [`Subject::from_file`].
    pub fn extra_from_file(path: &Path, mac: Mac, services: &[Service]) -> Result<Self> {
        Ok(Self { extra: Some(Vec::new()), ..Self::new(load(path, true)?, mac, services)? })
    }

    fn new(mut datapath: Datapath, mac: Mac, services: &[Service]) -> Result<Self> {
        let configured: Vec<datapath::Service> = services.iter().map(configured).collect();
        let indexes = datapath.set_services(mac, &configured).context("set the services")?;
        let limits = limits(datapath.program_id()).context("open the map LIMITS")?;
        let cpus = nr_cpus().map_err(|(path, error)| anyhow::anyhow!("read {path}: {error}"))?;
        let unlimited = PerCpuValues::try_from(vec![Limits::default(); cpus])?;
        let mut subject = Self {
            datapath,
            mac,
            services: services.to_vec(),
            gates: vec![Gate::default(); services.len()],
            extra: None,
            indexes,
            limits,
            unlimited,
            counters: vec![Counters::default(); services.len()],
            drops: [0; DROPS],
        };
        subject.take_counted()?;
        subject.take_drops()?;
        Ok(subject)
    }

    /// Opens and shuts the gates, as controller and operator do.
    pub fn set_gates(&mut self, gates: &[Gate]) {
        for (position, gate) in gates.iter().enumerate() {
            if self.gates[position] != *gate {
                self.datapath.set_lease(self.indexes[position], gate.open_until_ns);
                self.datapath.set_hold(self.indexes[position], gate.hold);
                self.gates[position] = *gate;
            }
        }
    }

    /// Replaces the gates of single routers. A program without extras does not look at them, nor does its model.
    ///
    /// # Errors
    /// If the kernel refuses the update.
    pub fn set_router_gates(&mut self, gates: &[RouterGate]) -> Result<()> {
        for (position, index) in self.indexes.iter().enumerate() {
            let own = gates.iter().filter(|(service, ..)| *service == position);
            let own: Vec<_> = own.map(|(_, mac, until)| (*mac, *until)).collect();
            self.datapath.set_router_gates(*index, &own).context("set the gates of routers")?;
        }
        if let Some(extra) = &mut self.extra {
            *extra = gates.to_vec();
        }
        Ok(())
    }

    /// What the model makes of `frame` now.
    pub fn expect(&self, frame: &[u8]) -> Outcome {
        World {
            mac: self.mac,
            services: &self.services,
            gates: &self.gates,
            now_ns: monotonic_ns(),
            extra: self.extra.as_deref(),
        }
        .handle(frame)
    }

    /// Forgets when the last events of a service were sent, so that the next one is.
    ///
    /// # Errors
    /// If the kernel refuses the update.
    pub fn lift_limits(&mut self, service: usize) -> Result<()> {
        let index = self.indexes[service];
        self.limits
            .set(index, PerCpuValues::try_from(self.unlimited.to_vec())?, 0)
            .context("lift the limits of events")
    }

    /// Runs the program on one frame.
    ///
    /// # Errors
    /// If the kernel refuses the run or a map cannot be read.
    pub fn run(&mut self, frame: &[u8]) -> Result<Observed> {
        let (action, frame) = self.datapath.run(frame)?;
        let mut events = Vec::new();
        self.datapath.drain_events(&mut events);
        Ok(Observed { action, frame, counted: self.take_counted()?, drops: self.take_drops()?, events })
    }

    /// Runs the program on one frame and leaves its events in the rings, as a controller does that hangs. Gives what was added to
    /// `DROPS`.
    ///
    /// # Errors
    /// As [`Subject::run`].
    pub fn run_without_reading(&mut self, frame: &[u8]) -> Result<Vec<(Drop, u64)>> {
        self.datapath.run(frame)?;
        self.take_drops()
    }

    /// Runs the program and the model on one frame. None: they agree; else what they differ in.
    ///
    /// # Errors
    /// As [`Subject::run`].
    pub fn differs(&mut self, frame: &[u8]) -> Result<Option<String>> {
        let mut expected = self.expect(frame);
        if let (Some((service, _)), Some(_)) = (expected.counted, expected.event) {
            self.lift_limits(service)?;
        }
        if let Some(event) = &mut expected.event {
            // The model numbers services by position, the maps as they like.
            event.index = self.indexes[event.index as usize];
        }
        let observed = self.run(frame)?;
        Ok(difference(&expected, &observed))
    }

    fn take_counted(&mut self) -> Result<Vec<(usize, Counters)>> {
        let mut counted = Vec::new();
        for (position, index) in self.indexes.iter().enumerate() {
            let now = self.datapath.counters(*index)?;
            let before = std::mem::replace(&mut self.counters[position], now);
            if now != before {
                counted.push((position, added(&now, &before)));
            }
        }
        Ok(counted)
    }

    fn take_drops(&mut self) -> Result<Vec<(Drop, u64)>> {
        let now = self.datapath.drops()?;
        let before = std::mem::replace(&mut self.drops, now);
        let added =
            Drop::ALL.into_iter().map(|reason| (reason, now[reason as usize] - before[reason as usize]));
        Ok(added.filter(|(_, count)| *count != 0).collect())
    }
}

fn load(path: &Path, extra: bool) -> Result<Datapath> {
    let object = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Datapath::unattached_from(&object, extra).with_context(|| format!("load {}", path.display()))
}

/// The verdict of an XDP action; none for one that the fast path must never return.
pub fn verdict(action: u32) -> Option<Verdict> {
    match action {
        1 => Some(Verdict::Drop),
        2 => Some(Verdict::Pass),
        3 => Some(Verdict::Tx),
        _ => None,
    }
}

/// What differs between model and program, or none.
pub fn difference(expected: &Outcome, observed: &Observed) -> Option<String> {
    let mut text = String::new();
    let mut note = |what: &str, expected: &dyn std::fmt::Debug, observed: &dyn std::fmt::Debug| {
        let _ = writeln!(text, "  {what}\n    expected {expected:?}\n    observed {observed:?}");
    };
    if verdict(observed.action) != Some(expected.verdict) {
        note("verdict", &expected.verdict, &verdict(observed.action).ok_or(observed.action));
    } else if expected.verdict != Verdict::Drop && expected.frame != observed.frame {
        note("frame", &hex(&expected.frame), &hex(&observed.frame));
    }
    let counted: Vec<_> = expected.counted.into_iter().collect();
    if counted != observed.counted {
        note("counters", &counted, &observed.counted);
    }
    let one_of_the_reasons = match observed.drops[..] {
        [] => expected.reasons.is_empty(),
        [(reason, 1)] => expected.reasons.contains(&reason),
        _ => false,
    };
    if !one_of_the_reasons {
        note("drop", &expected.reasons, &observed.drops);
    }
    let events: Vec<_> = expected.event.into_iter().collect();
    if events != observed.events {
        note("event", &events, &observed.events);
    }
    (!text.is_empty()).then_some(text)
}

/// Octets as text.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

fn configured(service: &Service) -> datapath::Service {
    datapath::Service {
        address: service.address,
        vlan: service.vlan.clone(),
        ports: service.ports.clone(),
        override_flag: service.override_flag,
        router: service.router,
        source: service.source,
        delayed: service.delayed,
    }
}

/// The map `LIMITS` of a loaded program, which user space has no other business with.
fn limits(program_id: u32) -> Result<PerCpuArray<MapData, Limits>> {
    let is_ours = |info: &ProgramInfo| info.id() == program_id;
    let program =
        loaded_programs().filter_map(Result::ok).find(is_ours).context("the program is not loaded")?;
    for id in program.map_ids()?.context("the kernel does not tell the program's maps")? {
        if MapInfo::from_id(id)?.name_as_str() == Some("LIMITS") {
            return Ok(PerCpuArray::try_from(Map::from_map_data(MapData::from_id(id)?)?)?);
        }
    }
    bail!("the program has no such map")
}

fn added(now: &Counters, before: &Counters) -> Counters {
    Counters {
        solicitations_multicast: now.solicitations_multicast - before.solicitations_multicast,
        solicitations_unicast: now.solicitations_unicast - before.solicitations_unicast,
        solicitations_dad: now.solicitations_dad - before.solicitations_dad,
        answered: now.answered - before.answered,
        refused_shut: now.refused_shut - before.refused_shut,
        refused_stale: now.refused_stale - before.refused_stale,
        refused_held: now.refused_held - before.refused_held,
        advertisements: now.advertisements - before.advertisements,
        queries: now.queries - before.queries,
        responses: now.responses - before.responses,
        tcp_syns: now.tcp_syns - before.tcp_syns,
        bytes: now.bytes - before.bytes,
        malformed: now.malformed - before.malformed,
        fragments: now.fragments - before.fragments,
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .unwrap_or_else(|error| panic!("read CLOCK_MONOTONIC: {error}"));
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}
