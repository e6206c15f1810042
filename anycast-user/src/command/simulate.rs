//! `anycast simulate`: a farm on a virtual link, to plan one or to play a scenario.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anycast_core::Mode;
use anycast_core::sim::{self, Deed, Figures, Scenario, Selector, Step};
use anycast_user::simulate::{self, Report, SERVERS_MAX};
use anyhow::Context;

use crate::cli::Simulate;
use crate::command::Usage;
use crate::output;

/// Runs the scenario and prints what it showed. Exit code 1: a bound that the scenario sets was broken.
pub fn simulate(options: &Simulate) -> anyhow::Result<ExitCode> {
    let scenario = scenario(options)?;
    if options.print {
        output::print(&scenario.to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    let figures = run(&scenario, options.runs)?;
    if options.json {
        output::print_json(&Report::new(&scenario, &figures))?;
    } else {
        output::print(&simulate::render(&scenario, &figures))?;
    }
    Ok(ExitCode::from(u8::from(!figures.violations.is_empty())))
}

/// The scenario of the file, or a plain one, and what the options change of it.
fn scenario(options: &Simulate) -> anyhow::Result<Scenario> {
    let mut scenario = match &options.scenario {
        Some(path) => simulate::load(path)?,
        None => Scenario::default(),
    };
    let usage = |what: String| anyhow::Error::from(Usage(what));
    let farm = &mut scenario.farm;
    set(&mut farm.servers, options.servers.map(|servers| servers as usize));
    if farm.servers > SERVERS_MAX {
        return Err(usage(format!("--servers {}: at most {SERVERS_MAX} can be simulated", farm.servers)));
    }
    let slice = match (options.slice, farm.mode) {
        (Some(slice), _) | (None, Mode::Rotate { slice }) => slice,
        (None, _) => Duration::from_secs(60),
    };
    if let Some(word) = &options.mode {
        farm.mode = simulate::mode(word, slice).map_err(|what| usage(format!("--mode: {what}")))?;
    } else if options.slice.is_some() {
        farm.mode = Mode::Rotate { slice };
    }
    set(&mut farm.heartbeat, options.heartbeat);
    set(&mut farm.lease, options.lease);
    if !options.weights.is_empty() {
        farm.weights.clone_from(&options.weights);
    }
    if !options.capacity.is_empty() {
        farm.capacities.clone_from(&options.capacity);
    }
    farm.standby = options.standby.or(farm.standby);
    let network = &mut scenario.network;
    set(&mut network.delay, options.latency);
    set(&mut network.jitter, options.jitter);
    for (value, given, name) in [
        (&mut network.loss, options.loss, "--loss"),
        (&mut network.duplication, options.duplication, "--duplication"),
        (&mut network.reordering, options.reordering, "--reordering"),
    ] {
        if let Some(given) = given {
            if !(0.0..=1.0).contains(&given) {
                return Err(usage(format!(
                    "{name} {given} is no share: write a number from 0 to 1, as 0.01 for 1 %"
                )));
            }
            *value = given;
        }
    }
    set(&mut scenario.rate, options.qps);
    set(&mut scenario.seed, options.seed);
    set(&mut scenario.duration, options.duration);
    if let Some(every) = options.crash_every {
        if every.is_zero() {
            return Err(usage("--crash-every 0s would never end".to_owned()));
        }
        let crash = Step::once(every / 2, Deed::Crash, Selector::Owner);
        scenario.steps.push(Step { every: Some(every), lasts: Some(every / 2), ..crash });
    }
    let valid = scenario.farm.configs().iter().try_for_each(anycast_core::Config::validate);
    valid.map_err(|error| usage(error.to_string()))?;
    Ok(scenario)
}

fn set<T>(value: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *value = given;
    }
}

/// Runs it with this many seeds, on all cores; what came of each is added up in the order of the seeds.
fn run(scenario: &Scenario, runs: u32) -> anyhow::Result<Figures> {
    let next = AtomicU32::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let run = next.fetch_add(1, Ordering::Relaxed);
            if run >= runs {
                return Ok(done);
            }
            let seed = scenario.seed.wrapping_add(run.into());
            done.push((run, sim::run(&Scenario { seed, ..scenario.clone() })?));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(runs as usize);
    let results = std::thread::scope(|scope| {
        let threads = (0..cores).map(|_| scope.spawn(work)).collect::<Vec<_>>();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<_>, anycast_core::ConfigError>>()
    });
    let mut results =
        results.context("the scenario's farm cannot be")?.into_iter().flatten().collect::<Vec<_>>();
    results.sort_by_key(|(run, _)| *run);
    let mut figures = Figures::default();
    for (_, one) in results {
        figures.add(one);
    }
    Ok(figures)
}
