//! `[ospf]` and what of a service belongs to it.

use super::*;
use crate::config::ospf::{Advertise, Driver, External, Tag};

const NATIVE: &str = "[ospf]\nrouter_id = \"10.0.0.53\"\n[[ospf.interface]]\nname = \"eth0\"\n";

/// The sound file with a service that is advertised by OSPF alone, in front of `tables`.
fn routed(tables: &str) -> String {
    with("mode = \"failover\"", "advertise = [\"ospf\"]") + tables
}

fn native(text: &str) -> crate::config::ospf::Native {
    match parse(text).unwrap().ospf.unwrap().driver {
        Driver::Native(native) => native,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn wrong(text: &str, what: &str) {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].contains(what), "{}\ndoes not say {what}", problems[0]);
}

#[test]
fn the_speaker_has_the_rfcs_timers_unless_told_otherwise() {
    let config = parse(&routed(NATIVE)).unwrap();
    let service = &config.services[0];
    assert_eq!((service.advertise, service.mode), (Advertise { ndp: false, ospf: true }, Mode::Solicited));
    assert_eq!((service.cost.min, service.cost.max, service.cost.levels), (10, 80, 8));
    let native = native(&routed(NATIVE));
    let uplink = &native.interfaces[0];
    assert_eq!((uplink.hello, uplink.dead, uplink.cost, uplink.point_to_point), (10, 40, 10, false));
    assert_eq!((native.load.unwrap().ls_type, native.external), (0xbff0, None));
    assert!(config.ospf.as_ref().unwrap().guard);
    // By default nothing but the link.
    assert_eq!(parse(&with("", "")).unwrap().services[0].advertise, Advertise { ndp: true, ospf: false });
}

#[test]
fn what_is_told_is_taken() {
    let text = routed(
        "[service.cost]\nmin = 100\nmax = 400\nlevels = 4\nup_hold = \"5s\"\n\
         [ospf]\nrouter_id = \"10.0.0.53\"\nlsa = \"external-2\"\ntag = \"load\"\nload_lsa = \"off\"\nguard = false\n\
         [[ospf.interface]]\nname = \"eth0\"\ntype = \"point-to-point\"\narea = \"7\"\nhello = \"1s\"\ndead = \"4s\"\n",
    );
    let native = native(&text);
    assert_eq!(native.external, Some(External { type_2: true, tag: Tag::Load }));
    assert_eq!((native.load, parse(&text).unwrap().ospf.unwrap().guard), (None, false));
    let uplink = &native.interfaces[0];
    assert_eq!((uplink.area.to_bits(), uplink.point_to_point, uplink.hello, uplink.dead), (7, true, 1, 4));
    let cost = parse(&text).unwrap().services[0].cost;
    assert_eq!((cost.min, cost.max, cost.levels, cost.up_hold), (100, 400, 4, Duration::from_secs(5)));
}

#[test]
fn other_daemons_are_driven_by_what_they_have() {
    let driver = |tables: &str| parse(&routed(tables)).unwrap().ospf.unwrap().driver;
    let bird = driver("[ospf]\ndriver = \"bird\"\n[ospf.bird]\ninclude = \"/etc/bird/dns.conf\"\n");
    assert!(matches!(bird, Driver::Bird(bird) if bird.include == Path::new("/etc/bird/dns.conf")));
    assert!(matches!(driver("[ospf]\ndriver = \"route\"\n"), Driver::Route(route) if route.protocol == 172));
    let around = driver("[ospf]\ndriver = \"route\"\n[ospf.route]\nprefix_length = 127\n");
    let Driver::Route(around) = around else { panic!("{around:?}") };
    let address = |text: &str| text.parse().unwrap();
    assert_eq!(around.destination(address("2001:db8::53")), (address("2001:db8::52"), 127));
    assert_eq!(around.destination(address("192.0.2.53")), (address("192.0.2.53"), 32));
    wrong(&routed("[ospf]\ndriver = \"route\"\n[ospf.route]\nprefix_length = 129\n"), "out of range");
    wrong(&routed("[ospf]\ndriver = \"frr\"\n"), "FRR advertises an interface's address");
    let frr = routed("[ospf]\ndriver = \"frr\"\n").replace("ports = [53]", "ospf_interface = \"any0\"");
    assert!(matches!(parse(&frr).unwrap().ospf.unwrap().driver, Driver::Frr(_)));
    wrong(&routed("[ospf]\ndriver = \"route\"\n[ospf.bird]\n"), "belongs to another driver");
}

#[test]
fn what_does_not_fit_is_refused() {
    wrong(&routed(""), "add the table [ospf]");
    wrong(&(with("", "") + NATIVE), "no service has \"ospf\" in advertise");
    wrong(&with("mode = \"failover\"", "advertise = []"), "nobody would find the service");
    wrong(&with("mode = \"failover\"", "advertise = [\"ndp\", \"bgp\"]"), "\"bgp\" is not known");
    let owned = with("ports = [53]", "advertise = [\"ospf\"]") + NATIVE;
    wrong(&owned, "has no meaning without \"ndp\"");
    wrong(&(with("", "") + "[service.cost]\n"), "needs \"ospf\" in service.advertise");
    let changed = |from: &str, to: &str| {
        let text = routed(NATIVE);
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    wrong(&changed("router_id = \"10.0.0.53\"", "router_id = \"0.0.0.0\""), "is no router id");
    wrong(&changed("router_id = \"10.0.0.53\"\n", ""), "give each server its own");
    wrong(&changed("[[ospf.interface]]\nname = \"eth0\"\n", ""), "there is none");
    wrong(&(routed(NATIVE) + "hello = \"1500ms\"\n"), "must be whole seconds");
    wrong(&(routed(NATIVE) + "hello = \"4s\"\ndead = \"4s\"\n"), "must be longer than hello");
    wrong(&(routed(NATIVE) + "instance = 32\n"), "is out of range: 0 to 31");
    wrong(&changed("[[ospf", "load_lsa = \"0x2009\"\n[[ospf"), "is no type for it");
    wrong(&changed("[[ospf", "load_lsa = \"0xbff8\"\n[[ospf"), "goes with types from");
    wrong(&changed("[[ospf", "tag = \"7\"\n[[ospf"), "others have no tag");
    let v4 = routed(NATIVE).replace("2001:db8::53", "192.0.2.53");
    wrong(&v4, "OSPFv3 carries no IPv4");
    wrong(
        &changed("[ospf]", "[service.cost]\nmin = 10\nmax = 12\nlevels = 4\n[ospf]"),
        "is out of range: 2 to 3",
    );
}
