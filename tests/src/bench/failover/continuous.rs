//! What an operator does, again and again under load, and the rotation: nothing may be lost, and everybody gets his share.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anycast_user::control::Command;
use anyhow::{Context as _, Result};

use super::contest::answering;
use super::{Count, QUERY_INTERVAL};
use crate::bench::stats::round;
use crate::lab::daemon::ServiceOptions;
use crate::lab::farm::SERVICE;
use crate::lab::{Client, Cluster, DaemonOptions, Record, wait_for, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers of one server in a row that make a turn: around a move the last of the old server and the first of the new may mix.
const TURN_MIN: usize = 20;

/// How evenly the queries were spread.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Shares {
    /// Jain's index of the queries that four equal servers answered, over whole rounds; 1 is perfectly even.
    pub jain: f64,
    /// The largest relative difference between a server's share and its weight's, of three servers with weights 1, 2, 3.
    pub weighted_error: f64,
    /// Slices of the equal servers.
    pub slices: usize,
    /// Slices of the weighted servers.
    pub weighted_slices: usize,
}

/// `anycast drain` of the owner and `undrain`, until `queries` were sent.
///
/// # Errors
/// No other server takes over, or the farm does not get well again.
pub(super) fn drain(cluster: &mut Cluster, queries: usize) -> Result<Count> {
    under_load(cluster, queries, |cluster, client, owner| {
        let name = cluster.farm.servers[owner].name.clone();
        let at = Instant::now();
        cluster.request(owner, &Command::Drain { service: None })?;
        wait_until("another server answers", PATIENCE, || {
            client.first_answer_of_another(&name, at).is_some()
        })?;
        cluster.request(owner, &Command::Undrain { service: None })
    })
}

/// `anycast stop --keep` of the owner and start again, until `queries` were sent.
///
/// # Errors
/// The daemon does not end, or does not start.
pub(super) fn restart(cluster: &mut Cluster, queries: usize) -> Result<Count> {
    under_load(cluster, queries, |cluster, _, owner| cluster.restart_keeping(owner))
}

fn under_load(
    cluster: &mut Cluster,
    queries: usize,
    mut act: impl FnMut(&mut Cluster, &Client, usize) -> Result<()>,
) -> Result<Count> {
    cluster.settled(PATIENCE)?;
    let client = Client::start(&cluster.farm.client, SERVICE, QUERY_INTERVAL)?;
    while client.counts().0 < queries {
        let owner = answering(cluster, &client)?;
        act(cluster, &client, owner)?;
        cluster.settled(PATIENCE)?;
    }
    Ok(Count::of(&client.stop()))
}

/// `rotate` with slices of a second and these weights, for at least so many slices and queries.
///
/// # Errors
/// A server gets no turn.
pub(super) fn rotate(
    cluster: &mut Cluster,
    weights: &[u32],
    slices: usize,
    queries: usize,
) -> Result<(Count, Vec<Turn>)> {
    let options = |weight: &u32| {
        let mut service = ServiceOptions::new("dns", SERVICE);
        service.mode = "rotate".to_owned();
        service.more = format!("slice = \"1s\"\nweight = {weight}");
        DaemonOptions::with(service)
    };
    cluster.run_anycast(weights.iter().map(options).collect())?;
    // A settled moment suffices: from here on it moves by itself.
    cluster.settled(PATIENCE)?;
    let client = Client::start(&cluster.farm.client, SERVICE, QUERY_INTERVAL)?;
    let mut turns = 0;
    let mut last = None;
    while turns < slices || client.counts().0 < queries {
        let server = wait_for("the next server's turn", PATIENCE, || {
            client.last_server().filter(|server| Some(server) != last.as_ref())
        })?;
        last = Some(server);
        turns += 1;
    }
    let record = client.stop();
    let turns =
        whole_rounds(&turns_of(&record)).context("no whole round of turns: more slices are needed")?.to_vec();
    Ok((Count::of(&record), turns))
}

/// Queries that one server answered in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    server: String,
    queries: u64,
}

/// The record as turns, in the order the queries were sent.
fn turns_of(record: &Record) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut pending: Option<Turn> = None;
    for (_, server) in record.queries.iter().filter_map(|query| query.answered.as_ref()) {
        match &mut pending {
            Some(turn) if turn.server == *server => turn.queries += 1,
            _ => {
                keep(&mut turns, pending.take());
                pending = Some(Turn { server: server.clone(), queries: 1 });
            }
        }
    }
    keep(&mut turns, pending);
    turns
}

