//! What is advertised and how it travels: costs, loads, external routes, several uplinks and areas, point-to-point links.

mod lab;

use std::time::Duration;

use anycast_ospf::codec::body::{AsExternalLsa, LoadLsa, RouterLsa, ServiceState};
use anycast_ospf::codec::{LinkKind, LsType, Options};
use anycast_ospf::{
    Advertise, AreaId, Config, DRAIN_METRIC, Event, Input, InterfaceId, LinkType, Load, LoadConfig,
    NeighborState, Reason, RouterId, Tag,
};
use lab::pairs::{BACKUP, ROUTER, US, metric, router_lsa, settled};
use lab::{Lab, Role, interface, millis, service};

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
fn routers_calculate_anew_when_a_prefix_changes_or_leaves_and_for_nothing_else() {
    let seen = |lab: &Lab| {
        let lsa = lab.peer(1).held(lab.now, LsType::ROUTER, US, 0).unwrap();
        (lsa.header.sequence, router_lsa(lab, 1).links[0].metric)
    };
    let mut lab = settled(ROUTER);
    let (sequence, cost) = seen(&lab);
    assert!((10..=11).contains(&cost));
    let other = 21 - cost;
    lab.input(0, Input::Announce(service(), 200));
    lab.run(millis(10));
    assert_eq!(seen(&lab), (sequence + 1, other), "with the prefix");
    // Two services change so close to each other that one Router-LSA must wait: each is followed by one all the same.
    lab.input(0, Input::Withdraw(service()));
    lab.run(millis(1100));
    assert_eq!((metric(&lab, 1), seen(&lab)), (None, (sequence + 2, cost)));
    lab.run(millis(200));
    lab.input(0, Input::Announce(service(), 300));
    lab.input(0, Input::Announce(lab::router_prefix(9), 300));
    lab.run(millis(3000));
    assert_eq!((metric(&lab, 1), seen(&lab)), (Some(300), (sequence + 4, cost)));
    // Controls: what is known already, and load, are no reason; nor is anything where it is switched off.
    lab.input(0, Input::Announce(service(), 300));
    lab.input(0, Input::Load(service(), Load { permille: 900, capacity: 1000, rate: 900 }));
    lab.run(Duration::from_secs(20));
    assert_eq!(seen(&lab), (sequence + 4, cost));
    assert_eq!(lab.peer(1).too_soon, 0);
    let mut lab = Lab::new(1);
    let mut config = Config::new(US, vec![interface("eth0")]);
    config.recalculate = false;
    lab.speaker(config, &[0]);
    lab.router(ROUTER, Role::Designated, 0);
    lab.input(0, Input::Announce(service(), 100));
    lab.run(Duration::from_secs(5));
    let before = seen(&lab);
    lab.input(0, Input::Withdraw(service()));
    lab.run(Duration::from_secs(5));
    assert_eq!((metric(&lab, 1), seen(&lab)), (None, before));
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
