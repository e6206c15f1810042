//! `anycast simulate`: scenario files, and what a simulation showed, for people and programs. The simulation itself is
//! `anycast_core::sim`.

mod options;
mod report;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anycast_core::config::SLICE_MIN;
use anycast_core::sim::{Deed, Network, Scenario, Selector, Step, Way};
use anycast_core::{Mode, StandbyConfig};
use thiserror::Error;
use toml::Spanned;

use crate::config::value::Time;
pub use crate::config::value::duration;
use crate::config::{Error as Wrong, Problem};
pub use report::{Report, render};

/// Most servers of a simulated farm; each remembers all others.
pub const SERVERS_MAX: usize = 4096;

/// Why a scenario cannot be simulated.
#[derive(Debug, Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the scenario {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file was read and is wrong.
    #[error(transparent)]
    Wrong(#[from] Wrong),
}

/// Reads a scenario file.
///
/// # Errors
/// It cannot be read, or says what cannot be.
pub fn load(path: &Path) -> Result<Scenario, Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(parse(path, &text)?)
}

/// Reads a scenario from text; `path` is for the messages.
///
/// # Errors
/// It says what cannot be.
pub fn parse(path: &Path, text: &str) -> Result<Scenario, Wrong> {
    let options: options::Options =
        toml::from_str(text).map_err(|error| Wrong::syntax(path, text, &error))?;
    let mut reader = Reader { path, text, problems: Vec::new() };
    let scenario = reader.scenario(&options);
    if reader.problems.is_empty() { Ok(scenario) } else { Err(Wrong::Wrong { problems: reader.problems }) }
}

/// Reads a mode's word; the slice is that of `rotate`.
pub fn mode(word: &str, slice: Duration) -> Result<Mode, String> {
    match word {
        "failover" => Ok(Mode::Failover),
        "rotate" => Ok(Mode::Rotate { slice }),
        "solicited" => Ok(Mode::Solicited),
        _ => Err(format!("{word:?} is no mode: write rotate, failover or solicited")),
    }
}

