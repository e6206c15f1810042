//! One speaker and what surrounds it, in virtual time on links that lose nothing.

mod lab;

use std::time::Duration;

use anycast_ospf::codec::body::LinkLsa;
use anycast_ospf::codec::{LinkKind, LsType, Lsa, LsaKey, MAX_SEQUENCE, Options};
use anycast_ospf::{
    Advertise, Config, Event, Input, InterfaceId, NeighborEvent, NeighborState, Reason, RouterId,
};
use lab::pairs::{BACKUP, ROUTER, SPEAKER, US, metric, router_lsa, settled};
use lab::{Lab, Node, Role, interface, millis, service};

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
fn a_router_that_waited_before_it_began_hears_at_once_who_leads() {
    let mut lab = Lab::pair(1, SPEAKER, ROUTER);
    lab.poke(1, |router, _| router.waiting = true);
    lab.run_till("ExStart", millis(2000), |lab| lab.state(0, ROUTER) == NeighborState::ExStart);
    lab.run(millis(100));
    lab.poke(1, |router, _| router.waiting = false);
    // Its first description comes with our next Hello; ours would be repeated in more than a second.
    let took = lab.run_till("Full", millis(3000), |lab| lab.state(0, ROUTER) == NeighborState::Full);
    assert!(took < millis(1050), "{took:?}");
    assert_eq!(lab.peer(1).complaints, Vec::<String>::new());
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
        lab.run(millis(500));
        let sequence = |lab: &Lab| lab.peer(1).held(lab.now, LsType::ROUTER, US, 0).unwrap().header.sequence;
        assert_eq!(sequence(&lab), before + 1, "once");
        lab.run(millis(1300));
        assert_eq!(sequence(&lab), before + 2, "and once more, for the prefix that left");
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
    lab.run_till("begun anew", Duration::from_secs(6), |lab| metric(lab, 1) == Some(200));
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
}

/// Found by the histories: the requests of one neighbour were answered by another, and it stayed in Loading for ever.
#[test]
fn what_another_neighbour_floods_ends_the_loading_too() {
    for seed in 0..40 {
        let mut lab = Lab::pair(seed, SPEAKER, ROUTER);
        lab.router(BACKUP, Role::Backup, 0);
        lab.run(Duration::from_secs(8));
        for router in [1, 2] {
            for id in 0..30 {
                lab.poke(router, |router, now| router.originate(now, 0x2003, id, Some(&[1; 400])));
            }
        }
        lab.run(Duration::from_secs(3));
        lab.weather.loss = 25;
        lab.kill(0);
        lab.run(millis(300));
        lab.start(0);
        lab.run(Duration::from_secs(20));
        lab.weather.loss = 0;
        lab.run(Duration::from_secs(30));
        for router in [ROUTER, BACKUP] {
            assert_eq!(lab.state(0, router), NeighborState::Full, "{}", lab.history());
        }
    }
}

/// Found by the histories: what leaves stays a second longer, or an older instance that was overtaken comes in as new.
#[test]
fn an_older_instance_that_was_overtaken_by_the_flush_does_not_come_in_again() {
    let mut lab = settled(ROUTER);
    let key = LsaKey { ls_type: LsType(0x2003), link_state_id: 1, advertising_router: RouterId(77) };
    let holds = |lab: &Lab| {
        lab.the(0).database(lab.now).iter().any(|lsa| lsa.header.key == key && !lsa.header.is_max_age())
    };
    lab.poke(1, |router, now| router.inject(now, Lsa::new(key, 5, 10, &[9; 8])));
    lab.run(Duration::from_secs(2));
    assert!(holds(&lab));
    let flush = Lsa {
        header: anycast_ospf::codec::LsaHeader { age: 3600, ..Lsa::new(key, 5, 10, &[9; 8]).header },
        body: [9; 8][..].into(),
    };
    lab.poke(1, |router, now| router.inject(now, flush));
    lab.run(millis(50));
    assert!(!holds(&lab));
    lab.poke(1, |router, now| router.inject(now, Lsa::new(key, 5, 10, &[9; 8])));
    lab.run(millis(50));
    assert!(!holds(&lab));
    lab.run(Duration::from_secs(5));
    assert!(lab.the(0).database(lab.now).iter().all(|lsa| lsa.header.key != key), "and is gone in the end");
}
