//! Who owns the address: hearing an owner, missing one, the contest for its place.

use std::cmp::Reverse;
use std::time::Duration;

use crate::Time;
use crate::config::{Mode, PRIORITY_DEFAULT, SLICE_MIN, ServerId};
use crate::event::{Action, Alarm, Reason, State};
use crate::heartbeat::{Report, SUCCESSORS_MAX};
use crate::machine::link::Link;
use crate::machine::load::MEMORY;
use crate::machine::service::{Context, Input, Phase, Rival, STEP, STEPS_MAX, Service};
use crate::machine::timer::Timer;
use crate::random::mix;
use crate::status::Owner;

/// A candidate that hears nobody while the owner is silent, though there are others to hear, may be deaf itself: it lets
/// the others go first by this much, if at least other frames show that its link receives …
const DEAF: Duration = Duration::from_secs(1);

/// … and by this much if nothing does. It cannot wait forever: the others may all be dead.
const STONE_DEAF: Duration = Duration::from_secs(5);

/// An owner that received nothing for this long, where the last one got many queries, gives way …
const DEAF_REIGN: Duration = Duration::from_secs(2);

/// … many being this many a second.
const MANY_QUERIES: u32 = 10;

/// The longest it then waits before it tries again.
const HUSH_MAX: Duration = Duration::from_secs(300);

/// An owner is congested this long before it gives way …
const CONGESTED_HOLD: Duration = Duration::from_secs(3);

/// … to a server whose predicted load is below this permille of its own.
const CONGESTED_MARGIN: u32 = 800;

/// Candidates that wait all steps spread over up to this much more.
const SPREAD_MAX: Duration = Duration::from_millis(200);

/// A foreign owner that has not advertised for this long owns no more.
const FOREIGN: Duration = Duration::from_secs(60);

/// An epoch this far above the highest known one is followed only so far: one forged datagram must not use all epochs up.
const EPOCH_STEP_MAX: u64 = 1 << 24;

impl Service {
    /// A peer's report about this service arrived.
    pub(crate) fn hear(&mut self, server: ServerId, report: &Report, cx: &mut Context<'_>) {
        let epoch = self.note_epoch(server, report.epoch, cx);
        if let (Some(load), Some(mark), State::Owner) = (report.load, self.config.load, report.state)
            && load.permille >= self.wakes_above(mark.congested_above)
        {
            self.step(Input::Woken(Reason::OwnerCongested(server)), cx);
        }
        if self.config.mode == Mode::Solicited {
            self.answerers_changed(cx);
            return;
        }
        if report.state == State::Owner {
            self.step(Input::OwnerHeard(Rival { server, epoch }), cx);
        } else if self.owner.is_some_and(|owner| owner.server == server) {
            if !report.successors.is_empty() {
                self.successors.clone_from(&report.successors);
            }
            self.owner_yielded(server, cx);
        }
        self.claims_heard(server, report, cx.now);
        if report.suspect && (self.owns() || self.successors.contains(&cx.server)) {
            // An owner shows that it lives, a successor that the asker is not deaf.
            cx.link.answer_each(cx.now, STEP / 2);
        }
    }

    /// A peer left the farm.
    pub(crate) fn left(&mut self, server: ServerId, cx: &mut Context<'_>) {
        if self.owner.is_some_and(|owner| owner.server == server) {
            self.owner_yielded(server, cx);
        }
    }

    /// Some peer was heard on the link: this server is not deaf.
    pub(crate) fn heard_somebody(&mut self, cx: &mut Context<'_>) {
        if self.deaf
            && let Some(reason) = self.contest.take()
        {
            self.deaf = false;
            self.contend(reason, cx);
            self.silence = None;
        }
    }

    /// A frame for the service address was seen: the link receives.
    pub(crate) fn received(&mut self, now: Time) {
        self.received = Some(now);
        self.hushed = Duration::ZERO;
        if let (true, Some(silence), Some(at)) = (self.deaf, self.silence, self.timers.at(Timer::Contest)) {
            self.timers.arm(Timer::Contest, at.min(now.max(silence + DEAF)));
        }
    }

