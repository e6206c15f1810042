//! One speaker and what surrounds it, in virtual time on links that lose nothing.

mod lab;

use std::time::Duration;

use anycast_ospf::codec::body::{
    AsExternalLsa, IntraAreaPrefixLsa, LinkLsa, LoadLsa, RouterLsa, ServiceState,
};
use anycast_ospf::codec::{LinkKind, LsType, Lsa, LsaKey, MAX_SEQUENCE, Options};
use anycast_ospf::{
    Advertise, AreaId, Config, DRAIN_METRIC, Event, Input, InterfaceId, LinkType, Load, LoadConfig,
    NeighborEvent, NeighborState, Reason, RouterId, Tag,
};
use lab::{Lab, Node, Role, interface, millis, seconds, service};

const SPEAKER: u32 = 0x0a00_0063;
const ROUTER: u32 = 0x0a00_0001;
const BACKUP: u32 = 0x0a00_0002;
const US: RouterId = RouterId(SPEAKER);

/// The metric of the service in a router's database.
fn metric(lab: &Lab, router: usize) -> Option<u16> {
    let lsa = lab.peer(router).held(lab.now, LsType::INTRA_AREA_PREFIX, US, 0)?;
    let body = IntraAreaPrefixLsa::decode(&lsa.body).expect("a body");
    assert_eq!(body.prefixes[0].prefix, service());
    Some(body.prefixes[0].metric)
}

fn router_lsa(lab: &Lab, router: usize) -> RouterLsa {
    let lsa = lab.peer(router).held(lab.now, LsType::ROUTER, US, 0).expect("a Router-LSA");
    RouterLsa::decode(&lsa.body).expect("a body")
}

/// A pair that is Full and has been for a while.
fn settled(router: u32) -> Lab {
    let mut lab = Lab::pair(1, SPEAKER, router);
    lab.input(0, Input::Announce(service(), 100));
    lab.run_till("Full", millis(2000), |lab| lab.state(0, router) == NeighborState::Full);
    lab.run(Duration::from_secs(10));
    assert_eq!(metric(&lab, 1), Some(100));
    lab
}

#[test]
fn both_roles_become_full_and_the_route_is_there() {
    for router in [1, u32::MAX] {
        let mut lab = Lab::pair(1, SPEAKER, router);
        lab.input(0, Input::Announce(service(), 100));
        let took = lab.run_till("Full", millis(2000), |lab| lab.state(0, router) == NeighborState::Full);
        assert!(took < millis(20), "{took:?}");
        lab.run(millis(500));
        assert!(lab.peer(1).is_full(US), "{:?}", lab.peer(1).peers);
        assert_eq!(metric(&lab, 1), Some(100));
        let body = router_lsa(&lab, 1);
        assert!(!body.options.contains(Options::R), "no route leads through a host");
        assert_eq!((body.links.len(), body.links[0].kind), (1, LinkKind::Transit));
        assert_eq!(
            (body.links[0].neighbor_router_id, body.links[0].neighbor_interface_id),
            (RouterId(router), 7)
        );
        let link = lab.peer(1).held(lab.now, LsType::LINK, US, 2).expect("a Link-LSA");
        let link = LinkLsa::decode(&link.body).unwrap();
        assert_eq!((link.priority, link.link_local), (0, lab::link_local(0, 0)));
        assert_eq!(lab.peer(1).too_soon, 0);
        assert_eq!(lab.peer(1).complaints, Vec::<String>::new());
        assert_eq!(lab.told(0, Event::is_problem), 0, "{}", lab.history());
    }
}

