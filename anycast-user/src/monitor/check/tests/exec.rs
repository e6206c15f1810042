//! The `exec` check.

use std::path::Path;

use super::*;

fn shell(script: &str) -> CheckKind {
    CheckKind::Exec { command: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()] }
}

async fn run(kind: CheckKind, limit: Duration) -> Result<Duration, CheckError> {
    timeout(PATIENCE, run_once(&options(kind, limit))).await.unwrap()
}

#[tokio::test]
async fn the_exit_status_decides() {
    run(shell("exit 0"), LONG).await.unwrap();
    let error = run(shell("echo all is well; echo the zone is stale >&2; exit 3"), LONG).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("exited with status 3"), "{text}");
    assert!(text.ends_with(": the zone is stale") || text.ends_with(": all is well"), "{text}");
    let error = run(shell("kill -SEGV $$"), LONG).await.unwrap_err();
    assert_eq!(error.to_string(), "`sh -c kill -SEGV $$` was killed by SIGSEGV");
}

#[tokio::test]
async fn a_command_that_is_not_there_says_so() {
    let kind = CheckKind::Exec { command: vec!["/nonexistent/check".to_owned()] };
    let error = run(kind, LONG).await.unwrap_err();
    assert_eq!(error.to_string(), "run `/nonexistent/check`: No such file or directory (os error 2)");
    assert!(run(CheckKind::Exec { command: Vec::new() }, LONG).await.is_err());
}

#[tokio::test]
async fn endless_output_is_neither_kept_nor_waited_for() {
    let error = run(shell("yes full"), Duration::from_millis(300)).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, CheckError::TimedOut { .. }), "{text}");
    assert!(text.ends_with("; its last line: full") || text.len() < 300, "{text}");
}

#[tokio::test]
async fn a_command_is_over_when_it_ends_though_a_child_keeps_its_output_open() {
    // The control is the next test: there the same child is killed, because its parent did not end.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("child");
    run(shell(&format!("sleep 1000 & echo $! > {}; exit 0", file.display())), LONG).await.unwrap();
    let child = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    assert!(lives(child), "the child did not keep the output open, so the test shows nothing");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL).unwrap();
    ends(child).await;
}

#[tokio::test]
async fn the_timeout_kills_the_whole_process_group() {
    // The script tells its child's id, then hangs.
    let error = run(shell("sleep 1000 & echo child $!; wait"), Duration::from_millis(500)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("timed out after 500ms waiting for `sh -c sleep 1000 &"), "{text}");
    let child: i32 = text.rsplit(' ').next().unwrap().parse().expect(&text);
    ends(child).await;
}

#[tokio::test]
async fn dropping_the_check_kills_the_whole_process_group() {
    let directory = tempfile::tempdir().unwrap();
    let ids = directory.path().join("ids");
    let script = format!("sleep 1000 & echo $! $$ > {}; wait", ids.display());
    let (sender, _reports) = mpsc::channel(1);
    let check = spawn(CheckId(0), options(shell(&script), LONG), sender);
    let written = async {
        loop {
            let text = std::fs::read_to_string(&ids).unwrap_or_default();
            if text.ends_with('\n') {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let text = timeout(PATIENCE, written).await.unwrap();
    let ids: Vec<i32> = text.split_whitespace().map(|id| id.parse().unwrap()).collect();
    // The negative control: both live as long as the check does.
    assert!(ids.iter().all(|id| lives(*id)), "{text}");
    drop(check);
    for id in ids {
        ends(id).await;
    }
}

/// Whether the process exists and is no zombie.
fn lives(id: i32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat"));
    // pid (comm) state …
    stat.is_ok_and(|stat| {
        !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z') || rest.starts_with('X'))
    })
}

async fn ends(id: i32) {
    let ended = async {
        while lives(id) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("the process still lives");
}
