//! Routers of the lab: FRR or BIRD, by OSPFv3 or BGP.

use std::path::Path;

use anycast_tests::lab::bird::{self, Bird};
use anycast_tests::lab::farm::{Farm, ROUTER_LINK, SERVICE};
use anycast_tests::lab::frr::{self, Frr};
use anycast_tests::lab::namespace::Namespace;
use anycast_tests::lab::routed;

/// Who is the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// FRR's ospf6d, with these further lines of its interface to the servers.
    Frr(&'static str),
    /// BIRD, by OSPFv3, the same.
    Bird(&'static str),
    /// BIRD, by BGP.
    BirdBgp,
    /// FRR's bgpd.
    FrrBgp,
}

/// FRR's ospf6d.
pub const FRR: Kind = Kind::Frr("");
/// BIRD, by OSPFv3.
pub const BIRD: Kind = Kind::Bird("");

/// A router's interface.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    pub name: &'a str,
    pub priority: u8,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Broadcast,
    PointToPoint,
    /// Advertised, without routers on it.
    Stub,
}

impl<'a> Link<'a> {
    pub const fn broadcast(name: &'a str, priority: u8) -> Self {
        Self { name, priority, shape: Shape::Broadcast }
    }

    pub const fn point_to_point(name: &'a str) -> Self {
        Self { name, priority: 1, shape: Shape::PointToPoint }
    }

    pub const fn stub(name: &'a str) -> Self {
        Self { name, priority: 1, shape: Shape::Stub }
    }
}

/// The router's daemon.
pub enum Router {
    Frr(Frr),
    Bird(Bird),
}

impl Router {
    /// One that is Designated Router of the servers' link, or their BGP neighbour.
    pub fn start(kind: Kind, farm: &Farm) -> Self {
        let directory = farm.directory().join("router");
        match kind {
            Kind::Frr(_) | Kind::Bird(_) => {
                let links = [Link::broadcast(ROUTER_LINK, 1)];
                Self::ospf(kind, &farm.router, &directory, "10.0.0.1", &links)
            }
            Kind::BirdBgp => {
                let configuration = routed::bgp_router(ROUTER_LINK, &farm.servers);
                Self::Bird(Bird::start(&farm.router, &directory, &configuration).unwrap())
            }
            Kind::FrrBgp => {
                let configuration = routed::frr_bgp_router(&farm.servers);
                Self::Frr(Frr::start(&farm.router, &directory, &[("bgpd", configuration)]).unwrap())
            }
        }
    }

    /// One that speaks OSPFv3 on these interfaces of a namespace.
    pub fn ospf(
        kind: Kind,
        namespace: &Namespace,
        directory: &Path,
        router_id: &str,
        links: &[Link<'_>],
    ) -> Self {
        match kind {
            Kind::Bird(more) => {
                let more = |shape| match shape {
                    Shape::Broadcast => more,
                    Shape::PointToPoint => "type ptp;",
                    Shape::Stub => "stub yes;",
                };
                let links: Vec<bird::OspfInterface<'_>> = links
                    .iter()
                    .map(|link| bird::OspfInterface {
                        name: link.name,
                        priority: link.priority,
                        more: more(link.shape),
                    })
                    .collect();
                let configuration = bird::router(router_id, &links);
                Self::Bird(Bird::start(namespace, directory, &configuration).unwrap())
            }
            Kind::Frr(more) => {
                let links: Vec<frr::OspfInterface<'_>> = links
                    .iter()
                    .map(|link| frr::OspfInterface {
                        name: link.name,
                        priority: link.priority,
                        passive: link.shape == Shape::Stub,
                        cost: 10,
                        more: match link.shape {
                            Shape::Broadcast => more,
                            Shape::PointToPoint => " ipv6 ospf6 network point-to-point\n",
                            Shape::Stub => "",
                        },
                    })
                    .collect();
                let configuration = frr::ospf6d(router_id, &links);
                Self::Frr(Frr::start(namespace, directory, &[("ospf6d", configuration)]).unwrap())
            }
            Kind::BirdBgp | Kind::FrrBgp => panic!("{kind:?} speaks no OSPF"),
        }
    }

    /// Kills it without a farewell.
    pub fn kill(&mut self) {
        match self {
            Self::Frr(frr) => frr.kill(),
            Self::Bird(bird) => bird.kill(),
        }
        .unwrap();
    }

    /// Its database as it prints it.
    pub fn database(&self, namespace: &Namespace) -> String {
        match self {
            Self::Frr(frr) => frr.vtysh(namespace, &["show ipv6 ospf6 database"]),
            Self::Bird(bird) => bird.birdc("show ospf lsadb"),
        }
        .unwrap()
    }

    /// Does its database have an LSA that is not on its way out, of this type, by this router?
    pub fn holds(&self, namespace: &Namespace, ls_type: u16, router: &str) -> bool {
        let (ls_type, age_at) = match self {
            // By names of four letters, unknown ones alike.
            Self::Frr(_) => match ls_type {
                0x2001 => ("Rtr".to_owned(), 3),
                0x2009 => ("INP".to_owned(), 3),
                _ => ("Unk".to_owned(), 3),
            },
            Self::Bird(_) => (format!("{ls_type:04x}"), 4),
        };
        self.database(namespace).lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let age = words.get(age_at).and_then(|age| age.parse::<u16>().ok());
            words.first() == Some(&ls_type.as_str())
                && words.get(2) == Some(&router)
                && age.is_some_and(|age| age < crate::MAX_AGE)
        })
    }

    /// Has its route to the service this tag?
    pub fn tags(&self, namespace: &Namespace, tag: u32) -> bool {
        let said = match self {
            Self::Frr(frr) => frr.vtysh(namespace, &[&format!("show ipv6 route {SERVICE}/128 json")]),
            Self::Bird(bird) => bird.birdc(&format!("show route for {SERVICE} all")),
        };
        let said = said.unwrap();
        said.contains(&format!("\"tag\":{tag},")) || said.contains(&format!("OSPF.tag: 0x{tag:08x}"))
    }

    /// What it knows, for a test that fails.
    pub fn describe(&self, farm: &Farm) -> String {
        let said = |said: anyhow::Result<String>| said.unwrap_or_else(|error| format!("{error:#}"));
        match self {
            // One by one: a daemon that does not run knows none of its commands.
            Self::Frr(frr) => [
                "show ipv6 ospf6 neighbor",
                "show ipv6 ospf6 database",
                "show ipv6 ospf6 route detail",
                "show bgp ipv6 unicast",
            ]
            .map(|line| said(frr.vtysh(&farm.router, &[line])))
            .join("\n"),
            Self::Bird(bird) => {
                ["show ospf neighbors", "show ospf lsadb", "show ospf state", "show route all"]
                    .map(|command| said(bird.birdc(command)))
                    .join("\n")
            }
        }
    }
}