#[test]
fn a_changed_cost_is_there_at_once_and_a_second_change_within_two_seconds() {
    let mut lab = settled(ROUTER);
    lab.input(0, Input::Announce(service(), 200));
    let took = lab.run_till("first change", millis(100), |lab| metric(lab, 1) == Some(200));
    assert!(took < millis(5), "{took:?}");
    lab.run(millis(100));
    lab.input(0, Input::Announce(service(), 300));
    lab.run(millis(100));
    lab.input(0, Input::Announce(service(), 400));
    let took = lab.run_till("last change", millis(2000), |lab| metric(lab, 1) == Some(400));
    assert!(took > millis(500), "{took:?}");
    assert_eq!(lab.peer(1).too_soon, 0, "never sooner than a receiver takes it");
    let originated = lab.told(0, |event| matches!(event, Event::Originated { slot, .. } if slot.key.ls_type == LsType::INTRA_AREA_PREFIX));
    assert_eq!(originated, 3, "the one between was left out");
    // Negative control: a change to what is said already says nothing.
    lab.run(Duration::from_secs(5));
    lab.input(0, Input::Announce(service(), 400));
    lab.run(Duration::from_secs(5));
    assert_eq!(lab.events.iter().filter(|(at, ..)| lab.now.since(*at) < Duration::from_secs(9)).count(), 0);
}

#[test]
fn drain_is_the_last_resort_and_withdraw_is_gone_and_comes_back() {
    let mut lab = settled(ROUTER);
    lab.input(0, Input::Drain(service()));
    lab.run_till("drained", millis(10), |lab| metric(lab, 1) == Some(DRAIN_METRIC));
    lab.run(Duration::from_secs(2));
    lab.input(0, Input::Withdraw(service()));
    let took = lab.run_till("withdrawn", millis(100), |lab| metric(lab, 1).is_none());
    assert!(took < millis(5), "{took:?}");
    // Right behind, back again: overtakes the instance on its way out, but not within MinLSArrival.
    lab.input(0, Input::Announce(service(), 50));
    lab.run_till("back", millis(1200), |lab| metric(lab, 1) == Some(50));
    assert_eq!(lab.peer(1).too_soon, 0);
    // A withdrawal soon after an announcement waits for the second.
    lab.input(0, Input::Withdraw(service()));
    let took = lab.run_till("withdrawn", millis(1200), |lab| metric(lab, 1).is_none());
    assert!(took > millis(900), "{took:?}");
    assert_eq!(lab.peer(1).too_soon, 0);
    lab.run(Duration::from_secs(5));
    assert!(
        lab.the(0).database(lab.now).iter().all(|lsa| lsa.header.key.ls_type != LsType::INTRA_AREA_PREFIX)
    );
    lab.input(0, Input::Withdraw(lab::router_prefix(9)));
    assert_eq!(lab.told(0, Event::is_problem), 1, "what was never announced cannot be withdrawn");
}

#[test]
fn a_stop_flushes_all_waits_for_acknowledgments_and_says_good_bye() {
    for router in [ROUTER, u32::MAX] {
        let mut lab = settled(router);
        lab.tap = true;
        let begin = lab.now;
        lab.input(0, Input::Stop);
        lab.run(millis(1500));
        let (stopped, _) = lab.stopped[0];
        assert!(stopped.since(begin) < millis(300), "acknowledged at {:?}", stopped.since(begin));
        lab.run(Duration::from_secs(3));
        assert_eq!(lab.peer(1).database.keys().filter(|key| key.advertising_router == US).count(), 0);
        assert!(!lab.peer(1).is_full(US));
        let (at, .., last) = lab.sent.last().unwrap();
        assert_eq!(
            (*at, last.len(), last[1]),
            (stopped, 36, 1),
            "the last word is a Hello without neighbours"
        );
        assert_eq!(lab.the(0).next_timeout(), None);
    }
    // Nobody answers: a second, and not longer.
    let mut lab = settled(ROUTER);
    lab.weather.loss = 100;
    let begin = lab.now;
    lab.input(0, Input::Stop);
    lab.run(Duration::from_secs(5));
    assert_eq!(lab.stopped[0].0.since(begin), Duration::from_secs(1));
    // Nobody is there at all: at once.
    let mut lab = Lab::new(1);
    lab.speaker(Config::new(US, vec![interface("eth0")]), &[0]);
    lab.run(Duration::from_secs(3));
    lab.input(0, Input::Stop);
    assert_eq!(lab.stopped.len(), 1);
}

