//! The file of the distribution is taken; each way of being wrong is refused at its line.

use super::*;

mod hooks;
mod ospf;
mod pool;

const GOOD: &str = include_str!("../../../dist/anycast.toml");

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse(Path::new("a.toml"), text)
}

/// The problems, as an operator reads them.
fn problems(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

/// A small sound file with one service, in which `from` is replaced by `to`.
fn with(from: &str, to: &str) -> String {
    let text = r#"[daemon]
lease = "300ms"
[farm]
name = "f"
heartbeat = "50ms"
[[service]]
name = "dns"
interface = "eth0"
address = "2001:db8::53"
ports = [53]
mode = "failover"
[service.check]
interval = "1s"
timeout = "300ms"
rise = 2
fall = 3
dns = { server = "[::1]:53", name = "health.example.", type = "SOA" }
"#;
    assert_eq!(problems(text), Vec::<String>::new(), "the control is sound");
    assert!(from.is_empty() || text.contains(from), "{from} is not in the text");
    text.replacen(from, to, 1)
}

/// Asserts that the change is refused with one problem that starts as given and says `what`.
#[track_caller]
fn refused(from: &str, to: &str, start: &str, what: &str) {
    let problems = problems(&with(from, to));
    assert_eq!(problems.len(), 1, "{to}: {problems:#?}");
    assert!(problems[0].starts_with(start), "{}\ndoes not start with {start}", problems[0]);
    assert!(problems[0].contains(what), "{}\ndoes not say {what}", problems[0]);
}

#[test]
fn the_file_of_the_distribution_is_taken_as_written() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.warnings, Vec::new());
    assert_eq!(config.daemon.control_socket, Path::new("/run/anycast/control.sock"));
    assert_eq!(config.daemon.metrics, Some("[::1]:9531".parse().unwrap()));
    assert_eq!(config.daemon.lease, Duration::from_millis(300));
    assert_eq!(config.farm.name, "dns-north");
    assert_eq!(config.farm.heartbeat, Duration::from_millis(50));
    assert_eq!(config.interfaces, [Interface { name: "eth0".into(), xdp_mode: XdpMode::Native }]);
    let service = &config.services[0];
    assert_eq!(service.address, "2001:db8:1::53".parse::<IpAddr>().unwrap());
    assert_eq!(
        (service.mode, service.override_flag, service.source),
        (Mode::Failover, true, Source::LinkLocal)
    );
    assert_eq!(service.standby, Some(Standby { queries: 10, window: Duration::from_secs(60), hooks: None }));
    let check = config.check_of(0).unwrap();
    assert_eq!((check.rise, check.fall, check.timeout), (2, 3, Duration::from_millis(300)));
    assert_eq!(check.dns.as_ref().unwrap().name, "health.example.");
    assert_eq!(check.process, Some(ProcessTarget::PidFile("/run/nsd/nsd.pid".into())));
    assert_eq!(config.services[1].check, Checked::As(0));
    assert_eq!(config.check_of(1), config.check_of(0));
}

#[test]
fn everything_commented_out_in_the_file_of_the_distribution_is_sound_too() {
    // What a key is for stands behind it; and one server does not do everything at once.
    let text = |mode: &str, others: [&str; 2]| {
        let line = |line: &str| match line.strip_prefix("# ") {
            Some(rest) if others.iter().any(|other| rest.contains(&format!("# {other}:"))) => String::new(),
            Some(rest) if rest.starts_with("per_router") => String::new(),
            Some(rest) if rest.starts_with('[') || rest.contains(" = ") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        };
        let text = GOOD.lines().map(line).collect::<String>();
        text.replace("mode = \"failover\"", &format!("mode = \"{mode}\""))
    };
    let failover = parse(&text("failover", ["rotate", "solicited"])).unwrap();
    assert!(failover.services[0].preempt_delay.is_some());
    let solicited = parse(&text("solicited", ["rotate", "failover"])).unwrap();
    assert!(solicited.services[0].answer_delay.is_some());
    let config = parse(&text("rotate", ["failover", "solicited"])).unwrap();
    assert_eq!(config.services[0].vlan, [7]);
    assert_eq!(config.interfaces[0].xdp_mode, XdpMode::Generic);
    assert!(config.check_of(0).is_some_and(|check| check.tcp.is_some() && check.exec.is_some()));
}

