//! What was aimed at, and whether it was reached.

use super::{Figures, Report};

/// An aim.
pub(super) struct Target {
    /// What.
    pub(super) name: String,
    /// The figure.
    pub(super) figure: String,
    /// The aim in words.
    pub(super) aim: String,
    /// Whether the figure reaches it.
    pub(super) met: bool,
}

/// From the silence of an owner to another one: three heartbeats, and 100 ms for the rest.
fn dead_interval_ms(report: &Report) -> f64 {
    (3 * report.settings.heartbeat_ms) as f64 + 100.0
}

/// All of them.
pub(super) fn all(report: &Report) -> Vec<Target> {
    let ours = &report.ours;
    let settings = &report.settings;
    let hung = (settings.check_interval_ms * settings.check_fall + settings.check_timeout_ms + 50) as f64;
    let mut targets = Vec::new();
    let mut at_most = |name: &str, figure: f64, aim: f64| {
        targets.push(Target {
            name: name.to_owned(),
            figure: format!("{figure:.1} ms"),
            aim: format!("at most {aim:.0} ms"),
            met: figure <= aim,
        });
    };
    at_most("process killed, p50", ours.process_killed_ms.p50, 10.0);
    at_most("process killed, p99", ours.process_killed_ms.p99, 50.0);
    at_most("service hung, p99", ours.service_hung_ms.p99, hung);
    at_most("link cut, p99", ours.link_cut_ms.p99, dead_interval_ms(report));
    at_most("daemon killed, p99", ours.daemon_killed_ms.p99, dead_interval_ms(report));

    let silence = &report.daemon_killed_silence;
    targets.push(Target {
        name: "killed daemon's fast path, answers after its lease".to_owned(),
        figure: format!("{} of {}", silence.answered_by_victim, silence.solicitations),
        aim: format!("0; the new owner answered {}", silence.answered_by_others),
        met: silence.answered_by_victim == 0
            && silence.solicitations > 0
            && silence.answered_by_others == silence.solicitations,
    });
    type Median = fn(&Figures) -> f64;
    let compared: [(&str, Median); 3] = [
        ("process killed", |figures| figures.process_killed_ms.p50),
        ("link cut", |figures| figures.link_cut_ms.p50),
        ("planned stop", |figures| figures.planned_ms.p50),
    ];
    for (theirs, interval, least) in
        [(&report.keepalived_100ms, "100 ms", 2.0), (&report.keepalived_50ms, "50 ms", 1.0)]
    {
        for (name, median) in compared {
            let ratio = median(theirs) / median(ours);
            targets.push(Target {
                name: format!("{name}, keepalived at {interval} over ours, p50"),
                figure: format!("{ratio:.1}"),
                aim: format!("at least {least:.0}"),
                met: ratio >= least,
            });
        }
    }
    for (name, count) in [
        ("planned stop (SIGTERM)", &ours.planned),
        ("drain", &report.drain),
        ("rotation", &report.rotation),
        ("restart (stop --keep)", &report.restart),
        ("nothing", &ours.quiet),
    ] {
        targets.push(Target {
            name: format!("lost by {name}"),
            figure: format!("{} of {}", count.lost, count.sent),
            aim: "0".to_owned(),
            met: count.lost == 0 && count.sent > 0,
        });
    }
    let rotate = &report.rotate;
    targets.push(Target {
        name: format!("Jain's index, 4 equal servers, {} slices", rotate.slices),
        figure: format!("{:.3}", rotate.jain),
        aim: "at least 0.99".to_owned(),
        met: rotate.jain >= 0.99,
    });
    targets.push(Target {
        name: format!("weights 1, 2, 3, {} slices: largest error", rotate.weighted_slices),
        figure: format!("{:.1} %", rotate.weighted_error * 100.0),
        aim: "at most 5 %".to_owned(),
        met: rotate.weighted_error <= 0.05,
    });
    if let Some(gain) = report.per_router_gain {
        targets.push(Target {
            name: "two routers with `per_router`, answers over one owner's".to_owned(),
            figure: format!("{gain:.2}"),
            aim: "at least 1.8".to_owned(),
            met: gain >= 1.8,
        });
    }
    targets
}