#[test]
fn a_restarted_speaker_overtakes_its_old_lsas_once_and_flushes_what_it_no_longer_wants() {
    for router in [1, u32::MAX] {
        let mut lab = settled(router);
        let before = lab.peer(1).held(lab.now, LsType::ROUTER, US, 0).unwrap().header.sequence;
        lab.kill(0);
        lab.run(millis(300));
        let begin = lab.events.len();
        lab.start(0);
        lab.run_till("Full", millis(1500), |lab| lab.state(0, router) == NeighborState::Full);
        lab.run(millis(1800));
        let after = lab.peer(1).held(lab.now, LsType::ROUTER, US, 0).unwrap().header.sequence;
        assert_eq!(after, before + 1, "once");
        assert_eq!(lab.peer(1).too_soon, 0);
        assert_eq!(metric(&lab, 1), None, "nobody announced the service in this life");
        let fights = |event: &Event| matches!(event, Event::DuplicateRouterId { .. });
        assert_eq!(lab.told(0, fights), 0);
        assert!(lab.events[begin..].iter().any(|(.., event)| matches!(event, Event::Flushed { .. })));
        lab.input(0, Input::Announce(service(), 7));
        lab.run(millis(1500));
        assert_eq!(metric(&lab, 1), Some(7));
    }
}

#[test]
fn a_restarted_router_is_full_again_and_has_everything() {
    for router in [1, u32::MAX] {
        let mut lab = settled(router);
        lab.poke(1, |router, now| router.originate(now, 0x2003, 5, Some(&[1; 40])));
        lab.run(Duration::from_secs(1));
        lab.kill(1);
        lab.run(millis(200));
        lab.nodes[1] =
            Node::Router { router: Some(lab::Router::new(lab.now, router, Role::Designated)), link: 0 };
        lab.run_till("Full", millis(8000), |lab| {
            lab.peer(1).is_full(US) && lab.state(0, router) == NeighborState::Full
        });
        lab.run(Duration::from_secs(10));
        assert_eq!(metric(&lab, 1), Some(100));
        assert_eq!(lab.state(0, router), NeighborState::Full);
        let old = LsaKey { ls_type: LsType(0x2003), link_state_id: 5, advertising_router: RouterId(router) };
        assert!(
            lab.the(0).database(lab.now).iter().all(|lsa| lsa.header.key != old),
            "the router flushed what it no longer wants"
        );
    }
}

fn with_backup() -> Lab {
    let mut lab = Lab::pair(3, SPEAKER, ROUTER);
    lab.router(BACKUP, Role::Backup, 0);
    lab.input(0, Input::Announce(service(), 100));
    lab.run(Duration::from_secs(8));
    for router in [ROUTER, BACKUP] {
        assert_eq!(lab.state(0, router), NeighborState::Full, "{}", lab.history());
    }
    lab
}

#[test]
fn the_backup_takes_over_from_a_dead_designated_router() {
    let mut lab = with_backup();
    assert_eq!((metric(&lab, 1), metric(&lab, 2)), (Some(100), Some(100)));
    assert_eq!(router_lsa(&lab, 2).links[0].neighbor_router_id, RouterId(ROUTER));
    lab.kill(1);
    let took = lab.run_till("new Designated Router", Duration::from_secs(6), |lab| {
        lab.the(0).interfaces()[0].designated_router == RouterId(BACKUP)
    });
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(lab.state(0, BACKUP), NeighborState::Full, "the adjacency was there already");
    lab.run(Duration::from_secs(2));
    assert_eq!(router_lsa(&lab, 2).links[0].neighbor_router_id, RouterId(BACKUP));
    // The old one comes back as Backup: again an adjacency, the database the same.
    lab.nodes[1] = Node::Router { router: Some(lab::Router::new(lab.now, ROUTER, Role::Backup)), link: 0 };
    lab.run(Duration::from_secs(10));
    assert_eq!(lab.state(0, ROUTER), NeighborState::Full, "{}", lab.history());
    assert_eq!((metric(&lab, 1), metric(&lab, 2)), (Some(100), Some(100)));
    assert_eq!(lab.told(0, Event::is_problem), 0, "{}", lab.history());
}

