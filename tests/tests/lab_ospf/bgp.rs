//! Kernel routes that a routing daemon on the server redistributes by BGP.

use anycast_tests::lab::routed::Speaker;

use crate::driven::driven;
use crate::need_lab;
use crate::router::Kind;

#[test]
fn kernel_routes_reach_a_bgp_router() {
    need_lab!("kernel_routes_reach_a_bgp_router");
    driven(Kind::BirdBgp, Speaker::RouteBirdBgp);
}