/// Turns options into a scenario and collects what is wrong.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn wrong(&mut self, span: Range<usize>, key: &str, what: impl Into<String>) {
        self.problems.push(Problem::at(self.path, self.text, span, key, what));
    }

    fn time(&mut self, into: &mut Duration, value: &Option<Spanned<Time>>) {
        if let Some(value) = value {
            *into = value.get_ref().0;
        }
    }

    /// A whole number from `least` up.
    fn number<T: TryFrom<i64>>(&mut self, key: &str, value: &Option<Spanned<i64>>, least: i64) -> Option<T> {
        let value = value.as_ref()?;
        let number = *value.get_ref();
        match T::try_from(number) {
            Ok(number_) if number >= least => Some(number_),
            _ => {
                self.wrong(
                    value.span(),
                    key,
                    format!("{number} does not fit: write a whole number from {least} up"),
                );
                None
            }
        }
    }

    /// A share between 0 and 1.
    fn share(&mut self, key: &str, value: &Option<Spanned<f64>>) -> Option<f64> {
        let value = value.as_ref()?;
        let share = *value.get_ref();
        if (0.0..=1.0).contains(&share) {
            return Some(share);
        }
        self.wrong(
            value.span(),
            key,
            format!("{share} is no share: write a number from 0 to 1, as 0.01 for 1 %"),
        );
        None
    }

    /// Numbers from 1 up, at least one.
    fn numbers(&mut self, key: &str, value: &Option<Spanned<Vec<i64>>>) -> Option<Vec<u32>> {
        let value = value.as_ref()?;
        let numbers =
            value.get_ref().iter().map(|number| u32::try_from(*number).ok().filter(|number| *number > 0));
        match numbers.collect::<Option<Vec<u32>>>() {
            Some(numbers) if !numbers.is_empty() => Some(numbers),
            _ => {
                self.wrong(value.span(), key, "write whole numbers from 1 up, as [1, 2, 3]");
                None
            }
        }
    }

    fn scenario(&mut self, options: &options::Options) -> Scenario {
        let mut scenario = Scenario::default();
        self.farm(&mut scenario, &options.farm);
        self.link(&mut scenario.network, &options.link);
        let run = &options.run;
        scenario.seed = self.number("run.seed", &run.seed, 0).unwrap_or(scenario.seed);
        scenario.rate = self.number("run.rate", &run.rate, 0).unwrap_or(scenario.rate);
        self.time(&mut scenario.boot, &run.boot);
        self.time(&mut scenario.warm_up, &run.warm_up);
        self.time(&mut scenario.duration, &run.duration);
        if scenario.duration.is_zero() {
            let span = run.duration.as_ref().map_or(0..0, Spanned::span);
            self.wrong(span, "run.duration", "is zero: nothing would be seen");
        }
        let bound = |value: &Option<Spanned<Time>>| value.as_ref().map(|value| value.get_ref().0);
        scenario.bounds.ownerless = bound(&options.bounds.ownerless);
        scenario.bounds.ownerless_alone = bound(&options.bounds.ownerless_alone);
        scenario.bounds.owners = bound(&options.bounds.owners);
        for step in &options.step {
            if let Some(step) = self.step(step.get_ref(), scenario.farm.servers) {
                scenario.steps.push(step);
            }
        }
        scenario
    }

    fn farm(&mut self, scenario: &mut Scenario, options: &options::Farm) {
        let farm = &mut scenario.farm;
        farm.servers = self.number("farm.servers", &options.servers, 1).unwrap_or(farm.servers);
        if let (Some(servers), true) = (&options.servers, farm.servers > SERVERS_MAX) {
            self.wrong(
                servers.span(),
                "farm.servers",
                format!("at most {SERVERS_MAX} servers can be simulated"),
            );
            farm.servers = 1;
        }
        let mut slice = Duration::from_secs(60);
        self.time(&mut slice, &options.slice);
        if slice < SLICE_MIN {
            let span = options.slice.as_ref().map_or(0..0, Spanned::span);
            self.wrong(span, "farm.slice", "is shorter than 1s, the distance of two advertisements");
        }
        farm.mode = Mode::Rotate { slice };
        if let Some(word) = &options.mode {
            match mode(word.get_ref(), slice) {
                Ok(mode) => farm.mode = mode,
                Err(what) => self.wrong(word.span(), "farm.mode", what),
            }
        }
        self.time(&mut farm.heartbeat, &options.heartbeat);
        self.time(&mut farm.lease, &options.lease);
        self.time(&mut farm.detection, &options.detection);
        farm.keys = options.keys;
        farm.weights = self.numbers("farm.weights", &options.weights).unwrap_or_default();
        farm.capacities = self.numbers("farm.capacity", &options.capacity).unwrap_or_default();
        if let Some(share) = self.share("farm.congested_above", &options.congested_above) {
            farm.congested_above = ((share * 1000.0).round() as u16).max(1);
        }
        if let Some(standby) = &options.standby {
            let queries = Some(standby.get_ref().queries.clone());
            let queries = self.number("farm.standby.queries", &queries, 1).unwrap_or(1);
            farm.standby = Some(StandbyConfig {
                queries,
                window: standby.get_ref().window.get_ref().0,
                wake_timeout: None,
            });
        }
        // What only the configuration itself knows, such as the shortest heartbeat.
        if let Err(error) = farm.configs().iter().try_for_each(anycast_core::Config::validate)
            && self.problems.is_empty()
        {
            self.wrong(self.text.find("[farm]").map_or(0..0, |at| at..at), "farm", error.to_string());
        }
    }

    fn link(&mut self, network: &mut Network, options: &options::Link) {
        self.time(&mut network.delay, &options.latency);
        self.time(&mut network.jitter, &options.jitter);
        network.loss = self.share("link.loss", &options.loss).unwrap_or(network.loss);
        network.duplication =
            self.share("link.duplication", &options.duplication).unwrap_or(network.duplication);
        network.reordering = self.share("link.reordering", &options.reordering).unwrap_or(network.reordering);
        network.loss_run = self.number("link.loss_run", &options.loss_run, 0).unwrap_or(network.loss_run);
        network.drift = self.number("link.drift", &options.drift, 0).unwrap_or(network.drift);
        if let (Some(drift), true) = (&options.drift, network.drift > 10_000) {
            self.wrong(
                drift.span(),
                "link.drift",
                "is more than 10000 parts per million: no clock is so bad",
            );
            network.drift = 0;
        }
    }

    fn step(&mut self, options: &options::Step, servers: usize) -> Option<Step> {
        let word = options.deed.get_ref();
        let Some(mut deed) = Deed::from_name(word) else {
            let known = Deed::ALL.map(Deed::name).join(", ");
            self.wrong(
                options.deed.span(),
                "step.do",
                format!("{word:?} cannot be done: write one of {known}"),
            );
            return None;
        };
        let misplaced = [
            ("loss", options.loss.as_ref().map(Spanned::span), matches!(deed, Deed::Cut { .. })),
            ("way", options.way.as_ref().map(Spanned::span), matches!(deed, Deed::Cut { .. })),
            ("rate", options.rate.as_ref().map(Spanned::span), matches!(deed, Deed::Rate(_))),
            (
                "server",
                options.server.as_ref().map(Spanned::span),
                !matches!(deed, Deed::Rate(_) | Deed::Solicit),
            ),
        ];
        for (key, span, fits) in misplaced {
            if let (Some(span), false) = (span, fits) {
                self.wrong(span, &format!("step.{key}"), format!("means nothing to `{word}`: remove it"));
            }
        }
        match &mut deed {
            Deed::Rate(rate) => match self.number("step.rate", &options.rate, 0) {
                Some(given) => *rate = given,
                None if options.rate.is_some() => {}
                None => {
                    self.wrong(options.deed.span(), "step", "`rate` wants the key rate, queries per second")
                }
            },
            Deed::Cut { way, loss } => {
                *loss = self.share("step.loss", &options.loss).unwrap_or(*loss);
                if let Some(given) = &options.way {
                    match [Way::Out, Way::In, Way::Both].into_iter().find(|way| way.name() == given.get_ref())
                    {
                        Some(given) => *way = given,
                        None => self.wrong(given.span(), "step.way", "write out, in or both"),
                    }
                }
            }
            _ => {}
        }
        let on = options.server.as_ref().map_or(Selector::Owner, |server| server.get_ref().0);
        if let (Selector::Numbers(from, _), Some(server)) = (on, &options.server)
            && from >= servers
        {
            self.wrong(
                server.span(),
                "step.server",
                format!("there is no server {from}: they are 0 to {}", servers - 1),
            );
        }
        if let Some(every) = options.every.as_ref().filter(|every| every.get_ref().0.is_zero()) {
            self.wrong(every.span(), "step.every", "is zero: it would never end");
        }
        let time = |value: &Option<Spanned<Time>>| value.as_ref().map(|value| value.get_ref().0);
        Some(Step {
            at: options.at.get_ref().0,
            deed,
            on,
            lasts: time(&options.lasts),
            every: time(&options.every),
            times: self.number("step.times", &options.times, 1),
            spacing: time(&options.spacing).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use anycast_core::sim::history;

    use super::*;

    fn read(text: &str) -> Result<Scenario, String> {
        parse(Path::new("farm.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(read(""), Ok(Scenario::default()));
    }

    #[test]
    fn what_is_written_reads_back() {
        for seed in 0..300 {
            let mut scenario = history::random(seed);
            scenario.farm.keys = seed % 2 == 0;
            assert_eq!(read(&scenario.to_string()), Ok(scenario));
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, what) in [
            ("[farm]\nserver = 3", 2, "did you mean `servers`?"),
            ("[farm]\nservers = 0", 2, "whole number from 1"),
            ("[farm]\nservers = 100000", 2, "at most 4096"),
            ("[farm]\n\nmode = \"rotating\"", 3, "no mode"),
            ("[farm]\nslice = \"10ms\"", 2, "shorter than 1s"),
            ("\n[farm]\nheartbeat = \"1ms\"", 2, "heartbeat"),
            ("[link]\nloss = 1.5", 2, "from 0 to 1"),
            ("[[step]]\nat = \"1s\"\ndo = \"explode\"", 3, "cannot be done"),
            ("[[step]]\nat = \"1s\"\ndo = \"crash\"\nserver = \"boss\"", 4, "no server"),
            ("[[step]]\nat = \"1s\"\ndo = \"crash\"\nserver = 9", 4, "no server 9"),
            ("[[step]]\nat = \"1s\"\ndo = \"crash\"\nloss = 0.5", 4, "means nothing"),
            ("[[step]]\nat = \"1s\"\ndo = \"crash\"\nevery = \"0s\"", 4, "never end"),
            ("[[step]]\nat = \"1s\"\ndo = \"rate\"", 3, "wants the key rate"),
            ("[[step]]\ndo = \"crash\"", 1, "missing field `at`"),
        ] {
            let said = read(text).expect_err(text);
            assert!(said.starts_with(&format!("farm.toml:{line}: ")), "{text:?}: {said}");
            assert!(said.contains(what), "{text:?}: {said}");
        }
    }
}