#[test]
fn a_hello_that_names_nobody_drops_the_adjacency_at_once_and_the_dead_interval_does_it_late() {
    let mut lab = settled(ROUTER);
    let Node::Speaker { config, .. } = &lab.nodes[0] else { panic!("a speaker") };
    let guard = anycast_ospf::Guard {
        router_id: US,
        boot_count: 1,
        stub_areas: Default::default(),
        advertise: Advertise::IntraArea,
    };
    let link = lab.the(0).interfaces()[0].link.unwrap();
    let payload = guard.hello(&config.interfaces[0], link, 0);
    assert_eq!(payload.len(), 36);
    let mut control = settled(ROUTER);
    for (lab, guarded) in [(&mut lab, true), (&mut control, false)] {
        lab.kill(0);
        if guarded {
            lab.poke(1, |router, now| {
                router.receive(now, link.link_local, anycast_ospf::ALL_SPF_ROUTERS, &payload)
            });
        }
        let begin = lab.now;
        lab.run_till("not Full", Duration::from_secs(6), |lab| !lab.peer(1).is_full(US));
        let took = lab.now.since(begin);
        assert_eq!(took < millis(10), guarded, "{took:?}");
    }
}

#[test]
fn own_lsas_are_refreshed_and_others_leave_at_max_age() {
    let mut lab = settled(ROUTER);
    let sequence = |lab: &Lab| {
        lab.peer(1).held(lab.now, LsType::INTRA_AREA_PREFIX, US, 0).map(|lsa| lsa.header.sequence)
    };
    let first = sequence(&lab).unwrap();
    // A stranger's LSA, which nobody refreshes.
    let key = LsaKey { ls_type: LsType(0x2003), link_state_id: 1, advertising_router: RouterId(77) };
    lab.poke(1, |router, now| router.inject(now, Lsa::new(key, 5, 3000, &[9; 8])));
    lab.run(millis(500));
    let holds = |lab: &Lab| lab.the(0).database(lab.now).iter().any(|lsa| lsa.header.key == key);
    assert!(holds(&lab));
    lab.run(Duration::from_secs(590));
    assert!(holds(&lab));
    lab.run(Duration::from_secs(20));
    assert!(!holds(&lab), "gone at MaxAge");
    assert!(!lab.peer(1).database.contains_key(&key));
    for refresh in 1..=4 {
        let next =
            lab.run_till("refresh", Duration::from_secs(1801), |lab| sequence(lab) == Some(first + refresh));
        assert!(refresh == 1 || (1795..=1801).contains(&next.as_secs()), "{next:?}");
        assert_eq!(metric(&lab, 1), Some(100));
    }
    assert_eq!(lab.state(0, ROUTER), NeighborState::Full);
    assert_eq!(lab.told(0, Event::is_problem), 0, "{}", lab.history());
}

#[test]
fn a_sequence_number_that_wraps_is_flushed_and_begins_anew() {
    let mut lab = settled(ROUTER);
    let key = LsaKey { ls_type: LsType::INTRA_AREA_PREFIX, link_state_id: 0, advertising_router: US };
    // An instance of an earlier life with the second last number turns up.
    let body = lab.peer(1).held(lab.now, key.ls_type, US, 0).unwrap().body.clone();
    lab.poke(1, |router, now| router.inject(now, Lsa::new(key, MAX_SEQUENCE - 1, 1, &body)));
    lab.run(Duration::from_secs(2));
    assert_eq!(lab.peer(1).database[&key].lsa.header.sequence, MAX_SEQUENCE);
    lab.input(0, Input::Announce(service(), 200));
    lab.run_till("begun anew", Duration::from_secs(4), |lab| metric(lab, 1) == Some(200));
    assert_eq!(lab.peer(1).database[&key].lsa.header.sequence, i32::MIN + 1);
    assert_eq!(lab.told(0, Event::is_problem), 0, "{}", lab.history());
}

