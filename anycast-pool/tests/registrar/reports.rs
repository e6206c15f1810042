//! Unreachable reports (RFC 5352 3.5), and that nobody makes a weapon of them (RFC 5355 2.13, 2.14).

use anycast_pool::ElementId;
use anycast_pool::registrar::*;
use anycast_pool::wire::*;

use crate::lab::*;

fn report(lab: &mut Lab, connection: u64, id: u32) {
    lab.send(connection, &Message::EndpointUnreachable { handle: handle("dns"), id: ElementId(id) });
}

#[test]
fn a_report_asks_the_element_at_once() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.connect(2);
    assert_eq!(keep_alives(&lab.take(1)), 0, "the control: nothing without a report");
    report(&mut lab, 2, 1);
    let sent = lab.take(1);
    let expected = Message::EndpointKeepAlive { registrar: REGISTRAR, handle: handle("dns"), adopt: false };
    assert_eq!(sent, [expected]);
    assert!(lab.is_up("dns", 1), "it answers, so it stays");
}

#[test]
fn a_report_that_is_confirmed_takes_down() {
    let mut lab = Lab::new();
    lab.connect(1);
    lab.register(1, "dns", &element(1)).unwrap();
    lab.connect(2);
    report(&mut lab, 2, 1);
    assert!(lab.is_up("dns", 1));
    lab.pass(lab.registrar.config().keep_alive_timeout);
    assert_eq!(lab.status("dns", 1), Some((State::Down, Source::Report)));
}

#[test]
fn more_hosts_than_the_threshold_outweigh_the_element() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    for user in 2..=5 {
        lab.connect(user);
        assert!(lab.is_up("dns", 1), "{user}");
        report(&mut lab, user, 1);
    }
    assert_eq!(lab.status("dns", 1), Some((State::Down, Source::Report)));
    // It answers on, and registers again for its load, and stays down for the window.
    lab.pass(seconds(30));
    lab.register(1, "dns", &element(1)).unwrap();
    assert_eq!(lab.status("dns", 1), Some((State::Down, Source::Report)));
    lab.pass(seconds(40));
    assert_eq!(lab.status("dns", 1), Some((State::Up, Source::KeepAlive)));
}

#[test]
fn over_another_connection_it_begins_anew() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    for user in 2..=5 {
        lab.connect(user);
        report(&mut lab, user, 1);
    }
    lab.connect(9);
    lab.register(9, "dns", &element(1)).unwrap();
    assert_eq!(lab.status("dns", 1), Some((State::Up, Source::Registration)));
}

#[test]
fn one_host_alone_takes_nothing_away_however_often_it_reports() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    lab.connect(2);
    for _ in 0..100 {
        report(&mut lab, 2, 1);
        lab.pass(seconds(1));
    }
    assert!(lab.is_up("dns", 1));
}

#[test]
fn reports_of_long_ago_do_not_count() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    for user in 2..=9 {
        lab.connect(user);
        report(&mut lab, user, 1);
        lab.pass(seconds(30));
    }
    assert!(lab.is_up("dns", 1));
}

#[test]
fn a_flood_of_reports_is_no_flood_of_keep_alives() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    for user in 2..=4 {
        lab.connect(user);
    }
    for _ in 0..100 {
        for user in 2..=4 {
            report(&mut lab, user, 1);
        }
        lab.pass(ms(100));
    }
    let sent = keep_alives(&lab.take(1));
    assert!((10..=14).contains(&sent), "10 s, one a second and the periodic ones: {sent}");
    let counters = lab.registrar.counters();
    assert!(counters.dropped(DropReason::ReportSpacing) > 100);
    // In 10 s each may report 50 + 100 times.
    assert_eq!(counters.dropped(DropReason::ReportRate), 0);
    for _ in 0..100 {
        report(&mut lab, 2, 1);
    }
    assert!(lab.registrar.counters().dropped(DropReason::ReportRate) >= 50);
}

#[test]
fn at_most_one_keep_alive_is_outstanding() {
    let mut lab = Lab::new();
    lab.connect(1);
    lab.register(1, "dns", &element(1)).unwrap();
    lab.connect(2);
    for _ in 0..10 {
        report(&mut lab, 2, 1);
        lab.pass(ms(100));
    }
    assert_eq!(keep_alives(&lab.take(1)), 1);
}

#[test]
fn all_reports_together_cause_few_keep_alives() {
    let rates = Rates { report_keep_alives: Rate { per_second: 5, burst: 5 }, ..Rates::default() };
    let mut lab = Lab::with(Config { rates, ..config() });
    for id in 1..=50 {
        lab.element(u64::from(id), "dns", id);
    }
    lab.connect(100);
    for id in 1..=50 {
        report(&mut lab, 100, id);
    }
    let sent: usize = (1..=50).map(|connection| keep_alives(&lab.take(connection))).sum();
    assert_eq!(sent, 5);
}

#[test]
fn reports_on_nothing_are_counted() {
    let mut lab = Lab::new();
    lab.element(1, "dns", 1);
    report(&mut lab, 1, 9);
    assert_eq!(lab.registrar.counters().dropped(DropReason::ReportUnknown), 1);
    lab.answering.clear();
    lab.pass(seconds(10));
    report(&mut lab, 1, 1);
    assert_eq!(lab.registrar.counters().dropped(DropReason::ReportDown), 1);
}