#[test]
fn what_is_left_out_has_the_documented_value() {
    let text = r#"
[farm]
name = "f"
[[service]]
name = "dns"
interface = "eth0"
address = "2001:db8::53"
[service.check]
tcp = { server = "[::1]:53" }
"#;
    let config = parse(text).unwrap();
    assert_eq!(config.daemon.control_socket, Path::new(DEFAULT_CONTROL_SOCKET));
    assert_eq!(config.daemon.metrics, None);
    assert_eq!(config.daemon.lease, DEFAULT_LEASE);
    assert_eq!(config.daemon.restart_lease, Duration::from_secs(10));
    assert_eq!(config.farm.heartbeat, Duration::from_millis(50));
    assert_eq!(config.services[0].ports, [53]);
    assert_eq!(config.services[0].mode, Mode::Failover);
    assert_eq!(config.services[0].vlan, [0_u16; 0]);
    assert_eq!(config.services[0].standby, None);
    let check = config.check_of(0).unwrap();
    assert_eq!((check.interval, check.rise, check.fall), (Duration::from_secs(1), 2, 3));
}

#[test]
fn unknown_keys_are_refused_at_their_line_with_the_nearest_known_one() {
    refused("rise = 2", "rize = 2", "a.toml:15: service.check: ", "unknown key `rize`: did you mean `rise`?");
    refused("ports =", "port =", "a.toml:10: service: ", "did you mean `ports`?");
    refused(
        "lease =",
        "zzz =",
        "a.toml:2: daemon: ",
        "the keys of this table are bpf_log, bpffs, control_socket",
    );
    refused("[daemon]", "[demon]", "a.toml:1: ", "did you mean `daemon`?");
    refused("type = ", "typ = ", "a.toml:17: service.check: ", "did you mean `type`?");
}

#[test]
fn broken_toml_and_wrong_types_are_refused_at_their_line() {
    refused("ports = [53]", "ports = [53", "a.toml:1", "");
    refused("rise = 2", "rise = \"two\"", "a.toml:15: service.check.rise: ", "invalid type");
    refused("name = \"dns\"", "name = 7", "a.toml:7: service.name: ", "invalid type");
    refused("[daemon]", "[daemon", "a.toml:1: ", "");
}

#[test]
fn addresses_that_cannot_be_service_addresses_are_refused() {
    for (address, why) in [
        ("ff02::1", "a multicast address"),
        ("224.0.0.1", "a multicast address"),
        ("::1", "a loopback address"),
        ("127.0.0.53", "a loopback address"),
        ("::", "the unspecified address"),
        ("0.0.0.0", "the unspecified address"),
        ("fe80::53", "a link-local address"),
        ("169.254.0.53", "a link-local address"),
        ("255.255.255.255", "the broadcast address"),
        ("240.0.0.1", "a reserved address"),
        ("::ffff:192.0.2.1", "an IPv4-mapped address"),
        ("2001:db8::53/128", "write \"2001:db8::53\""),
        ("2001:db8::53/64", "has a prefix length"),
        ("fe80::1%eth0", "is not an IPv6 or IPv4 address"),
        ("dns.example", "is not an IPv6 or IPv4 address"),
    ] {
        refused("2001:db8::53", address, "a.toml:9: service.address: ", why);
    }
    assert!(problems(&with("2001:db8::53", "fd00::53")).is_empty());
    assert!(problems(&with("2001:db8::53", "10.0.0.53")).is_empty());
    refused("address = \"2001:db8::53\"\n", "", "a.toml:6: service.address: ", "is missing");
}

/// A service on VLANs as given that shares the first one's check.
fn second(name: &str, address: &str, interface: &str, vlan: &str) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\ninterface = \"{interface}\"\naddress = \"{address}\"\n{vlan}\ncheck_as = \"dns\"\n"
    )
}

#[test]
fn an_address_stands_once_on_an_interface_and_vlan() {
    let twice = with("", "") + &second("b", "2001:db8:0::53", "eth0", "");
    let told = problems(&twice);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].starts_with(
            "a.toml:21: service.address: 2001:db8::53 is already the address of service \"dns\""
        )
    );
    for other in [
        second("b", "2001:db8::53", "eth1", ""),
        second("b", "2001:db8::53", "eth0", "vlan = 7"),
        second("b", "2001:db8::54", "eth0", ""),
    ] {
        assert_eq!(problems(&(with("", "") + &other)), Vec::<String>::new());
    }
}

