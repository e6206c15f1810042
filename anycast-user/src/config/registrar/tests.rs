use super::*;

fn parse(text: &str) -> Result<Registrar, String> {
    Registrar::parse(Path::new("r.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_is_a_registrar_without_tls() {
    let registrar = parse("").unwrap();
    assert_eq!(registrar.listen, ["[::]:3863".parse().unwrap()]);
    assert_eq!(registrar.listen_sctp, ["[::]:3863".parse().unwrap()]);
    assert!(registrar.listen_tls.is_empty() && registrar.tls.is_none() && registrar.announce.is_none());
    assert_eq!(registrar.state_dir, Path::new(DEFAULT_STATE_DIR));
    assert_eq!(registrar.sync, Sync::Second);
}

#[test]
fn the_example_is_sound() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/registrar.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(parse(&text).unwrap().warnings.is_empty());
    // And so is everything that stands there as a comment.
    let all: String = text
        .lines()
        .map(|line| line.strip_prefix("#").filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    let registrar = parse(&all).unwrap();
    assert!(registrar.tls.is_some() && registrar.announce.is_some(), "{registrar:?}");
}

#[test]
fn every_problem_has_its_line_and_says_what_to_do() {
    for (text, expected) in [
        (
            "[registrar]\nlisten = [\"::\"]",
            "r.toml:2: registrar.listen: \"::\" is not an address with a port",
        ),
        ("[registrar]\nlisten_tls = [\"[::]:1\"]", "r.toml:2: registrar.listen_tls: needs a table [tls]"),
        ("[registrar]\nlisten = []\nlisten_sctp = []", "nobody could reach it"),
        ("[registrar]\nrequire_secured = true", "r.toml:2: registrar.require_secured: needs [tls]"),
        ("[registrar]\nsync = \"never\"", "r.toml:2: registrar.sync: \"never\" is none of"),
        ("[registrar]\nstate = 1", "r.toml:2: registrar: unknown key `state`"),
        ("[tls]\nkey = \"k.pem\"", "tls.client_ca: is missing"),
        ("[tls]\nkey = \"k.pem\"", "r.toml:2: tls.key: \"k.pem\" is relative"),
        ("[[pool]]\nname = \"dns\"\nelements = [\"ns1.example\"]", "r.toml:3: pool.elements: needs [tls]"),
        ("[[pool]]\nname = \"dns\"\nelements = [\"a b\"]", "r.toml:3: pool.elements: \"a b\" is no name"),
        ("[[pool]]\nname = \"\"\nelements = [\"*\"]", "r.toml:2: pool.name: \"\" is empty"),
        ("[limits]\n\nconnections = 0", "r.toml:3: limits.connections: 0 is out of range"),
        ("[keep_alive]\ninterval = \"1ms\"", "r.toml:2: keep_alive.interval: 1ms is out of range"),
        ("[announce]\ninterfaces = [\"eth0\"]", "announce.addresses: must say by which addresses"),
        ("[announce]\naddresses = [\"[2001:db8::1]:3863\"]", "announce.interfaces: is missing"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn a_timeout_longer_than_the_interval_deserves_a_thought() {
    let registrar = parse("[keep_alive]\ninterval = \"1s\"\ntimeout = \"2s\"").unwrap();
    assert_eq!(registrar.warnings.len(), 1);
    assert_eq!(registrar.warnings[0].line, 2);
}