#[test]
fn an_mtu_that_differs_is_reported_with_both_values_and_one_that_is_repaired_heals() {
    for (mtu, router) in [(1400, ROUTER), (1400, u32::MAX), (9000, ROUTER), (9000, u32::MAX)] {
        let mut lab = Lab::new(1);
        lab.speaker(Config::new(US, vec![interface("eth0")]), &[0]);
        lab.router(router, Role::Designated, 0);
        lab.peer_mut(1).mtu = mtu;
        lab.run(Duration::from_secs(30));
        assert_ne!(lab.state(0, router), NeighborState::Full);
        let mismatch = |event: &Event| event.to_string().contains(&format!("MTU {mtu}, not 1500"));
        assert_eq!(lab.told(0, mismatch), 1, "once, {mtu}\n{}", lab.history());
        assert_eq!(lab.told(0, |event| matches!(event, Event::Stuck { .. })), 1, "{}", lab.history());
        assert!(lab.the(0).interfaces()[0].counters.rejected(Reason::Mtu) > 1);
        let Node::Speaker { links, .. } = &mut lab.nodes[0] else { panic!("a speaker") };
        links[0].1 = mtu;
        lab.up(0, 0);
        lab.run_till("Full", Duration::from_secs(8), |lab| lab.state(0, router) == NeighborState::Full);
    }
}

#[test]
fn a_flood_is_bounded_and_the_adjacency_stays() {
    let mut config = Config::new(US, vec![interface("eth0")]);
    config.limits.count = 200;
    let mut lab = Lab::new(1);
    lab.speaker(config, &[0]);
    lab.router(ROUTER, Role::Designated, 0);
    lab.run(Duration::from_secs(5));
    for id in 0..1000 {
        lab.poke(1, |router, now| router.originate(now, 0x2003, id, Some(&[0; 40])));
        lab.run(millis(5));
    }
    lab.run(Duration::from_secs(10));
    let size = lab.the(0).database_size();
    assert_eq!(size.count, 200);
    assert!(size.refused >= 800);
    assert_eq!(lab.told(0, |event| matches!(event, Event::Rejected { .. })), 1, "told once");
    assert_eq!(lab.state(0, ROUTER), NeighborState::Full);
    assert_eq!(lab.peer(1).peers[&US].retransmit.len(), 0, "nothing is sent for ever");
    lab.input(0, Input::Announce(service(), 5));
    lab.run(Duration::from_secs(2));
    assert_eq!(metric(&lab, 1), Some(5), "own LSAs always have room");
    // And from the beginning: a description of more than fits.
    lab.kill(0);
    lab.run(millis(100));
    lab.start(0);
    lab.run_till("Full", Duration::from_secs(20), |lab| lab.state(0, ROUTER) == NeighborState::Full);
    // Own ones of the earlier life took places too, and gave them back.
    assert!((197..=200).contains(&lab.the(0).database_size().count));
}

#[test]
fn lsas_that_claim_to_be_ours_are_flushed_and_do_not_fill_the_memory() {
    let mut lab = settled(ROUTER);
    for id in 100..300 {
        let key = LsaKey { ls_type: LsType::INTRA_AREA_PREFIX, link_state_id: id, advertising_router: US };
        lab.poke(1, |router, now| router.inject(now, Lsa::new(key, 5, 1, &[0; 12])));
        lab.run(millis(20));
    }
    lab.run(Duration::from_secs(10));
    assert_eq!(lab.peer(1).database.keys().filter(|key| key.advertising_router == US).count(), 3);
    assert_eq!(lab.the(0).database(lab.now).iter().filter(|lsa| lsa.own).count(), 3);
    assert_eq!(metric(&lab, 1), Some(100));
    assert_eq!(lab.told(0, |event| matches!(event, Event::DuplicateRouterId { .. })), 0);
}