#[test]
fn an_interface_carries_64_addresses_and_no_more() {
    let mut text = with("", "");
    for n in 1..64 {
        text += &second(&format!("s{n}"), &format!("2001:db8::1:{n}"), "eth0", "");
    }
    assert_eq!(problems(&text), Vec::<String>::new());
    assert_eq!(
        problems(&(text.clone() + &second("other", "2001:db8::2:1", "eth1", ""))),
        Vec::<String>::new()
    );
    let told = problems(&(text + &second("s64", "2001:db8::1:64", "eth0", "")));
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("eth0 would carry more than 64 service addresses"), "{}", told[0]);
}

#[test]
fn names_are_unique_and_fit() {
    let told = problems(&(with("", "") + &second("dns", "2001:db8::54", "eth0", "")));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with("a.toml:19: service.name: \"dns\" is already the name"), "{}", told[0]);
    for name in ["", "a b", "2001:db8::1", "192.0.2.1", "x".repeat(33).as_str(), "ä"] {
        refused(
            "name = \"dns\"",
            &format!("name = \"{name}\""),
            "a.toml:7: service.name: ",
            "must be 1 to 32",
        );
    }
    refused("name = \"f\"", "name = \"a b\"", "a.toml:4: farm.name: ", "without spaces");
    refused("name = \"f\"\n", "", "a.toml:3: farm.name: ", "is missing");
}

#[test]
fn interfaces_have_kernel_names_and_are_used() {
    for name in ["", "a/b", "sixteen_bytes_xx", "..", "a b"] {
        refused("\"eth0\"", &format!("\"{name}\""), "a.toml:8: service.interface: ", "not an interface name");
    }
    refused("\"eth0\"", "\"lo\"", "a.toml:8: service.interface: ", "lo has no neighbours");
    let table = |name: &str, mode: &str| {
        with("", "") + &format!("[[interface]]\nname = \"{name}\"\nmode = \"{mode}\"\n")
    };
    assert_eq!(parse(&table("eth0", "generic")).unwrap().interfaces[0].xdp_mode, XdpMode::Generic);
    assert!(problems(&table("eth1", "native"))[0].contains("no service is on eth1"));
    assert!(problems(&table("eth0", "skb"))[0].contains("\"skb\" is none of \"native\", \"generic\""));
    let twice = table("eth0", "generic") + "[[interface]]\nname = \"eth0\"\n";
    assert!(problems(&twice)[0].contains("eth0 has two [[interface]] tables"));
}

#[test]
fn ports_and_vlans_fit() {
    refused("[53]", "[]", "a.toml:10: service.ports: ", "has 0 ports");
    refused("[53]", "[1, 2, 3, 4, 5]", "a.toml:10: service.ports: ", "has 5 ports: a service has 1 to 4");
    refused("[53]", "[0]", "a.toml:10: service.ports: ", "0 is not a port");
    refused("[53]", "[65536]", "a.toml:10: service.ports: ", "65536 is not a port");
    refused("[53]", "[53, 53]", "a.toml:10: service.ports: ", "53 stands there twice");
    assert_eq!(parse(&with("[53]", "[53, 853, 1, 65535]")).unwrap().services[0].ports, [53, 853, 1, 65535]);

    let vlan = |value: &str| format!("ports = [53]\nvlan = {value}");
    for value in ["0", "4095", "-1", "[7, 0]", "70000"] {
        refused(
            "ports = [53]",
            &vlan(value),
            "a.toml:11: service.vlan: ",
            "is not a VLAN identifier: 1 to 4094 are",
        );
    }
    refused("ports = [53]", &vlan("[]"), "a.toml:11: service.vlan: ", "has 0 identifiers");
    refused("ports = [53]", &vlan("[1, 2, 3]"), "a.toml:11: service.vlan: ", "has 3 identifiers");
    refused("ports = [53]", &vlan("\"seven\""), "a.toml:11: service.vlan: ", "expected a VLAN identifier");
    assert_eq!(parse(&with("ports = [53]", &vlan("4094"))).unwrap().services[0].vlan, [4094]);
    assert_eq!(parse(&with("ports = [53]", &vlan("[100, 7]"))).unwrap().services[0].vlan, [100, 7]);
}

