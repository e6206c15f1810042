//! The speaker's picture for `anycast ospf`.

use anycast_ospf::codec::LsType;
use anycast_ospf::codec::body::{LoadLsa, LsaBody};
use anycast_ospf::lsdb::Scope;
use anycast_ospf::{InterfaceId, LinkType, Reason, RouterId, Speaker, Time};

use crate::telemetry::ospf::{Interface, Lsa, Neighbor, Ospf, Rejected, Route};

/// What it looks like now. `routes` and `trouble` are the caller's.
pub(super) fn picture(
    speaker: &Speaker,
    now: Time,
    load: Option<(LsType, u32)>,
    routes: Vec<Route>,
    trouble: Option<String>,
) -> Ospf {
    let interfaces = speaker.interfaces();
    let size = speaker.database_size();
    let name = |interface: InterfaceId| {
        interfaces.get(interface.0).map_or_else(String::new, |interface| interface.name.clone())
    };
    let some = |router: RouterId| (router != RouterId::NONE).then(|| router.to_string());
    Ospf {
        driver: "native".to_owned(),
        router_id: some(speaker.router_id()),
        trouble,
        routes,
        neighbors: speaker
            .neighbors(now)
            .into_iter()
            .map(|neighbor| Neighbor {
                router_id: neighbor.router.to_string(),
                address: neighbor.address.to_string(),
                interface: name(neighbor.interface),
                priority: neighbor.priority,
                state: neighbor.state.to_string(),
                state_seconds: neighbor.in_state.as_secs_f64(),
                dead_in_seconds: neighbor.dead_in.as_secs_f64(),
                role: match (neighbor.is_designated, neighbor.is_backup) {
                    (true, _) => "DR",
                    (_, true) => "BDR",
                    _ => "other",
                }
                .to_owned(),
                requested: neighbor.waiting.0,
                unacknowledged: neighbor.waiting.1,
            })
            .collect(),
        database: speaker
            .database(now)
            .into_iter()
            .map(|lsa| Lsa {
                scope: match lsa.scope {
                    Scope::Link(interface) => format!("link {}", name(interface)),
                    Scope::Area(area) => format!("area {area}"),
                    Scope::As => "as".to_owned(),
                },
                ls_type: match load {
                    Some((ls_type, _)) if ls_type == lsa.header.key.ls_type => "load".to_owned(),
                    _ => lsa.header.key.ls_type.to_string(),
                },
                link_state_id: lsa.header.key.link_state_id,
                advertising_router: lsa.header.key.advertising_router.to_string(),
                age: lsa.header.age,
                sequence: lsa.header.sequence.cast_unsigned(),
                checksum: lsa.header.checksum,
                length: lsa.header.length,
                own: lsa.own,
                says: match lsa.body {
                    Ok(body) => says(&body, load.filter(|(ls_type, _)| *ls_type == lsa.header.key.ls_type)),
                    Err(error) => format!("unreadable: {error}"),
                },
            })
            .collect(),
        database_lsas: size.count,
        database_octets: size.octets,
        database_refused_total: size.refused,
        interfaces: interfaces
            .iter()
            .map(|interface| Interface {
                name: interface.name.clone(),
                link_type: match interface.link_type {
                    LinkType::Broadcast => "broadcast",
                    LinkType::PointToPoint => "point-to-point",
                }
                .to_owned(),
                area: interface.area.to_string(),
                instance: interface.instance,
                state: interface.state.to_string(),
                address: interface.link.map(|link| link.link_local.to_string()),
                mtu: interface.link.map(|link| link.mtu),
                cost: interface.cost,
                hello_seconds: interface.intervals.0,
                dead_seconds: interface.intervals.1,
                designated_router: some(interface.designated_router),
                backup_designated_router: some(interface.backup_designated_router),
                neighbors: interface.neighbors.0,
                full: interface.neighbors.1,
                authenticated: interface.authenticated,
                received_total: interface.counters.received,
                sent_total: interface.counters.sent,
                retransmitted_total: interface.counters.retransmitted,
                rejected: Reason::ALL
                    .into_iter()
                    .map(|reason| Rejected {
                        reason: reason.name().to_owned(),
                        total: interface.counters.rejected(reason),
                    })
                    .filter(|rejected| rejected.total > 0)
                    .collect(),
            })
            .collect(),
    }
}

/// An LSA in a line.
fn says(body: &LsaBody, load: Option<(LsType, u32)>) -> String {
    match body {
        LsaBody::IntraAreaPrefix(lsa) => lsa
            .prefixes
            .iter()
            .map(|prefix| format!("{} metric {}", prefix.prefix, prefix.metric))
            .collect::<Vec<_>>()
            .join(", "),
        LsaBody::AsExternal(lsa) => {
            let tag = lsa.tag.map_or_else(String::new, |tag| format!(" tag {tag}"));
            format!("{} metric {}{tag}", lsa.prefix, lsa.metric)
        }
        LsaBody::Link(lsa) => format!("{} priority {}", lsa.link_local, lsa.priority),
        LsaBody::Opaque(octets) => match load.map(|(_, enterprise)| LoadLsa::decode(octets, enterprise)) {
            Some(Ok(load)) => format!(
                "{} load {}.{} % capacity {} rate {} cost {}",
                load.prefix,
                load.permille / 10,
                load.permille % 10,
                load.capacity,
                load.rate,
                load.cost
            ),
            Some(Err(error)) => format!("unreadable: {error}"),
            None => String::new(),
        },
        LsaBody::Router(_) | LsaBody::Network(_) | LsaBody::Grace(_) => String::new(),
    }
}
