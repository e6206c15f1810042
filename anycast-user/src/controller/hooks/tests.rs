use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const DNS: ServiceId = ServiceId(0);

/// A script that appends to `log` beside it.
fn script(directory: &Path, body: &str) -> PathBuf {
    let path = directory.join("notify");
    let log = directory.join("log");
    std::fs::write(&path, format!("#!/bin/sh\nlog='{}'\n{body}\n", log.display())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn config(notify: Option<&Path>, standby: &str) -> Config {
    let notify = notify.map_or(String::new(), |path| format!("[daemon]\nnotify = \"{}\"\n", path.display()));
    let text = format!(
        "{notify}[farm]\nname = \"f\"\n[[service]]\nname = \"dns\"\ninterface = \"eth0\"\naddress = \"2001:db8::53\"\n\
         [service.check]\ninterval = \"100ms\"\nexec = {{ command = [\"/bin/true\"] }}\n{standby}"
    );
    Config::parse(Path::new("test.toml"), &text).unwrap()
}

async fn finish(hooks: Hooks) {
    tokio::time::timeout(PATIENCE, hooks.finish(PATIENCE)).await.unwrap();
}

fn log(directory: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn each_change_and_alarm_runs_the_program_in_order_with_its_words() {
    let directory = tempfile::tempdir().unwrap();
    let body = "echo \"$ANYCAST_EVENT $ANYCAST_FARM $ANYCAST_SERVICE $ANYCAST_ADDRESS $ANYCAST_INTERFACE \
                $ANYCAST_FROM $ANYCAST_TO $ANYCAST_REASON $ANYCAST_ALARM\" >>\"$log\"";
    let path = script(directory.path(), body);
    let hooks = Hooks::new(&config(Some(&path), ""));
    hooks.changed(DNS, State::Down, State::Ready, &Reason::Able);
    hooks.changed(DNS, State::Ready, State::Owner, &Reason::NoOwner);
    hooks.alarm(Some(DNS), "somebody else");
    hooks.alarm(None, "another farm");
    finish(hooks).await;
    let expected = [
        "state f dns 2001:db8::53 eth0 down ready able ",
        "state f dns 2001:db8::53 eth0 ready owner no owner heard ",
        "alarm f dns 2001:db8::53 eth0    somebody else",
        "alarm f       another farm",
    ];
    assert_eq!(log(directory.path()), expected);

    let hooks = Hooks::new(&config(None, ""));
    hooks.changed(DNS, State::Down, State::Ready, &Reason::Able);
    finish(hooks).await;
    assert_eq!(log(directory.path()).len(), 4, "without notify nothing runs");
}

#[tokio::test]
async fn a_program_that_fails_does_not_stop_the_next_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = script(directory.path(), "echo \"$ANYCAST_TO\" >>\"$log\"; exit 3");
    let hooks = Hooks::new(&config(Some(&path), ""));
    hooks.changed(DNS, State::Down, State::Ready, &Reason::Able);
    hooks.changed(DNS, State::Ready, State::Owner, &Reason::NoOwner);
    finish(hooks).await;
    assert_eq!(log(directory.path()), ["ready", "owner"]);
}

#[tokio::test]
async fn a_program_that_hangs_drops_the_oldest_and_is_killed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = script(directory.path(), "echo $$ >>\"$log\"; exec sleep 1000");
    let hooks = Hooks::new(&config(Some(&path), ""));
    hooks.changed(DNS, State::Down, State::Ready, &Reason::Able);
    let pid = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(pid) = log(directory.path()).first() {
                return pid.parse::<i32>().unwrap();
            }
            tokio::task::yield_now().await;
        }
    });
    let pid = nix::unistd::Pid::from_raw(pid.await.unwrap());
    let lives = || nix::sys::signal::kill(pid, None).is_ok();
    assert!(lives(), "the script does not hang, so the test shows nothing");
    // None of these waits for it.
    for number in 0..NOTIFICATIONS + 5 {
        hooks.alarm(None, &number.to_string());
    }
    let waiting: Vec<_> = {
        let queue = hooks.notifications.as_ref().unwrap().queue.lock().unwrap();
        queue.waiting.iter().filter_map(|environment| value(environment, "ANYCAST_ALARM")).collect()
    };
    assert_eq!(waiting.len(), NOTIFICATIONS);
    assert_eq!((waiting[0].as_str(), waiting[NOTIFICATIONS - 1].as_str()), ("5", "68"));
    tokio::time::timeout(PATIENCE, hooks.finish(Duration::from_millis(1))).await.unwrap();
    tokio::time::timeout(PATIENCE, async {
        while lives() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("killed with the task");
}

#[tokio::test]
async fn stop_and_start_run_in_order_and_the_end_of_a_start_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path =
        script(directory.path(), "echo \"$1 $ANYCAST_EVENT $ANYCAST_SERVICE\" >>\"$log\"; test $1 = stop");
    let standby = format!(
        "[service.standby]\non_standby = [\"{0}\", \"stop\"]\non_wake = [\"{0}\", \"start\"]\n",
        path.display()
    );
    let mut hooks = Hooks::new(&config(None, &standby));
    hooks.stop(DNS);
    hooks.start(DNS);
    // It failed, which the checks will show; told it is all the same, or the service would wait for ever.
    let started = tokio::time::timeout(PATIENCE, hooks.started()).await.unwrap();
    assert_eq!(started, DNS);
    assert_eq!(log(directory.path()), ["stop on_standby dns", "start on_wake dns"]);
    hooks.stop(DNS);
    finish(hooks).await;
    assert_eq!(log(directory.path()).len(), 3, "what was asked for before the end is done");

    let mut without = Hooks::new(&config(None, ""));
    without.start(DNS);
    let told = tokio::time::timeout(Duration::from_millis(50), without.started()).await;
    assert!(told.is_err(), "nothing ran, so nothing ended");
}