#[test]
fn durations_fit_and_fit_together() {
    refused("\"300ms\"", "\"300\"", "a.toml:2: daemon.lease: ", "is not a duration");
    refused("\"300ms\"", "300", "a.toml:2: daemon.lease: ", "with its unit in quotes");
    refused("\"300ms\"", "\"99ms\"", "a.toml:2: daemon.lease: ", "99ms is out of range: 100ms to 10s");
    refused("\"300ms\"", "\"11s\"", "a.toml:2: daemon.lease: ", "11s is out of range");
    refused("\"50ms\"", "\"9ms\"", "a.toml:5: farm.heartbeat: ", "9ms is out of range: 10ms to 10s");
    refused("\"50ms\"", "\"151ms\"", "a.toml:2: daemon.lease: ", "less than two heartbeats of 151ms");
    assert!(problems(&with("\"50ms\"", "\"150ms\"")).is_empty());
    refused(
        "timeout = \"300ms\"",
        "timeout = \"2s\"",
        "a.toml:14: service.check.timeout: ",
        "longer than the interval",
    );
    refused("interval = \"1s\"", "interval = \"0s\"", "a.toml:13: service.check.interval: ", "out of range");
    let config = parse(&with("\"300ms\"", "\"400ms\"")).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(
        config.warnings[0].to_string().starts_with("a.toml:2: daemon.lease: 400ms is longer than peers need")
    );
}

#[test]
fn rise_and_fall_are_at_least_one() {
    for value in ["0", "-1", "1001"] {
        refused("rise = 2", &format!("rise = {value}"), "a.toml:15: service.check.rise: ", "1 to 1000");
        refused("fall = 3", &format!("fall = {value}"), "a.toml:16: service.check.fall: ", "1 to 1000");
    }
}

const DNS: &str = "dns = { server = \"[::1]:53\", name = \"health.example.\", type = \"SOA\" }\n";

#[test]
fn a_check_has_a_target() {
    refused(DNS, "", "a.toml:12: service.check: ", "checks nothing");
    let all =
        "[service.check]\ninterval = \"1s\"\ntimeout = \"300ms\"\nrise = 2\nfall = 3\n".to_owned() + DNS;
    refused(&all, "", "a.toml:6: service: ", "has no check");
    for (check, key, what) in [
        ("dns = { name = \"a.\" }", "service.check.dns.server", "is missing"),
        ("dns = { server = \"[::1]:53\" }", "service.check.dns.name", "is missing"),
        ("dns = { server = \"::1\", name = \"a.\" }", "service.check.dns.server", "write it as \"[::1]:53\""),
        (
            "dns = { server = \"[::]:53\", name = \"a.\" }",
            "service.check.dns.server",
            "not an address to connect to",
        ),
        (
            "dns = { server = \"[::1]:53\", name = \"a..b\" }",
            "service.check.dns.name",
            "is not a domain name",
        ),
        (
            "dns = { server = \"[::1]:53\", name = \"a.\", type = \"SOAP\" }",
            "service.check.dns.type",
            "is not a type",
        ),
        (
            "dns = { server = \"[::1]:53\", name = \"a.\", type = \"AXFR\" }",
            "service.check.dns.type",
            "is not a type",
        ),
        (
            "dns = { server = \"[::1]:53\", name = \"a.\", udp = false, tcp = false }",
            "service.check.dns",
            "neither",
        ),
        ("tcp = {}", "service.check.tcp.server", "is missing"),
        ("exec = {}", "service.check.exec.command", "is missing"),
        ("exec = { command = [] }", "service.check.exec.command", "is empty"),
        ("exec = { command = [\"check\"] }", "service.check.exec.command", "is relative"),
        ("process = {}", "service.check.process", "watches nothing"),
        ("process = { pid_file = \"nsd.pid\" }", "service.check.process.pid_file", "is relative"),
        ("process = { unit = \"nsd\" }", "service.check.process.unit", "not the name of a service unit"),
        ("process = { unit = \"nsd.service\", pid_file = \"/a\" }", "service.check.process", "one of them"),
    ] {
        refused(DNS, &format!("{check}\n"), &format!("a.toml:17: {key}: "), what);
    }
    for check in ["exec = { command = [\"/bin/true\"] }\n", "process = { unit = \"nsd.service\" }\n", DNS] {
        assert!(problems(&with(DNS, check)).is_empty(), "{check}");
    }
    let named = parse(&with("\"health.example.\"", "\"Health.Example\"")).unwrap();
    assert_eq!(named.check_of(0).unwrap().dns.as_ref().unwrap().name, "Health.Example.");
    let own = parse(&with("[::1]:53", "[2001:db8::53]:53")).unwrap();
    assert!(
        own.warnings[0].to_string().contains("2001:db8::53 is the service address"),
        "{:?}",
        own.warnings
    );
}