#[test]
fn a_second_host_of_the_same_router_id_is_found_and_the_fight_ends() {
    // On two links, joined by a router: they meet in the area's database alone. The router here has one link, so its part is played.
    let mut lab = settled(ROUTER);
    let key = LsaKey { ls_type: LsType::ROUTER, link_state_id: 0, advertising_router: US };
    for _ in 0..12 {
        let sequence = lab.peer(1).database[&key].lsa.header.sequence;
        lab.poke(1, |router, now| router.inject(now, Lsa::new(key, sequence + 1, 1, &[0, 0, 0, 3])));
        lab.run(Duration::from_secs(3));
    }
    assert_eq!(lab.told(0, |event| matches!(event, Event::DuplicateRouterId { .. })), 1);
    assert!(!lab.peer(1).is_full(US), "it gave up");
    assert_eq!(lab.the(0).next_timeout(), None);
    lab.input(0, Input::Stop);
    assert_eq!(lab.stopped.len(), 1);
    // On one link the Hello tells at once; two is no fight, so nobody stops.
    let mut lab = Lab::pair(1, SPEAKER, ROUTER);
    lab.speaker(Config::new(US, vec![interface("eth0")]), &[0]);
    lab.run(millis(1500));
    assert!(
        lab.told(0, |event| event.to_string().contains("two hosts have this router id")) == 1,
        "{}",
        lab.history()
    );
}

#[test]
fn two_uplinks_pass_on_what_each_of_them_knows() {
    let mut lab = Lab::new(1);
    lab.speaker(Config::new(US, vec![interface("eth0"), interface("eth1")]), &[0, 1]);
    lab.router(ROUTER, Role::Designated, 0);
    lab.router(BACKUP, Role::Designated, 1);
    lab.input(0, Input::Announce(service(), 100));
    lab.run(Duration::from_secs(5));
    assert_eq!((metric(&lab, 1), metric(&lab, 2)), (Some(100), Some(100)));
    assert_eq!(router_lsa(&lab, 1).links.len(), 2);
    lab.poke(1, |router, now| {
        router.originate(now, 0x2003, 1, Some(&[1; 20]));
        router.originate(now, 0xbff0, 1, Some(&[2; 20]));
        router.originate(now, 0x3ff0, 1, Some(&[3; 20]));
    });
    lab.run(millis(1500));
    let arrived =
        |lab: &Lab, ls_type: u16| lab.peer(2).held(lab.now, LsType(ls_type), RouterId(ROUTER), 1).is_some();
    assert!(arrived(&lab, 0x2003));
    assert!(arrived(&lab, 0xbff0), "unknown with U-bit: flooded");
    assert!(!arrived(&lab, 0x3ff0), "unknown without U-bit: stays on its link (RFC 5340 4.5.2)");
    assert!(lab.peer(2).held(lab.now, LsType::LINK, RouterId(ROUTER), 7).is_none());
    lab.poke(1, |router, now| router.originate(now, 0x2003, 1, None));
    lab.run(millis(500));
    assert!(!arrived(&lab, 0x2003), "and so is what leaves");
    // One uplink goes: the link leaves the Router-LSA at once, the service stays.
    lab.input(0, Input::Down(InterfaceId(0)));
    lab.run(Duration::from_secs(2));
    assert_eq!(router_lsa(&lab, 2).links.len(), 1);
    assert_eq!(metric(&lab, 2), Some(100));
    lab.up(0, 0);
    lab.run(Duration::from_secs(8));
    assert_eq!(router_lsa(&lab, 2).links.len(), 2);
    assert_eq!((metric(&lab, 1), metric(&lab, 2)), (Some(100), Some(100)));
}

#[test]
fn areas_are_kept_apart_and_a_stub_hears_no_external_routes() {
    let mut stub = interface("eth1");
    stub.area = AreaId(7);
    let mut config = Config::new(US, vec![interface("eth0"), stub]);
    config.stub_areas = [AreaId(7)].into();
    let mut lab = Lab::new(1);
    lab.speaker(config, &[0, 1]);
    lab.router(ROUTER, Role::Designated, 0);
    lab.router(BACKUP, Role::Designated, 1);
    lab.peer_mut(2).area = AreaId(7);
    lab.peer_mut(2).options = Options::V6 | Options::R;
    lab.input(0, Input::Announce(service(), 100));
    lab.run(Duration::from_secs(5));
    assert_eq!((metric(&lab, 1), metric(&lab, 2)), (Some(100), Some(100)));
    assert!(
        router_lsa(&lab, 1).options.contains(Options::E) && !router_lsa(&lab, 2).options.contains(Options::E)
    );
    lab.poke(1, |router, now| {
        router.originate(now, 0x2003, 1, Some(&[1; 20]));
        router.originate(now, 0x4005, 1, Some(&[1; 20]));
    });
    lab.run(millis(500));
    assert!(lab.peer(2).database.keys().all(|key| key.advertising_router != RouterId(ROUTER)));
    // A stub that floods an external route all the same is wrong, and told so.
    lab.poke(2, |router, now| router.originate(now, 0x4005, 1, Some(&[1; 20])));
    lab.run(millis(500));
    assert_eq!(lab.the(0).interfaces()[1].counters.rejected(Reason::LsaScope), 1);
    assert!(lab.peer(1).database.keys().all(|key| key.advertising_router != RouterId(BACKUP)));
}