    /// Notes who owns. Ends a contest, and arms what follows from the owner's report.
    pub(crate) fn note_owner(&mut self, rival: Rival, cx: &mut Context<'_>) {
        if let Some(owner) = self.owner
            && owner.server != rival.server
            && (owner.epoch, owner.server) > (rival.epoch, rival.server)
        {
            // Two owners: the one with the higher (epoch, id) will stay.
            return;
        }
        if self.owner.is_none_or(|owner| owner.server != rival.server) {
            let before = self.owner.map_or(cx.server, |owner| owner.server);
            cx.link.requeue(self.slot, &[before]);
            self.moved(cx.now, Owner::Peer(rival.server));
        }
        self.owner = Some(rival);
        self.foreign = None;
        self.deaf = false;
        self.silence = None;
        self.contest = None;
        self.woken = false;
        self.timers.disarm(Timer::Contest);
        self.timers.disarm(Timer::Foreign);
        if let Some(peer) = cx.link.peer(rival.server) {
            self.timers.arm(Timer::Silent, peer.deadline() + cx.tolerance());
        }
        let Some(known) = cx.link.report(cx.now, rival.server, self.slot) else { return self.dispel() };
        self.successors.clone_from(&known.report.successors);
        self.owner_rate = known.report.load.map_or(0, |load| load.rate);
        let place = self.successors.iter().position(|successor| *successor == cx.server);
        match (self.config.mode, self.phase, known.report.slice_left, place) {
            (Mode::Rotate { .. }, Phase::Ready, Some(left), Some(place)) => {
                // The first takes over when the slice ends, the others if it does not.
                let late =
                    if place == 0 { Duration::ZERO } else { STEP * place as u32 + cx.random.up_to(STEP / 2) };
                // Read after this process stood still it may be old news: the datagrams behind it come first.
                self.timers.arm(Timer::Slice, (cx.now + left + late).max(self.caught_up));
            }
            _ => self.timers.disarm(Timer::Slice),
        }
        self.trust(cx);
        match self.preempts_at(cx) {
            Some(at) => self.timers.arm(Timer::Preempt, at.max(self.caught_up)),
            None => self.timers.disarm(Timer::Preempt),
        }
    }

    /// A server of other software advertises: it owns until it has been silent for long.
    pub(crate) fn note_foreign(&mut self, mac: [u8; 6], cx: &mut Context<'_>) {
        self.moved(cx.now, Owner::Foreign(mac));
        self.foreign = Some(mac);
        self.owner = None;
        self.contest = None;
        self.dispel();
        self.timers.disarm(Timer::Silent);
        self.timers.disarm(Timer::Contest);
        self.timers.disarm(Timer::Slice);
        self.timers.disarm(Timer::Preempt);
        self.timers.arm(Timer::Foreign, cx.now + FOREIGN);
    }

    /// The owner has been silent for three of its intervals or left questions unanswered, or none came up while this server
    /// stood by.
    pub(crate) fn owner_silent(&mut self, cx: &mut Context<'_>) {
        self.timers.disarm(Timer::Silent);
        self.timers.disarm(Timer::Slice);
        self.timers.disarm(Timer::Preempt);
        let reason = self.owner.take().map_or(Reason::NoOwner, |owner| Reason::OwnerSilent(owner.server));
        self.step(Input::OwnerLost(reason), cx);
    }

    fn owner_yielded(&mut self, server: ServerId, cx: &mut Context<'_>) {
        self.owner = None;
        self.dispel();
        self.timers.disarm(Timer::Silent);
        self.timers.disarm(Timer::Slice);
        self.timers.disarm(Timer::Preempt);
        self.step(Input::OwnerLost(Reason::OwnerYielded(server)), cx);
    }