/// Adds a turn to those before it; one that is too short to be one belongs to its neighbour.
fn keep(turns: &mut Vec<Turn>, turn: Option<Turn>) {
    let Some(turn) = turn else { return };
    match turns.last_mut() {
        Some(last) if last.server == turn.server || (turn.queries as usize) < TURN_MIN => {
            last.queries += turn.queries;
        }
        _ => turns.push(turn),
    }
}

/// From the beginning of the first whole turn to the last beginning of the same server's: no server has a turn more than others.
fn whole_rounds(turns: &[Turn]) -> Option<&[Turn]> {
    let first = turns.get(1)?;
    let last = turns.iter().rposition(|turn| turn.server == first.server).filter(|last| *last > 1)?;
    Some(&turns[1..last])
}

/// Queries by server.
pub(super) fn by_server(turns: &[Turn]) -> BTreeMap<&str, u64> {
    let mut queries = BTreeMap::new();
    for turn in turns {
        *queries.entry(turn.server.as_str()).or_default() += turn.queries;
    }
    queries
}

/// Jain's index of what `servers` servers got; those that got nothing count too.
pub(super) fn jain(queries: &BTreeMap<&str, u64>, servers: usize) -> f64 {
    let sum: f64 = queries.values().map(|queries| *queries as f64).sum();
    let squares: f64 = queries.values().map(|queries| (*queries as f64).powi(2)).sum();
    round(sum * sum / (servers as f64 * squares))
}

/// The largest relative difference between a share and what the weight, by the server's number, entitles to.
pub(super) fn weighted_error(queries: &BTreeMap<&str, u64>, weights: &[u32]) -> f64 {
    let sum: f64 = queries.values().map(|queries| *queries as f64).sum();
    let weight_sum: u32 = weights.iter().sum();
    let errors = weights.iter().enumerate().map(|(number, weight)| {
        let got = queries.get(format!("s{}", number + 1).as_str()).copied().unwrap_or(0) as f64 / sum;
        let due = f64::from(*weight) / f64::from(weight_sum);
        (got / due - 1.0).abs()
    });
    // Of nothing, no share is known; a maximum would pass over that.
    if sum > 0.0 { round(errors.fold(0.0, f64::max)) } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::client::Asked;

    fn turns(of: &[(&str, u64)]) -> Vec<Turn> {
        of.iter().map(|(server, queries)| Turn { server: (*server).to_owned(), queries: *queries }).collect()
    }

    #[test]
    fn a_record_is_turns_and_strays_belong_to_their_neighbour() {
        let now = Instant::now();
        let answers = [("s1", 100), ("s2", 2), ("s1", 3), ("s2", 100), ("s1", 50)];
        let queries = answers.iter().flat_map(|(server, times)| {
            (0..*times).map(|_| Asked { sent: now, answered: Some((now, (*server).to_owned())) })
        });
        let record = Record { queries: queries.collect(), duplicates: 0 };
        assert_eq!(turns_of(&record), turns(&[("s1", 105), ("s2", 100), ("s1", 50)]));
    }

    #[test]
    fn only_whole_rounds_count() {
        let all = turns(&[("s1", 7), ("s2", 100), ("s1", 100), ("s2", 100), ("s1", 100), ("s2", 3)]);
        let whole = whole_rounds(&all).unwrap();
        assert_eq!(whole, &all[1..5]);
        assert_eq!(jain(&by_server(whole), 2), 1.0);
        assert_eq!(whole_rounds(&all[..3]), None);
    }

    #[test]
    fn shares_are_measured_against_equality_and_weights() {
        let all = turns(&[("s1", 100), ("s2", 200), ("s3", 300)]);
        assert_eq!(weighted_error(&by_server(&all), &[1, 2, 3]), 0.0);
        assert_eq!(weighted_error(&by_server(&all), &[1, 1, 1]), 0.5);
        assert!(weighted_error(&by_server(&[]), &[1, 1]).is_nan() && jain(&by_server(&[]), 2).is_nan());
        // (600)² / (3 · 140,000)
        assert_eq!(jain(&by_server(&all), 3), 0.857);
        assert_eq!(jain(&by_server(&all[..1]), 4), 0.25);
    }
}
