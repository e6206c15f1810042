//! The daemon's Prometheus metrics, rendered from a [`Status`] that the controller gives out at each scrape: there is no
//! second set of books.
//!
//! Names follow Prometheus: base units, `_total` for what only grows, labels `service`, `address`, `interface`. What the
//! fast path counts grows since its program was attached, over restarts of the daemon; what the daemon counts, since its
//! start.

use prometheus_client::metrics::info::Info;

use super::scrape::{Labels, Scrape, flag, float};
use super::status::{State, Status};
use super::{ospf, pool};

/// Writes a status as OpenMetrics text.
pub fn render(status: &Status) -> String {
    let mut scrape = Scrape::default();
    daemon(&mut scrape, status);
    ownership(&mut scrape, status);
    fast_path(&mut scrape, status);
    checks(&mut scrape, status);
    interfaces(&mut scrape, status);
    if let Some(picture) = &status.ospf {
        ospf::metrics(&mut scrape, picture);
    }
    pool::metrics(&mut scrape, &status.pool);
    scrape.text()
}

fn daemon(scrape: &mut Scrape, status: &Status) {
    let build =
        Info::new(vec![("version", status.daemon.version.clone()), ("farm", status.daemon.farm.clone())]);
    scrape.registry.register("anycast_build", "Version of the daemon and name of the farm", build);
    scrape.plain("anycast_uptime_seconds", "Time since the daemon started", status.daemon.uptime_seconds);
    let alarms = float(status.alarms.len() as u64);
    scrape.plain(
        "anycast_alarms",
        "Things an operator should look at now; `anycast status` lists them",
        alarms,
    );
}