    /// When this server takes over from an owner of lower priority, if it does: it has been ready for the configured time by
    /// then, pays no penalty, and would not be congested by what the owner serves now. Servers of higher priority go first.
    fn preempts_at(&self, cx: &Context<'_>) -> Option<Time> {
        let delay = self.config.preempt_delay?;
        let owner = cx.link.report(cx.now, self.owner?.server, self.slot)?;
        if self.phase != Phase::Ready || owner.report.priority >= self.config.priority {
            return None;
        }
        let mark = self.config.load.map_or(u16::MAX, |load| load.congested_above);
        if self.gauge.predict_at(self.owner_rate) >= mark {
            return None;
        }
        let place = |priority: u8, server: ServerId| (Reverse(priority), self.hash(server));
        let mine = place(self.config.priority, cx.server);
        let before = cx.link.reports(cx.now, self.slot).filter(|(server, known)| {
            let report = &known.report;
            report.state == State::Ready && !report.last && place(report.priority, *server) < mine
        });
        let at = (self.since + delay).max(self.penalty_until.unwrap_or(self.since));
        Some(at + STEP * before.count().min(STEPS_MAX) as u32)
    }

    /// Ready for long enough: takes over by advertising, and the owner gives way when it hears that, as when a slice ends.
    pub(crate) fn preempt(&mut self, cx: &mut Context<'_>) {
        let Some(owner) = self.owner else { return };
        match self.preempts_at(cx) {
            Some(at) if at <= cx.now => self.take_over(Reason::Preempted(owner.server), cx),
            Some(at) => self.timers.arm(Timer::Preempt, at),
            None => {}
        }
    }

    /// Nobody owns: waits for this server's turn. Whoever comes first ends it by being heard.
    pub(crate) fn contend(&mut self, reason: Reason, cx: &mut Context<'_>) {
        if self.config.mode == Mode::Solicited {
            return;
        }
        let silent = match reason {
            Reason::OwnerSilent(server) => Some(server),
            _ => None,
        };
        let (rank, candidates) = self.rank(silent, cx);
        let questioned = self.questioned();
        let mut wait = STEP * rank.min(STEPS_MAX) as u32;
        if rank > 0 {
            wait += cx.random.up_to(STEP / 2);
        }
        if let Some(more) = candidates.checked_sub(STEPS_MAX)
            && rank >= STEPS_MAX
        {
            wait += cx.random.up_to((STEP / 2).saturating_mul(more as u32).min(SPREAD_MAX));
        }
        if let Some(server) = silent {
            // One step for the owner to answer the first candidate's question, and for this server to hear others; less for
            // one that has asked already.
            let answer = questioned.filter(|_| rank == 0).map(|until| until.since(cx.now));
            wait += answer.map_or(STEP, |answer| answer.min(STEP));
            self.suspect = rank == 0;
            self.silence = cx.link.peer(server).map(|peer| peer.heard);
            if rank < STEPS_MAX {
                cx.link.urgent = true;
            }
        }
        self.contest = Some(reason);
        self.put_off = false;
        self.timers.arm(Timer::Contest, cx.now + wait);
    }

    /// This server's turn in the contest.
    pub(crate) fn contest_over(&mut self, cx: &mut Context<'_>) {
        let reason = self.contest.take().unwrap_or(Reason::NoOwner);
        if let (Some(silence), Reason::OwnerSilent(owner), false) = (self.silence, &reason, self.deaf)
            && self.cut_off(silence, *owner, cx)
        {
            let receives = self.received.is_some_and(|received| received > silence);
            self.deaf = true;
            self.suspect = false;
            self.contest = Some(reason);
            self.timers.arm(Timer::Contest, cx.now + if receives { DEAF } else { STONE_DEAF });
            return;
        }
        self.take_over(reason, cx);
    }