#[test]
fn check_as_leads_to_a_check() {
    let sharing = |name: &str, with: &str| {
        second(name, &format!("2001:db8::{}", name.len()), "eth0", "")
            .replace("\"dns\"\n", &format!("\"{with}\"\n"))
    };
    let chain = with("", "") + &sharing("b", "dns") + &sharing("cc", "b");
    let config = parse(&chain).unwrap();
    assert_eq!((&config.services[1].check, &config.services[2].check), (&Checked::As(0), &Checked::As(0)));

    let missing = problems(&(with("", "") + &sharing("b", "dsn")));
    assert_eq!(missing.len(), 1, "{missing:#?}");
    assert!(
        missing[0].contains("service.check_as: no service is called \"dsn\"; there are: b, dns"),
        "{}",
        missing[0]
    );

    let circle = problems(&(with("", "") + &sharing("b", "cc") + &sharing("cc", "b")));
    assert_eq!(circle.len(), 2, "{circle:#?}");
    assert!(circle.iter().all(|problem| problem.contains("leads in a circle")), "{circle:#?}");
    assert!(problems(&(with("", "") + &sharing("b", "b")))[0].contains("leads in a circle"));

    let both = with("ports = [53]", "ports = [53]\ncheck_as = \"dns\"");
    assert!(
        problems(&both).iter().any(|problem| problem.contains("remove one of them")),
        "{:?}",
        problems(&both)
    );
}

#[test]
fn paths_are_absolute() {
    for key in ["control_socket", "state_dir", "bpffs"] {
        let to = format!("{key} = \"run/x\"");
        refused("lease = \"300ms\"", &to, &format!("a.toml:2: daemon.{key}: "), "\"run/x\" is relative");
    }
    refused(
        "lease = \"300ms\"",
        "metrics = \"9531\"",
        "a.toml:2: daemon.metrics: ",
        "write it as \"[::1]:9531\"",
    );
}

#[test]
fn words_are_those_of_the_format() {
    refused(
        "\"failover\"",
        "\"active\"",
        "a.toml:11: service.mode: ",
        "none of \"rotate\", \"failover\", \"solicited\"",
    );
    let to = "mode = \"failover\"\nsource = \"global\"";
    refused("mode = \"failover\"", to, "a.toml:12: service.source: ", "none of \"link-local\", \"target\"");
}

#[test]
fn turns_belong_to_rotate() {
    let rotate = |keys: &str| with("mode = \"failover\"", &format!("mode = \"rotate\"\n{keys}"));
    let config = parse(&rotate("slice = \"90s\"\nweight = 3")).unwrap();
    assert_eq!((config.services[0].slice, config.services[0].weight), (Duration::from_secs(90), 3));
    assert_eq!(config.warnings, Vec::new());
    assert_eq!(parse(&rotate("")).unwrap().services[0].slice, Duration::from_secs(60));
    let often = parse(&rotate("slice = \"44s\"")).unwrap();
    assert!(often.warnings[0].to_string().contains("5 moves in 180s"), "{:?}", often.warnings);
    assert!(problems(&rotate("slice = \"999ms\""))[0].contains("999ms is out of range: 1s to 24h"));
    assert!(problems(&rotate("weight = 0"))[0].contains("0 is out of range"));
    for key in ["slice = \"60s\"", "weight = 1"] {
        let to = format!("mode = \"failover\"\n{key}");
        refused("mode = \"failover\"", &to, "a.toml:12: service.", "has no meaning in mode \"failover\"");
    }
}

