//! The good-bye of a speaker that was killed: a Hello that names no neighbour, upon which each router of the link drops the adjacency
//! at once (RFC 2328 10.2). Finished and signed beforehand: who sends it knows no keys.

use std::net::Ipv6Addr;
use std::time::Duration;

use anycast_ospf::{ALL_SPF_ROUTERS, Config, Guard as Words, Link};
use serde::{Deserialize, Serialize};

use super::socket;

/// The Hello is said so many times against loss …
const TIMES: u16 = 3;
/// … this far apart.
const DISTANCE: Duration = Duration::from_millis(20);

/// Packets of a speaker that is followed by another with the same boot count: `ExecStopPost` runs beside the guard.
pub const AFTER_STOP: u16 = 1000;

/// What to send on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    interface: String,
    index: u32,
    source: Ipv6Addr,
    kernel_checksum: bool,
    /// One after the other.
    payloads: Vec<Vec<u8>>,
}

/// A farewell, and the socket for it.
pub(in crate::routing) type Open = (Farewell, socket2::Socket);

/// What to send on the interfaces that are up; `first` = number of the first packet.
pub fn farewells(config: &Config, links: &[Option<Link>], first: u16) -> Vec<Farewell> {
    let words = Words {
        router_id: config.router_id,
        boot_count: config.boot_count,
        stub_areas: config.stub_areas.clone(),
        advertise: config.advertise,
    };
    let up = config.interfaces.iter().zip(links).filter_map(|(interface, link)| Some((interface, (*link)?)));
    up.map(|(interface, link)| Farewell {
        interface: interface.name.clone(),
        index: link.ifindex,
        source: link.link_local,
        kernel_checksum: interface.kernel_checksum,
        payloads: (first..first + TIMES).map(|number| words.hello(interface, link, number)).collect(),
    })
    .collect()
}

/// Opens what can be opened, and says what cannot.
pub(in crate::routing) fn open(farewells: Vec<Farewell>) -> Vec<Open> {
    let opened = farewells.into_iter().filter_map(|farewell| {
        match socket::open(&farewell.interface, farewell.index, farewell.kernel_checksum) {
            Ok(socket) => Some((farewell, socket)),
            Err((operation, error)) => {
                eprintln!("anycast: good-bye on {}: cannot {operation}: {error}", farewell.interface);
                None
            }
        }
    });
    opened.collect()
}

/// Says good-bye on all of them.
pub fn say_now(farewells: Vec<Farewell>) {
    say(&open(farewells));
}

pub(in crate::routing) fn say(ready: &[Open]) {
    for time in 0..usize::from(TIMES) {
        if time > 0 {
            std::thread::sleep(DISTANCE);
        }
        for (farewell, socket) in ready {
            let Some(payload) = farewell.payloads.get(time) else { continue };
            let sent = socket::send(socket, farewell.index, farewell.source, ALL_SPF_ROUTERS, payload);
            if let Err(error) = sent {
                eprintln!("anycast: good-bye on {}: cannot send: {error}", farewell.interface);
            }
        }
    }
}