    /// Becomes the owner.
    pub(crate) fn take_over(&mut self, reason: Reason, cx: &mut Context<'_>) {
        let before = self.owner.take();
        // The queue as the last owner saw it: its successors, then the others, then itself.
        let mut order = self.successors.clone();
        let mut others = cx.link.reports(cx.now, self.slot).collect::<Vec<_>>();
        others.sort_by_key(|(_, known)| known.queued);
        order.extend(
            others.into_iter().map(|(server, _)| server).filter(|server| !self.successors.contains(server)),
        );
        if let Some(before) = before {
            order.retain(|server| *server != before.server);
            order.push(before.server);
        }
        cx.link.requeue(self.slot, &order);
        self.epoch = self.epoch.saturating_add(1);
        self.reign = self.epoch;
        self.takeovers += 1;
        self.enter(Phase::Owner, reason, cx);
        cx.actions.push(Action::PersistEpoch { service: self.id, epoch: self.epoch });
    }

    /// What begins with ownership.
    pub(crate) fn reign(&mut self, cx: &mut Context<'_>) {
        self.owner = None;
        self.foreign = None;
        self.woken = false;
        self.inherit_routers();
        self.moved(cx.now, Owner::This);
        if let Mode::Rotate { slice } = self.config.mode {
            self.slice_end = Some(cx.now + slice);
        }
        self.begin_advertising(cx);
    }

    /// Can another server take over?
    pub(crate) fn candidates(&self, cx: &Context<'_>) -> bool {
        let mut reports = cx.link.reports(cx.now, self.slot);
        reports.any(|(_, known)| matches!(known.report.state, State::Ready | State::Standby | State::Owner))
    }

    /// Was there one before this process stood still?
    pub(crate) fn had_candidates(&self, cx: &Context<'_>) -> bool {
        let before = self.timers.at(Timer::Lease).unwrap_or(cx.now);
        let mut reports = cx.link.reports(before, self.slot);
        reports.any(|(_, known)| matches!(known.report.state, State::Ready | State::Standby | State::Owner))
    }

    /// `solicited`: does another server answer?
    pub(crate) fn others_answer(&self, cx: &Context<'_>) -> bool {
        cx.link.reports(cx.now, self.slot).any(|(_, known)| known.report.state == State::Ready)
    }

    /// `solicited`: may this server stand by? Only behind one that goes before it, or all might do so in one moment.
    pub(crate) fn dispensable(&self, cx: &Context<'_>) -> bool {
        let mut reports = cx.link.reports(cx.now, self.slot);
        reports.any(|(server, known)| {
            // Not by epoch, which is nobody's here.
            known.report.state == State::Ready && mix(server.0) < mix(cx.server.0)
        })
    }

    /// `solicited`: the last server that answers may not stand by.
    pub(crate) fn answerers_changed(&mut self, cx: &mut Context<'_>) {
        if self.config.mode == Mode::Solicited && self.phase == Phase::Standby && !self.others_answer(cx) {
            self.step(Input::OwnerLost(Reason::NoOwner), cx);
        }
    }

    /// After each reading of the counters: is this owner congested, or deaf?
    pub(crate) fn judge(&mut self, cx: &mut Context<'_>) {
        if self.phase != Phase::Owner || self.config.mode == Mode::Solicited {
            return;
        }
        let reign = cx.now.since(self.since);
        if reign >= DEAF_REIGN
            && self.owner_rate >= MANY_QUERIES
            && self.received.is_none_or(|received| received < self.since)
            && cx.link.heard.is_none_or(|heard| heard < self.since)
        {
            self.step(Input::NothingReceived, cx);
        } else if reign >= SLICE_MIN
            && !self.config.per_router
            && self.gauge.congested(cx.now, CONGESTED_HOLD)
        {
            let ready = cx.link.reports(cx.now, self.slot).filter(|(_, known)| {
                matches!(known.report.state, State::Ready | State::Standby) && !known.report.last
            });
            let best = ready
                .map(|(server, known)| {
                    let predicted = self.gauge.predict(known.report.load.map_or(0, |load| load.capacity));
                    let remembered = known.owned.filter(|(at, _)| cx.now.since(*at) < MEMORY);
                    (predicted.max(remembered.map_or(0, |(_, permille)| permille)), server)
                })
                .min();
            if let Some((predicted, heir)) = best
                && u32::from(predicted) * 1000 < u32::from(self.gauge.permille()) * CONGESTED_MARGIN
            {
                self.step(Input::Congested(heir), cx);
            }
        }
    }

