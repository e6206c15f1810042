//! Whether files are there: `drain_file`, which an operator or his configuration management touches and removes.
//!
//! Looked at five times a second, on a thread that may wait for its disk. Not inotify: the directory itself may come and go,
//! be a mount or a network's, and a fifth of a second is soon enough for a person.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;

use super::TaskGuard;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(200);

/// A file came, went, or cannot be looked for.
#[derive(Debug)]
pub struct Report {
    /// Position among the files to watch.
    pub file: usize,
    /// Whether it is there.
    pub present: Result<bool, io::Error>,
}

/// Watches files. The first report of each says what is there at first; then changes are reported, and a first error of several.
pub fn spawn(files: Vec<PathBuf>, reports: mpsc::Sender<Report>) -> TaskGuard {
    TaskGuard::spawn(async move {
        // What was reported last; `None` = an error, or nothing yet.
        let mut last: Vec<Option<bool>> = vec![None; files.len()];
        let mut failing = vec![false; files.len()];
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            for (file, path) in files.iter().enumerate() {
                let present = tokio::fs::try_exists(path).await;
                let report = match &present {
                    Ok(present) => {
                        failing[file] = false;
                        last[file].replace(*present) != Some(*present)
                    }
                    Err(_) => !std::mem::replace(&mut failing[file], true),
                };
                // An error: the next picture is new whatever it is.
                if report && reports.send(Report { file, present }).await.is_err() {
                    return;
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn next(reports: &mut mpsc::Receiver<Report>) -> Report {
        tokio::time::timeout(PATIENCE, reports.recv()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn coming_and_going_is_reported_once_each() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("later/drain");
        let (reports_in, mut reports) = mpsc::channel(8);
        let _guard = spawn(vec![path.clone()], reports_in);
        assert!(matches!(next(&mut reports).await, Report { file: 0, present: Ok(false) }));
        // Its directory was not there either.
        std::fs::create_dir(directory.path().join("later")).unwrap();
        std::fs::write(&path, "").unwrap();
        assert!(matches!(next(&mut reports).await, Report { file: 0, present: Ok(true) }));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(next(&mut reports).await, Report { file: 0, present: Ok(false) }));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_looked_for_is_an_error_and_not_an_absence() {
        let directory = tempfile::tempdir().unwrap();
        let not_a_directory = directory.path().join("file");
        std::fs::write(&not_a_directory, "").unwrap();
        let (reports_in, mut reports) = mpsc::channel(8);
        let _guard = spawn(vec![not_a_directory.join("drain")], reports_in);
        assert!(next(&mut reports).await.present.is_err());
    }
}
