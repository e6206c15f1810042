//! `[pool]` and what of a service belongs to it.

use anycast_pool::policy::Policy;

use super::*;
use crate::pool::RegistrarProtocol;

const POOL: &str = "[pool]\nregistrars = [\"[2001:db8::1]:3863\", \"two.example\"]\nname = \"dns\"\naddress = \"2001:db8::11\"\n";

/// The sound file with these tables behind it.
fn pooled(tables: &str) -> String {
    with("", "") + tables
}

#[track_caller]
fn wrong(tables: &str, what: &str) {
    let problems = problems(&pooled(tables));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].contains(what), "{}\ndoes not say {what}", problems[0]);
}

#[test]
fn every_service_is_an_element_unless_it_says_otherwise() {
    let config = parse(&pooled(POOL)).unwrap();
    let element = config.services[0].element.as_ref().unwrap();
    assert_eq!((element.pool.as_str(), element.address), ("dns", "[2001:db8::11]:53".parse().unwrap()));
    assert_eq!(element.policy, Policy::RandomizedLeastUsed { load: 0 });
    assert_eq!(config.pool.unwrap().registrars.len(), 2);

    let own = "[service.pool]\nname = \"other\"\naddress = \"2001:db8::12\"\nport = 5353\n";
    let config = parse(&pooled(&format!("{own}{POOL}policy = \"weighted-random\"\nweight = 3\n"))).unwrap();
    let element = config.services[0].element.as_ref().unwrap();
    assert_eq!((element.pool.as_str(), element.address), ("other", "[2001:db8::12]:5353".parse().unwrap()));
    assert_eq!(element.policy, Policy::WeightedRandom { weight: 3 });

    let sctp = parse(&pooled(&POOL.replace("two.example", "sctp://two.example"))).unwrap();
    let protocols: Vec<_> =
        sctp.pool.iter().flat_map(|pool| &pool.registrars).map(|one| one.protocol()).collect();
    assert_eq!(protocols, [RegistrarProtocol::Tcp, RegistrarProtocol::Sctp]);

    let out = format!("[service.pool]\nenabled = false\n{POOL}");
    assert_eq!(parse(&pooled(&out)).unwrap().services[0].element, None);
    // Without [pool] there is none.
    assert_eq!(parse(&pooled("")).unwrap().services[0].element, None);
}

#[test]
fn registrars_need_no_names_where_they_announce_themselves() {
    let pool = "[pool]\ndiscover = [\"eth0\"]\nname = \"dns\"\naddress = \"2001:db8::11\"\n";
    let read = parse(&pooled(pool)).unwrap().pool.unwrap();
    assert_eq!((read.registrars.len(), read.discover), (0, vec!["eth0".to_owned()]));
    wrong(&pool.replace("discover = [\"eth0\"]", "discover = []"), "name the registrars");
}

#[test]
fn the_address_of_the_check_will_do_if_users_reach_it() {
    let pool = POOL.replace("address = \"2001:db8::11\"\n", "");
    wrong(&pool, "at an address of this server alone");
    let text = with("[::1]:53", "[2001:db8::13]:53") + &pool;
    let element = parse(&text).unwrap().services[0].element.clone().unwrap();
    assert_eq!(element.address, "[2001:db8::13]:53".parse().unwrap());
}

#[test]
fn what_cannot_be_is_refused_with_advice() {
    wrong(&POOL.replace("two.example", "[2001:db8::1]:3863"), "stands there twice");
    wrong(&POOL.replace("two.example", "two.example:x"), "is no registrar");
    wrong(&POOL.replace("name = \"dns\"", ""), "name the pool");
    wrong(&POOL.replace("2001:db8::11", "::1"), "no address that users can reach");
    wrong("[pool]\nname = \"dns\"\naddress = \"2001:db8::11\"\n", "name the registrars");
    wrong(&format!("{POOL}discover = [\"lo\"]\n"), "lo has no neighbours");
    wrong(&format!("{POOL}discover = [\"eth0\", \"eth0\"]\n"), "eth0 stands there twice");
    wrong(&format!("{POOL}policy = \"best\"\n"), "randomized-least-used");
    wrong(&format!("{POOL}weight = 2\n"), "has no meaning with policy");
    wrong("[service.pool]\nenabled = false\n", "needs the table [pool]");
    wrong(&format!("[service.pool]\nport = 0\n{POOL}"), "is not a port");
    wrong(
        &format!("{POOL}[pool.tls]\nca = \"/a\"\ncertificate = \"/b\"\n"),
        "TLS needs ca, certificate and key",
    );
    let tls = "[pool.tls]\nca = \"/a\"\ncertificate = \"/b\"\nkey = \"/c\"\n";
    wrong(
        &format!("{}{tls}", POOL.replace("two.example", "sctp://two.example")),
        "TLS over SCTP is not supported",
    );
}

#[test]
fn the_example_of_the_guide_is_taken() {
    let guide = include_str!("../../../../docs/pool.md");
    let (_, rest) = guide.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let config = parse(&pooled(example)).unwrap();
    assert_eq!(config.services[0].element.as_ref().unwrap().pool, "dns");
}