#[test]
fn preemption_belongs_to_failover() {
    let failover = |keys: &str| with("mode = \"failover\"", &format!("mode = \"failover\"\n{keys}"));
    let preemption = |text: &str| {
        let service = &parse(text).unwrap().services[0];
        (service.priority, service.preempt_delay)
    };
    assert_eq!(preemption(&failover("")), (100, None));
    assert_eq!(
        preemption(&failover("priority = 200\npreempt_delay = \"30s\"")),
        (200, Some(Duration::from_secs(30)))
    );
    assert_eq!(preemption(&failover("priority = 0")), (0, None));
    for wrong in ["priority = -1", "priority = 256"] {
        assert!(problems(&failover(wrong))[0].contains("is out of range: 0 to 255"), "{wrong}");
    }
    assert!(problems(&failover("preempt_delay = \"25h\""))[0].contains("is out of range: 0s to 24h"));
    for key in ["priority = 100", "preempt_delay = \"1s\""] {
        let to = format!("mode = \"rotate\"\n{key}");
        refused("mode = \"failover\"", &to, "a.toml:12: service.", "has no meaning in mode \"rotate\"");
    }
}

#[test]
fn routers_are_owned_where_anything_is() {
    let per_router =
        |mode: &str, key: &str| with("mode = \"failover\"", &format!("mode = \"{mode}\"\n{key}"));
    for mode in ["failover", "rotate"] {
        let service = |key: &str| parse(&per_router(mode, key)).unwrap().services.remove(0);
        assert!(service("per_router = true").per_router && service("per_router = true").needs_extra());
        assert!(!service("per_router = false").per_router && !service("").needs_extra());
    }
    let told = problems(&per_router("solicited", "per_router = true"));
    assert!(told[0].contains("no server owns anything"), "{told:?}");
    let standby = per_router("failover", "per_router = true") + "[service.standby]\nqueries = 10\n";
    assert!(problems(&standby)[0].contains("does not go with [service.standby]"), "{:?}", problems(&standby));
}

#[test]
fn answers_are_delayed_where_several_answer() {
    let delay = |mode: &str, delay: &str| {
        with("mode = \"failover\"", &format!("mode = \"{mode}\"\nanswer_delay = \"{delay}\""))
    };
    let service = parse(&delay("solicited", "1s")).unwrap().services.remove(0);
    assert_eq!(service.answer_delay, Some(Duration::from_secs(1)));
    assert!(service.needs_extra());
    assert!(problems(&delay("solicited", "1001ms"))[0].contains("is out of range: 1ms to 1s"));
    assert!(problems(&delay("failover", "1s"))[0].contains("has no meaning in mode \"failover\""));
}

#[test]
fn foreign_servers_have_mac_addresses() {
    let foreign = |list: &str| with("name = \"f\"", &format!("name = \"f\"\nforeign = [{list}]"));
    let config = parse(&foreign("\"02:00:5e:00:53:Af\"")).unwrap();
    assert_eq!(config.farm.foreign, [[2, 0, 0x5e, 0, 0x53, 0xaf]]);
    for wrong in
        ["02:00:5e:00:53", "02:00:5e:00:53:01:02", "2:0:5e:0:53:1", "+2:00:5e:00:53:01", "02-00-5e-00-53-01"]
    {
        let told = problems(&foreign(&format!("\"{wrong}\"")));
        assert!(
            told[0].starts_with("a.toml:5: farm.foreign: ") && told[0].contains("is not a MAC"),
            "{told:?}"
        );
    }
    assert!(problems(&foreign("\"01:00:5e:00:00:01\""))[0].contains("not the MAC address of one server"));
    assert!(problems(&foreign("\"00:00:00:00:00:00\""))[0].contains("not the MAC address of one server"));
}