    /// After a reign in which nothing was received: lets everybody else go first, each time for longer.
    pub(crate) fn hush(&mut self, cx: &mut Context<'_>) {
        self.hushed = (self.hushed * 2).clamp(STONE_DEAF, HUSH_MAX);
        self.deaf = true;
        self.silence = Some(cx.now);
        self.contest = Some(Reason::NoOwner);
        self.timers.arm(Timer::Contest, cx.now + self.hushed);
    }

    /// Who takes over, first to last: ready peers by priority, then in the order in which they joined the queue.
    pub(crate) fn name_successors(&self, now: Time, link: &Link) -> Vec<ServerId> {
        let ready = link.reports(now, self.slot).filter(|(_, known)| known.report.state == State::Ready);
        let mut ready = ready
            .map(|(server, known)| {
                let report = &known.report;
                (report.last, Reverse(self.ranks(report.priority)), known.queued, server)
            })
            .collect::<Vec<_>>();
        ready.sort_unstable();
        let queue = ready.into_iter().map(|(.., server)| server).filter(|server| Some(*server) != self.heir);
        self.heir.into_iter().chain(queue).take(SUCCESSORS_MAX).collect()
    }

    /// How many candidates go before this server, and how many there are besides it.
    pub(crate) fn rank(&self, silent: Option<ServerId>, cx: &Context<'_>) -> (usize, usize) {
        let place = |server: ServerId, last: bool, priority: u8| {
            let named = self.successors.iter().position(|successor| *successor == server);
            (named.unwrap_or(usize::MAX), last, Reverse(self.ranks(priority)), self.hash(server))
        };
        let mine = place(cx.server, self.last(cx.now), self.config.priority);
        let mut rank = 0;
        let mut candidates = 0;
        for (server, known) in cx.link.reports(cx.now, self.slot) {
            let report = &known.report;
            if Some(server) == silent || !matches!(report.state, State::Ready | State::Standby) {
                continue;
            }
            candidates += 1;
            let last = report.last || report.state == State::Standby;
            rank += usize::from(place(server, last, report.priority) < mine);
        }
        (rank, candidates)
    }

    /// What a priority counts: only where owners stay; who takes turns has them by the queue.
    fn ranks(&self, priority: u8) -> u8 {
        if self.config.mode == Mode::Failover { priority } else { PRIORITY_DEFAULT }
    }

    /// Orders candidates that no owner named, in an order that changes with each reign and address. Part of the protocol.
    fn hash(&self, server: ServerId) -> u64 {
        let address = match self.config.address {
            std::net::IpAddr::V6(address) => address.to_bits(),
            std::net::IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        };
        let mut hash = mix(u64::from(self.config.vlan));
        hash = mix(hash ^ address as u64);
        hash = mix(hash ^ (address >> 64) as u64);
        hash = mix(hash ^ self.epoch);
        mix(hash ^ server.0)
    }

    /// The epoch a peer reports, bounded.
    pub(crate) fn note_epoch(&mut self, server: ServerId, epoch: u64, cx: &mut Context<'_>) -> u64 {
        let limit = self.epoch.saturating_add(EPOCH_STEP_MAX);
        if epoch > limit {
            cx.alarm(Alarm::EpochJump { service: self.id, server, epoch });
        }
        let epoch = epoch.min(limit);
        self.epoch = self.epoch.max(epoch);
        epoch
    }
}
