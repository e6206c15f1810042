//! A speaker and a router that are Full, and what the router then has of the speaker.

use std::time::Duration;

use anycast_ospf::codec::LsType;
use anycast_ospf::codec::body::{IntraAreaPrefixLsa, RouterLsa};
use anycast_ospf::{Input, NeighborState, RouterId};

use super::{Lab, millis, service};

pub const SPEAKER: u32 = 0x0a00_0063;
pub const ROUTER: u32 = 0x0a00_0001;
pub const BACKUP: u32 = 0x0a00_0002;
pub const US: RouterId = RouterId(SPEAKER);

/// The metric of the service in a router's database.
pub fn metric(lab: &Lab, router: usize) -> Option<u16> {
    let lsa = lab.peer(router).held(lab.now, LsType::INTRA_AREA_PREFIX, US, 0)?;
    let body = IntraAreaPrefixLsa::decode(&lsa.body).expect("a body");
    assert_eq!(body.prefixes[0].prefix, service());
    Some(body.prefixes[0].metric)
}

pub fn router_lsa(lab: &Lab, router: usize) -> RouterLsa {
    let lsa = lab.peer(router).held(lab.now, LsType::ROUTER, US, 0).expect("a Router-LSA");
    RouterLsa::decode(&lsa.body).expect("a body")
}

/// A pair that is Full and has been for a while.
pub fn settled(router: u32) -> Lab {
    let mut lab = Lab::pair(1, SPEAKER, router);
    lab.input(0, Input::Announce(service(), 100));
    lab.run_till("Full", millis(2000), |lab| lab.state(0, router) == NeighborState::Full);
    lab.run(Duration::from_secs(10));
    assert_eq!(metric(&lab, 1), Some(100));
    lab
}