#[test]
fn authentication_has_a_key_file_and_a_mode() {
    let farm = |keys: &str| with("name = \"f\"", &format!("name = \"f\"\n{keys}"));
    let auth = |keys: &str| parse(&farm(keys)).unwrap().farm.auth;
    let key_file = PathBuf::from("/etc/anycast/farm.keys");
    let file = "key_file = \"/etc/anycast/farm.keys\"\n";
    for (word, mode) in [
        ("receive-only", AuthMode::ReceiveOnly),
        ("permissive", AuthMode::Permissive),
        ("enforce", AuthMode::Enforce),
    ] {
        let parsed = auth(&format!("{file}auth = \"{word}\""));
        assert_eq!(parsed, Some(Auth { key_file: key_file.clone(), mode }));
        assert_eq!(mode.name(), word);
    }
    assert_eq!(auth(file), Some(Auth { key_file, mode: AuthMode::Enforce }), "the default");
    assert_eq!(parse(&farm("")).unwrap().farm.auth, None);
    refused(
        "name = \"f\"",
        "name = \"f\"\nauth = \"enforce\"",
        "a.toml:5: farm.auth: ",
        "needs farm.key_file",
    );
    let told = problems(&farm(&format!("{file}auth = \"on\"")));
    assert!(told[0].starts_with("a.toml:6: farm.auth: "), "{told:?}");
}

#[test]
fn load_is_measured_against_a_capacity() {
    let load = |keys: &str| with("", "") + "[service.load]\n" + keys;
    let parsed = parse(&load("capacity = 200000\ncongested_above = 0.75\n")).unwrap();
    assert_eq!(parsed.services[0].load, Some(Load { capacity: 200_000, congested_above: 750 }));
    assert_eq!(parse(&load("capacity = 1\n")).unwrap().services[0].load.unwrap().congested_above, 800);
    assert_eq!(parse(&with("", "")).unwrap().services[0].load, None);
    for (keys, what) in [
        ("congested_above = 0.8\n", "service.load.capacity: is missing"),
        ("capacity = 0\n", "service.load.capacity: 0 is out of range"),
        ("capacity = 4294967296\n", "service.load.capacity: 4294967296 is out of range"),
        ("capacity = 1\ncongested_above = 0.0\n", "service.load.congested_above: 0 is out of range"),
        ("capacity = 1\ncongested_above = 1.1\n", "service.load.congested_above: 1.1 is out of range"),
        ("capacity = 1\ncongested_above = nan\n", "service.load.congested_above: NaN is out of range"),
    ] {
        let told = problems(&load(keys));
        assert!(told.len() == 1 && told[0].contains(what), "{keys}: {told:#?}");
    }
}

#[test]
fn the_override_flag_follows_the_mode_unless_it_is_given() {
    let of = |mode: &str| parse(&with("mode = \"failover\"", mode)).unwrap().services[0].override_flag;
    assert!(of("mode = \"failover\""));
    assert!(!of("mode = \"solicited\""));
    assert!(of("mode = \"solicited\"\noverride = true"));
    assert!(!of("mode = \"failover\"\noverride = false"));
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = with("rise = 2", "rise = 0").replace("[53]", "[0]").replace("2001:db8::53", "ff02::1");
    let told = problems(&text);
    assert_eq!(told.len(), 3);
    assert!(
        told[0].starts_with("a.toml:9:")
            && told[1].starts_with("a.toml:10:")
            && told[2].starts_with("a.toml:15:")
    );
}

#[test]
fn empty_files_say_what_to_add() {
    let told = problems("");
    assert!(told[0].contains("add [farm]") && told[1].contains("add a [[service]]"), "{told:#?}");
    let missing = Config::load(Path::new("/nonexistent/a.toml")).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent/a.toml") && missing.contains("--config FILE"), "{missing}");
}

#[test]
fn a_service_is_found_by_name_and_by_address() {
    let text = with("", "")
        + &second("b", "2001:db8::53", "eth0", "vlan = 7")
        + &second("c", "192.0.2.53", "eth0", "");
    let config = parse(&text).unwrap();
    assert_eq!(config.service("b"), Ok(1));
    assert_eq!(config.service("192.0.2.53"), Ok(2));
    assert!(config.service("2001:db8::53").unwrap_err().contains("several services have the address"));
    assert!(config.service("2001:db8::99").unwrap_err().contains("no service has the address"));
    assert!(config.service("d").unwrap_err().contains("there are: dns, b, c"));
}

#[test]
fn the_control_socket_is_found_in_an_unsound_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.toml");
    std::fs::write(&file, "[daemon]\ncontrol_socket = \"/run/x.sock\"\nnonsense = 1\n").unwrap();
    assert_eq!(control_socket_of(&file), Path::new("/run/x.sock"));
    std::fs::write(&file, "[daemon\n").unwrap();
    assert_eq!(control_socket_of(&file), Path::new(DEFAULT_CONTROL_SOCKET));
}