#[test]
fn a_point_to_point_link_has_no_designated_router() {
    for router in [1, u32::MAX] {
        let mut eth0 = interface("eth0");
        eth0.link_type = LinkType::PointToPoint;
        let mut lab = Lab::new(1);
        lab.tap = true;
        lab.speaker(Config::new(US, vec![eth0]), &[0]);
        lab.router(router, Role::Peer, 0);
        lab.input(0, Input::Announce(service(), 100));
        lab.run(Duration::from_secs(5));
        assert_eq!(lab.state(0, router), NeighborState::Full);
        assert_eq!(metric(&lab, 1), Some(100));
        assert_eq!(router_lsa(&lab, 1).links[0].kind, LinkKind::PointToPoint);
        assert!(lab.sent.iter().all(|(.., destination, _)| *destination == anycast_ospf::ALL_SPF_ROUTERS));
        assert_eq!(lab.told(0, Event::is_problem), 0, "{}", lab.history());
    }
}

#[test]
fn loads_pass_the_router_and_are_read_by_the_other_server() {
    let mut config = Config::new(US, vec![interface("eth0")]);
    config.load = Some(LoadConfig::default());
    let other = Config { router_id: RouterId(5), ..config.clone() };
    let mut lab = Lab::new(1);
    lab.speaker(config, &[0]);
    lab.router(ROUTER, Role::Designated, 0);
    let second = lab.speaker(other, &[0]);
    for node in [0, second] {
        lab.input(node, Input::Announce(service(), 100));
    }
    let load = |permille| Load { permille, capacity: 1000, rate: permille };
    lab.input(0, Input::Load(service(), load(300)));
    lab.run(Duration::from_secs(5));
    let heard = |lab: &Lab| {
        lab.the(second)
            .peer_loads(lab.now)
            .iter()
            .map(|peer| (peer.router, peer.load.permille))
            .collect::<Vec<_>>()
    };
    assert_eq!(heard(&lab), [(US, 300)]);
    assert_eq!(lab.the(0).peer_loads(lab.now), []);
    // Less than a step says nothing; a step says it, but not within ten seconds of the last.
    lab.input(0, Input::Load(service(), load(340)));
    lab.run(Duration::from_secs(20));
    assert_eq!(heard(&lab), [(US, 300)]);
    lab.input(0, Input::Load(service(), load(400)));
    lab.run(millis(100));
    assert_eq!(heard(&lab), [(US, 400)]);
    lab.input(0, Input::Load(service(), load(600)));
    lab.run(Duration::from_secs(9));
    assert_eq!(heard(&lab), [(US, 400)]);
    lab.run(Duration::from_secs(3));
    assert_eq!(heard(&lab), [(US, 600)]);
    // The cost changes at its own pace.
    assert_eq!(metric(&lab, 1), Some(100));
    lab.run(Duration::from_secs(10));
    lab.input(0, Input::Drain(service()));
    lab.run(millis(100));
    let peer = lab.the(second).peer_loads(lab.now)[0];
    assert_eq!((peer.load.state, peer.load.cost), (ServiceState::Draining, DRAIN_METRIC.into()));
    lab.run(Duration::from_secs(5));
    lab.input(0, Input::Withdraw(service()));
    lab.run(Duration::from_secs(2));
    assert_eq!(heard(&lab), []);
    assert_eq!(lab.told(second, |event| matches!(event, Event::PeerLoad { load: None, .. })), 1);
    // Somebody else's LSA of the same type is told once.
    lab.poke(1, |router, now| router.originate(now, 0xbff0, 1, Some(&[0; 4])));
    lab.poke(1, |router, now| router.originate(now, 0xbff0, 2, Some(&[0; 4])));
    lab.run(millis(500));
    assert_eq!(lab.told(second, |event| matches!(event, Event::PeerLoadUnreadable { .. })), 1);
    assert_eq!(LoadLsa::decode(&[0; 4], 0).unwrap_err().to_string(), "TLV 1 is missing");
}

