//! `[service.standby]`: when a server stands by, and what is done with its service meanwhile.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::Validator;
use crate::config::value::written;
use crate::config::{Checked, Mode, Service, Standby, StandbyHooks, options};

/// How long a service may take to be able again when the file does not say.
const DEFAULT_WAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Validator<'_> {
    pub fn standby(&mut self, standby: Spanned<options::Standby>, mode: Mode, check: &Checked) -> Standby {
        let span = standby.span();
        let mut standby = standby.into_inner();
        let queries = standby.queries.take().map_or(10, |queries| match u64::try_from(*queries.get_ref()) {
            Ok(fitting) if fitting > 0 => fitting,
            _ => {
                let what = format!(
                    "{} must be at least 1: leave [service.standby] out to never stand by",
                    queries.get_ref()
                );
                self.problem(queries.span(), "service.standby.queries", what);
                1
            }
        });
        let window = standby.window.take();
        let window = self.time(window, "service.standby.window", Duration::from_secs(60), "1s", "24h");
        let hooks = self.standby_hooks(standby, span.clone(), check);
        if mode == Mode::Failover && hooks.is_some() {
            let what = "runs on `anycast standby` only: in mode \"failover\" the owner stays, and who owns nothing is ready";
            self.warning(span, "service.standby.on_standby", what);
        }
        Standby { queries, window, hooks }
    }

    fn standby_hooks(
        &mut self,
        standby: options::Standby,
        span: Range<usize>,
        check: &Checked,
    ) -> Option<StandbyHooks> {
        const KEY: &str = "service.standby.wake_timeout";
        let timeout_span = standby.wake_timeout.as_ref().map(Spanned::span);
        let wake_timeout = self.time(standby.wake_timeout, KEY, DEFAULT_WAKE_TIMEOUT, "100ms", "10m");
        let (on_standby, on_wake) = match (standby.on_standby, standby.on_wake) {
            (Some(on_standby), Some(on_wake)) => (on_standby, on_wake),
            (None, None) => {
                if let Some(span) = timeout_span {
                    self.problem(span, KEY, "has no meaning without on_standby and on_wake: remove it");
                }
                return None;
            }
            (Some(_), None) => {
                let what = "is missing: what on_standby stops must be started again";
                self.problem(span, "service.standby.on_wake", what);
                return None;
            }
            (None, Some(_)) => {
                let what = "is missing: without it nothing is stopped that on_wake could start";
                self.problem(span, "service.standby.on_standby", what);
                return None;
            }
        };
        let on_standby = self.program(on_standby, "service.standby.on_standby");
        let on_wake = self.program(on_wake, "service.standby.on_wake");
        if let Checked::Own(check) = check
            && wake_timeout < check.interval * check.rise
        {
            let what = format!(
                "{} is too short: the checks alone need {} ({} runs, {} apart) to find a service good",
                written(wake_timeout),
                written(check.interval * check.rise),
                check.rise,
                written(check.interval)
            );
            self.problem(timeout_span.unwrap_or(span), KEY, what);
        }
        Some(StandbyHooks { on_standby: on_standby?, on_wake: on_wake?, wake_timeout })
    }

    /// A process that serves several addresses must not be stopped because one of them stands by.
    pub fn hooks_of_shared_checks(&mut self, services: &[Service], standbys: &[Range<usize>]) {
        for (number, (service, span)) in services.iter().zip(standbys).enumerate() {
            if service.standby.as_ref().is_none_or(|standby| standby.hooks.is_none()) {
                continue;
            }
            let sharer = services.iter().enumerate().find(|(other, service)| match service.check {
                Checked::Own(_) => false,
                Checked::As(shared) => *other == number || shared == number,
            });
            if let Some((other, sharer)) = sharer {
                let with = if other == number { "another service" } else { sharer.name.as_str() };
                let what = format!(
                    "its check is shared with {with}: a process that serves several addresses cannot be stopped for one"
                );
                self.problem(span.clone(), "service.standby.on_standby", what);
            }
        }
    }
}
