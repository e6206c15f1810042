//! The guard's last word for a speaker that was killed: a Hello that names no neighbour, upon which every router of the link drops
//! the adjacency at once (RFC 2328 10.2, 1-WayReceived) instead of after the dead interval.
//!
//! The guard is another process. It needs nothing of the speaker but what is configured, and the boot count for authentication.

use std::collections::BTreeSet;

use crate::auth::Sequence;
use crate::codec::{Body, Hello, Options, Packet, checksum};
use crate::config::{Advertise, InterfaceConfig};
use crate::event::{ALL_SPF_ROUTERS, Link};
use crate::{AreaId, RouterId};

/// What the guard knows beside the interface.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The speaker's router id.
    pub router_id: RouterId,
    /// The speaker's boot count.
    pub boot_count: u32,
    /// The speaker's stub areas.
    pub stub_areas: BTreeSet<AreaId>,
    /// How the speaker advertised.
    pub advertise: Advertise,
}

impl Guard {
    /// The payload to send to [`ALL_SPF_ROUTERS`], from the link-local address of the interface. `number` counts the guard's packets from
    /// 0, so that one may be repeated against loss.
    pub fn hello(&self, interface: &InterfaceConfig, link: Link, number: u16) -> Vec<u8> {
        let mut options = Options::V6;
        if !self.stub_areas.contains(&interface.area) {
            options = options | Options::E;
        }
        if self.advertise != Advertise::IntraArea {
            options = options | Options::R;
        }
        if interface.auth.is_some() {
            options = options | Options::AT;
        }
        let hello = Hello {
            interface_id: link.ifindex,
            priority: 0,
            options,
            hello_interval: interface.hello_interval,
            dead_interval: interface.dead_interval,
            designated_router: RouterId::NONE,
            backup_designated_router: RouterId::NONE,
            neighbors: Vec::new(),
        };
        let (router_id, area, instance) = (self.router_id, interface.area, interface.instance);
        let packet = Packet { router_id, area, instance, checksum: 0, body: Body::Hello(hello) };
        let mut payload = packet.encode();
        match &interface.auth {
            Some(keys) => {
                keys.sign(link.link_local, Sequence::of_guard(self.boot_count, number), &mut payload)
            }
            // Filled in even where the kernel would: it overwrites the field with the same.
            None => checksum::fill(link.link_local, ALL_SPF_ROUTERS, &mut payload),
        }
        payload
    }
}