#[test]
fn an_external_route_carries_the_load_as_its_tag() {
    let mut config = Config::new(US, vec![interface("eth0")]);
    config.advertise = Advertise::External { type_2: true, tag: Tag::Load };
    let mut lab = Lab::new(1);
    lab.speaker(config, &[0]);
    lab.router(ROUTER, Role::Designated, 0);
    lab.input(0, Input::Announce(service(), 100));
    lab.run(Duration::from_secs(3));
    lab.input(0, Input::Load(service(), Load { permille: 700, capacity: 0, rate: 0 }));
    lab.run(Duration::from_secs(3));
    let external = |lab: &Lab| {
        AsExternalLsa::decode(&lab.peer(1).held(lab.now, LsType::AS_EXTERNAL, US, 0).unwrap().body).unwrap()
    };
    assert_eq!((external(&lab).metric, external(&lab).tag, external(&lab).type_2), (100, Some(700), true));
    let body = router_lsa(&lab, 1);
    assert!(
        body.options.contains(Options::R) && body.flags & RouterLsa::FLAG_E != 0,
        "routers take it only from a router"
    );
    assert_eq!(metric(&lab, 1), None);
    lab.input(0, Input::Drain(service()));
    lab.run(Duration::from_secs(3));
    assert!(external(&lab).metric < AsExternalLsa::INFINITY, "drained is still reachable");
}

#[test]
fn a_link_without_designated_router_is_told_once() {
    let mut lab = Lab::new(1);
    lab.speaker(Config::new(US, vec![interface("eth0")]), &[0]);
    lab.speaker(Config::new(RouterId(5), vec![interface("eth0")]), &[0]);
    lab.run(Duration::from_secs(60));
    assert_eq!(lab.state(0, 5), NeighborState::TwoWay);
    assert_eq!(
        lab.told(0, |event| matches!(event, Event::NoDesignatedRouter { neighbors: 1, .. })),
        1,
        "{}",
        lab.history()
    );
    lab.router(ROUTER, Role::Designated, 0);
    lab.run(Duration::from_secs(5));
    assert_eq!(lab.state(0, ROUTER), NeighborState::Full);
    lab.kill(2);
    lab.run(Duration::from_secs(60));
    assert_eq!(
        lab.told(0, |event| matches!(event, Event::NoDesignatedRouter { .. })),
        2,
        "and again when it is gone"
    );
}

#[test]
fn another_link_local_address_or_index_is_told_to_the_router() {
    let mut lab = settled(ROUTER);
    let link = lab.the(0).interfaces()[0].link.unwrap();
    lab.input(0, Input::Up(InterfaceId(0), link));
    lab.run(Duration::from_secs(2));
    assert_eq!(
        lab.told(0, |event| matches!(event, Event::Neighbor { cause: NeighborEvent::Kill, .. })),
        0,
        "nothing changed"
    );
    let other = anycast_ospf::Link { ifindex: 44, ..link };
    lab.input(0, Input::Up(InterfaceId(0), other));
    lab.run_till("Full", Duration::from_secs(8), |lab| lab.state(0, ROUTER) == NeighborState::Full);
    lab.run(Duration::from_secs(3));
    assert_eq!(router_lsa(&lab, 1).links[0].interface_id, 44);
    assert!(lab.peer(1).held(lab.now, LsType::LINK, US, 44).is_some());
    assert!(lab.peer(1).held(lab.now, LsType::LINK, US, 2).is_none(), "the old Link-LSA is flushed");
    assert!(lab.now > seconds(1000));
}
