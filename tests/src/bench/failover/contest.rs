//! One after the other, each kind of event happens to the server that answers, while a client asks without a pause.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anycast_core::random::Random;
use anyhow::{Context as _, Result};

use super::silence::Silence;
use super::{Count, Figures, QUERY_INTERVAL};
use crate::bench::stats::Samples;
use crate::lab::farm::SERVICE;
use crate::lab::{Client, Cluster, Event, Record, wait_for, wait_until};

/// Longest time in which another server must answer, and in which everybody must be well again: keepalived with an
/// interval of a second takes the most.
const PATIENCE: Duration = Duration::from_secs(30);

/// Before the first event of a block nothing happens for this many queries.
const QUIET_QUERIES: usize = 4000;

/// A query that was sent this long before an event may have met it.
const UNDER_WAY: Duration = Duration::from_millis(100);

/// An event that happened.
struct Mark {
    event: Event,
    /// The end of the last one, or of the quiet time.
    began: Instant,
    at: Instant,
    /// The first answer of another server.
    taken_over: Instant,
    /// When everybody was well again.
    ended: Instant,
}

/// What one kind of software has shown so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    takeovers: BTreeMap<Event, Samples>,
    pub(super) planned: Count,
    /// Queries while nothing had yet happened in a block.
    pub(super) quiet: Count,
    /// Queries that no event explains, the quiet time's included.
    pub(super) lost_in_peace: usize,
    pub(super) silence: Silence,
}

impl Tally {
    /// How often a kind of event was measured.
    pub(super) fn runs(&self, event: Event) -> usize {
        self.takeovers.get(&event).map_or(0, Samples::len)
    }

    /// As a report has it.
    pub(super) fn figures(&self) -> Figures {
        let summary =
            |event| self.takeovers.get(&event).map_or_else(|| Samples::default().summary(), Samples::summary);
        Figures {
            process_killed_ms: summary(Event::ProcessKilled),
            service_hung_ms: summary(Event::ServiceHung),
            link_cut_ms: summary(Event::LinkCut),
            daemon_killed_ms: summary(Event::DaemonKilled),
            planned_ms: summary(Event::Planned),
            planned: self.planned,
            quiet: self.quiet,
            lost_in_peace: self.lost_in_peace,
        }
    }
}

/// What a block is made of.
pub(super) struct Block<'a> {
    /// The events, in order.
    pub(super) events: &'a [Event],
    /// Each event comes at a random time within this much, so that no phase of a timer is preferred.
    pub(super) phase: Duration,
    /// The lease after which the fast path of a killed daemon must be silent; none where there is no fast path.
    pub(super) lease: Option<Duration>,
}

impl Block<'_> {
    /// Runs the events against what runs in the cluster.
    ///
    /// # Errors
    /// No other server answers, or the cluster does not get well again.
    pub(super) fn run(&self, cluster: &mut Cluster, random: &mut Random, tally: &mut Tally) -> Result<()> {
        cluster.settled(PATIENCE)?;
        let client = Client::start(&cluster.farm.client, SERVICE, QUERY_INTERVAL)?;
        wait_until("the quiet time", PATIENCE, || client.counts().0 >= QUIET_QUERIES)?;
        let quiet_until = Instant::now();
        let mut began = quiet_until;
        let mut marks = Vec::new();
        for &event in self.events {
            let mark = self.one(cluster, &client, event, began, random, tally)?;
            began = mark.ended;
            marks.push(mark);
        }
        record(&client.stop(), quiet_until, &marks, tally);
        Ok(())
    }

    fn one(
        &self,
        cluster: &mut Cluster,
        client: &Client,
        event: Event,
        began: Instant,
        random: &mut Random,
        tally: &mut Tally,
    ) -> Result<Mark> {
        let owner = answering(cluster, client)?;
        let victim = cluster.farm.servers[owner].name.clone();
        // Not a wait for anything: the event must fall at a random moment between two heartbeats.
        std::thread::sleep(random.up_to(self.phase));
        let at = cluster.strike(event, owner)?;
        let taken_over = wait_for("another server answers", PATIENCE, || {
            client.first_answer_of_another(&victim, at).map(|(at, _)| at)
        })
        .with_context(|| format!("{event:?} of {victim}"))?;
        if let (Event::DaemonKilled, Some(lease)) = (event, self.lease) {
            tally.silence.listen(&cluster.farm, owner, at + lease)?;
        }
        cluster.repair(event, owner)?;
        cluster.settled(PATIENCE).with_context(|| format!("after {event:?} of {victim}"))?;
        Ok(Mark { event, began, at, taken_over, ended: Instant::now() })
    }
}

/// Waits until everybody is well and the client hears the owner, and tells which server that is.
pub(super) fn answering(cluster: &Cluster, client: &Client) -> Result<usize> {
    wait_for("the owner answers", PATIENCE, || {
        let owner = cluster.owner()?;
        (client.last_server()? == cluster.farm.servers[owner].name).then_some(owner)
    })
}

fn record(record: &Record, quiet_until: Instant, marks: &[Mark], tally: &mut Tally) {
    tally.quiet += Count::of(&record.between(None, Some(quiet_until)));
    for mark in marks {
        let took = mark.taken_over.saturating_duration_since(mark.at);
        tally.takeovers.entry(mark.event).or_default().push(took.as_secs_f64() * 1e3);
        if mark.event == Event::Planned {
            tally.planned += Count::of(&record.between(Some(mark.began), Some(mark.ended)));
        }
    }
    let lost = record.queries.iter().filter(|query| query.answered.is_none());
    let explained =
        |sent: Instant| marks.iter().any(|mark| sent + UNDER_WAY >= mark.at && sent < mark.taken_over);
    tally.lost_in_peace += lost.filter(|query| !explained(query.sent)).count();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::client::Asked;

    #[test]
    fn an_event_explains_what_is_lost_until_another_server_answers_and_no_more() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let queries = (0..1000).map(|ms| Asked {
            sent: at(ms),
            answered: (!(400..430).contains(&ms) && ms != 800).then(|| (at(ms + 1), "s1".to_owned())),
        });
        let mark = |event| Mark { event, began: at(100), at: at(400), taken_over: at(430), ended: at(900) };
        for (event, planned) in
            [(Event::LinkCut, Count::default()), (Event::Planned, Count { sent: 800, lost: 31 })]
        {
            let mut tally = Tally::default();
            record(
                &Record { queries: queries.clone().collect(), duplicates: 0 },
                at(100),
                &[mark(event)],
                &mut tally,
            );
            assert_eq!(tally.lost_in_peace, 1);
            assert_eq!(tally.quiet, Count { sent: 100, lost: 0 });
            assert_eq!(tally.planned, planned);
            assert_eq!(tally.takeovers[&event].median(), 30.0);
        }
    }
}