/// The labels of a service.
fn labels(service: &super::status::Service, more: &[(&'static str, &str)]) -> Labels {
    let mut labels = vec![
        ("service", service.name.clone()),
        ("address", service.address.to_string()),
        ("interface", service.interface.clone()),
    ];
    labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    labels
}

fn ownership(scrape: &mut Scrape, status: &Status) {
    let state = scrape.gauge("anycast_service_state", "1 for the state the service is in, 0 for the others");
    let able = scrape.gauge("anycast_service_able", "Whether this server could serve");
    let open = scrape.gauge("anycast_gate_open", "Whether the fast path answers solicitations");
    let held = scrape.gauge("anycast_gate_held", "Whether the operator holds the gate open or shut");
    let lease = scrape.gauge("anycast_lease_age_seconds", "Time since the open gate was last renewed");
    let epoch = scrape.gauge("anycast_epoch", "Epoch of the ownership");
    let load = scrape.gauge("anycast_load_ratio", "Load as a share of what this server can do");
    let route =
        scrape.gauge("anycast_route_metric", "Metric of the route that is advertised, 65535 = drained");
    let moves = scrape.gauge("anycast_moves_180s", "Changes of owner in the last 180 seconds");
    let transitions = scrape.counter("anycast_service_transitions", "Changes of state");
    let sent = scrape.counter("anycast_advertisements_sent", "Unsolicited advertisements sent");
    let failed =
        scrape.counter("anycast_advertisements_failed", "Unsolicited advertisements that could not be sent");
    let socket_drops =
        scrape.gauge("anycast_socket_drops", "What the service's sockets dropped since they were opened");
    let peers = scrape.gauge("anycast_peers", "Other servers heard, by the state they say they are in");
    let routers =
        scrape.gauge("anycast_routers", "Routers on the link, by whether this server owns their entry");
    let told = scrape.counter("anycast_router_advertisements_sent", "Advertisements sent to single routers");
    for service in &status.services {
        let plain = labels(service, &[]);
        for (owned, word) in [(true, "here"), (false, "elsewhere")] {
            let count = service.routers.iter().filter(|router| router.owned_here == owned).count() as u64;
            routers.get_or_create(&labels(service, &[("owned", word)])).set(float(count));
        }
        told.get_or_create(&plain).inc_by(service.router_advertisements_total);
        for each in State::ALL {
            state.get_or_create(&labels(service, &[("state", each.name())])).set(flag(each == service.state));
            let count = service.peers.iter().filter(|peer| peer.state == each).count() as u64;
            peers.get_or_create(&labels(service, &[("state", each.name())])).set(float(count));
        }
        able.get_or_create(&plain).set(flag(service.able));
        open.get_or_create(&plain).set(flag(service.gate.answers()));
        held.get_or_create(&plain).set(flag(service.hold != crate::control::Hold::Automatic));
        if let Some(left) = service.lease_ms_left {
            // An adopted gate is open for longer than a lease: its age is not known, and not an alarm.
            lease.get_or_create(&plain).set(float(status.daemon.lease_ms.saturating_sub(left)) / 1000.0);
        }
        epoch.get_or_create(&plain).set(float(service.epoch));
        if let Some(permille) = service.load {
            load.get_or_create(&plain).set(f64::from(permille) / 1000.0);
        }
        if let Some(metric) = service.route {
            route.get_or_create(&plain).set(f64::from(metric));
        }
        moves.get_or_create(&plain).set(f64::from(service.moves_180s));
        transitions.get_or_create(&plain).inc_by(service.transitions_total);
        sent.get_or_create(&plain).inc_by(service.advertisements_sent_total);
        failed.get_or_create(&plain).inc_by(service.advertisements_failed_total);
        if service.load.is_some() {
            socket_drops.get_or_create(&plain).set(float(service.socket_drops_total));
        }
    }
}

fn fast_path(scrape: &mut Scrape, status: &Status) {
    let queries = scrape.counter("anycast_queries", "UDP queries that arrived");
    let responses = scrape.counter("anycast_responses", "UDP packets with QR = 1 that arrived");
    let syns = scrape.counter("anycast_tcp_syns", "TCP connections begun by clients");
    let bytes = scrape.counter("anycast_bytes", "Bytes of the frames counted as queries, responses and SYNs");
    let malformed = scrape.counter("anycast_malformed", "UDP packets too short for a DNS header");
    let fragments = scrape.counter("anycast_fragments", "IP fragments to the service address");
    let solicitations = scrape.counter("anycast_solicitations", "Solicitations that arrived");
    let answered =
        scrape.counter("anycast_solicitations_answered", "Solicitations answered by the fast path");
    let refused = scrape.counter("anycast_solicitations_refused", "Solicitations not answered");
    let advertisements = scrape
        .counter("anycast_peer_advertisements", "Advertisements for the service address from another MAC");
    for service in &status.services {
        let plain = labels(service, &[]);
        let counters = &service.counters;
        queries.get_or_create(&plain).inc_by(counters.queries);
        responses.get_or_create(&plain).inc_by(counters.responses);
        syns.get_or_create(&plain).inc_by(counters.tcp_syns);
        bytes.get_or_create(&plain).inc_by(counters.bytes);
        malformed.get_or_create(&plain).inc_by(counters.malformed);
        fragments.get_or_create(&plain).inc_by(counters.fragments);
        answered.get_or_create(&plain).inc_by(counters.answered);
        advertisements.get_or_create(&plain).inc_by(counters.advertisements);
        for (kind, count) in [
            ("multicast", counters.solicitations_multicast),
            ("unicast", counters.solicitations_unicast),
            ("dad", counters.solicitations_dad),
        ] {
            solicitations.get_or_create(&labels(service, &[("kind", kind)])).inc_by(count);
        }
        for (reason, count) in [
            ("shut", counters.refused_shut),
            ("stale", counters.refused_stale),
            ("held", counters.refused_held),
        ] {
            refused.get_or_create(&labels(service, &[("reason", reason)])).inc_by(count);
        }
    }
}

fn checks(scrape: &mut Scrape, status: &Status) {
    let up = scrape.gauge("anycast_check_up", "Whether the check is up, after rise and fall");
    let duration = scrape.gauge("anycast_check_duration_seconds", "How long the last success took");
    let results = scrape.counter("anycast_check_results", "Results of the check");
    for service in &status.services {
        for check in &service.checks {
            let of = |more: &[(&'static str, &str)]| {
                let mut labels = labels(service, &[("kind", &check.kind), ("target", &check.target)]);
                labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
                labels
            };
            up.get_or_create(&of(&[])).set(flag(check.up));
            if let Some(latency) = check.latency_ms {
                duration.get_or_create(&of(&[])).set(latency / 1000.0);
            }
            results.get_or_create(&of(&[("result", "success")])).inc_by(check.successes_total);
            results.get_or_create(&of(&[("result", "failure")])).inc_by(check.failures_total);
        }
    }
}

fn interfaces(scrape: &mut Scrape, status: &Status) {
    let up = scrape.gauge("anycast_interface_up", "Whether the interface is up and has a carrier");
    let mode = scrape.gauge("anycast_xdp_mode", "1 for the mode in which the fast path is attached");
    let drops = scrape.counter("anycast_drops", "Frames dropped and events lost by the fast path");
    let sent = scrape.counter("anycast_heartbeats_sent", "Heartbeats sent");
    let heard = scrape.counter("anycast_heartbeats_heard", "Heartbeats of this farm heard");
    let refused = scrape.counter("anycast_heartbeats_refused", "Heartbeats refused");
    let heartbeats = scrape.counter(
        "anycast_heartbeats_authentication",
        "Heartbeats of this farm by what authentication made of them",
    );
    let advertisements = scrape.counter(
        "anycast_advertisements_authentication",
        "Advertisements of other servers by what authentication made of them",
    );
    for interface in &status.interfaces {
        let of = |more: &[(&'static str, &str)]| {
            let mut labels = vec![("interface", interface.name.clone())];
            labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
            labels
        };
        up.get_or_create(&of(&[])).set(flag(interface.up));
        if interface.program.is_some() {
            mode.get_or_create(&of(&[("mode", &interface.xdp_mode)])).set(1.0);
        }
        for (reason, count) in &interface.drops {
            drops.get_or_create(&of(&[("reason", reason)])).inc_by(*count);
        }
        sent.get_or_create(&of(&[])).inc_by(interface.heartbeats_sent_total);
        heard.get_or_create(&of(&[])).inc_by(interface.heartbeats_heard_total);
        for (reason, count) in &interface.heartbeats_refused {
            refused.get_or_create(&of(&[("reason", reason)])).inc_by(*count);
        }
        for (verdict, count) in &interface.heartbeats_authentication {
            heartbeats.get_or_create(&of(&[("verdict", verdict)])).inc_by(*count);
        }
        for (verdict, count) in &interface.advertisements_authentication {
            advertisements.get_or_create(&of(&[("verdict", verdict)])).inc_by(*count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::status::tests::example;

    #[test]
    fn everything_is_named_as_prometheus_wants() {
        let text = render(&example());
        let dns = "service=\"dns\",address=\"2001:db8:1::53\",interface=\"eth0\"";
        let registrar = "service=\"dns\",pool=\"dns\",registrar=\"registrar [2001:db8::";
        for line in [
            "anycast_build_info{version=\"0.1.0\",farm=\"dns-north\"} 1".to_owned(),
            "anycast_alarms 1.0".to_owned(),
            format!("anycast_service_state{{{dns},state=\"owner\"}} 1.0"),
            format!("anycast_service_state{{{dns},state=\"down\"}} 0.0"),
            format!("anycast_gate_open{{{dns}}} 1.0"),
            format!("anycast_lease_age_seconds{{{dns}}} 0.06"),
            format!("anycast_load_ratio{{{dns}}} 0.25"),
            format!("anycast_socket_drops{{{dns}}} 17.0"),
            format!("anycast_queries_total{{{dns}}} 98765432"),
            format!("anycast_solicitations_answered_total{{{dns}}} 1234567"),
            format!("anycast_solicitations_total{{{dns},kind=\"unicast\"}} 567"),
            format!("anycast_solicitations_refused_total{{{dns},reason=\"shut\"}} 3"),
            format!("anycast_service_transitions_total{{{dns}}} 4"),
            format!("anycast_peers{{{dns},state=\"ready\"}} 1.0"),
            format!("anycast_routers{{{dns},owned=\"here\"}} 1.0"),
            format!("anycast_router_advertisements_sent_total{{{dns}}} 6"),
            format!(
                "anycast_check_duration_seconds{{{dns},kind=\"dns\",target=\"[::1]:53 health.example. SOA\"}} 0.0005"
            ),
            "anycast_xdp_mode{interface=\"eth0\",mode=\"native\"} 1.0".to_owned(),
            "anycast_drops_total{interface=\"eth0\",reason=\"ns_checksum\"} 1".to_owned(),
            "anycast_heartbeats_refused_total{interface=\"eth0\",reason=\"foreign farm\"} 2".to_owned(),
            "anycast_heartbeats_authentication_total{interface=\"eth0\",verdict=\"bad_signature\"} 4"
                .to_owned(),
            "anycast_advertisements_authentication_total{interface=\"eth0\",verdict=\"replayed\"} 1"
                .to_owned(),
            "anycast_ospf_neighbors{interface=\"eth0\",state=\"Full\"} 1.0".to_owned(),
            "anycast_ospf_rejected_total{interface=\"eth0\",reason=\"mtu_mismatch\"} 5".to_owned(),
            "anycast_ospf_database_lsas 9.0".to_owned(),
            "anycast_ospf_database_refused_total 1".to_owned(),
            "anycast_pool_wanted{service=\"dns\",pool=\"dns\"} 1.0".to_owned(),
            "anycast_pool_registrations_sent_total{service=\"dns\",pool=\"dns\"} 7".to_owned(),
            "anycast_pool_keep_alives_answered_total{service=\"dns\",pool=\"dns\"} 31".to_owned(),
            format!("anycast_pool_registered{{{registrar}1]:3863\"}} 1.0"),
            format!("anycast_pool_problem{{{registrar}1]:3863\"}} 0.0"),
            format!("anycast_pool_registered{{{registrar}2]:3863\"}} 0.0"),
            format!("anycast_pool_problem{{{registrar}2]:3863\"}} 1.0"),
            "# EOF".to_owned(),
        ] {
            assert!(text.lines().any(|has| has == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("_total_total"));
    }

    #[test]
    fn a_shut_gate_has_no_lease_to_age() {
        let mut status = example();
        status.services[0].lease_ms_left = None;
        assert!(!render(&status).contains("anycast_lease_age_seconds{"));
        status.services[0].lease_ms_left = Some(9_000);
        assert!(render(&status).contains(
            "anycast_lease_age_seconds{service=\"dns\",address=\"2001:db8:1::53\",interface=\"eth0\"} 0.0"
        ));
    }
}
