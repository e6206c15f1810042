use anycast_pool::wire::{Source, State};
use anycast_pool::{ElementId, PoolHandle};

use super::*;

const FRESH: RegistrarId = RegistrarId(0xabc);

fn record(number: u32) -> Record {
    let (handle, id) = (PoolHandle::from("dns"), ElementId(number));
    Record::Status { handle, id, state: State::Up, source: Source::KeepAlive, age: Duration::ZERO }
}

fn open(directory: &Path) -> Opened {
    Log::open(directory, Sync::Second, FRESH).unwrap()
}

fn numbers(records: &[Record]) -> Vec<u32> {
    records
        .iter()
        .map(|record| match record {
            Record::Status { id, .. } => id.0,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn fill(log: &mut Log, numbers: std::ops::Range<u32>) {
    for number in numbers {
        log.add(&record(number));
        assert!(log.commit());
    }
}

#[test]
fn what_was_committed_is_there_again_and_the_identifier_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lib/registrar");
    let mut first = open(&path);
    assert!(first.records.is_empty() && first.id == FRESH);
    fill(&mut first.log, 0..3);
    // Added and not committed: it was not acknowledged.
    first.log.add(&record(9));
    drop(first);
    let second = Log::open(&path, Sync::Always, RegistrarId(1)).unwrap();
    assert_eq!((numbers(&second.records), second.id), (vec![0, 1, 2], FRESH));
}

#[test]
fn a_log_cut_anywhere_gives_what_was_whole_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open(directory.path());
    fill(&mut first.log, 0..3);
    drop(first);
    let path = directory.path().join(LOG_FILE);
    let whole = fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let mut opened = open(directory.path());
        let had = numbers(&opened.records);
        assert!(had.len() < 3 && (0..).zip(&had).all(|(at, number)| at == *number));
        fill(&mut opened.log, 7..8);
        drop(opened);
        let again = open(directory.path());
        assert_eq!(numbers(&again.records), [had, vec![7]].concat(), "cut at {cut}");
        assert!(!directory.path().join(DAMAGED_FILE).exists());
    }
}

#[test]
fn a_damaged_log_is_kept_beside() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open(directory.path());
    fill(&mut first.log, 0..3);
    drop(first);
    let path = directory.path().join(LOG_FILE);
    let mut octets = fs::read(&path).unwrap();
    let last = octets.len() - 1;
    octets[last] ^= 1;
    fs::write(&path, &octets).unwrap();
    assert_eq!(numbers(&open(directory.path()).records), [0, 1]);
    assert_eq!(fs::read(directory.path().join(DAMAGED_FILE)).unwrap(), octets);
}

#[test]
fn a_snapshot_takes_the_place_of_the_log_with_what_came_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    fill(&mut opened.log, 0..100);
    let snapshot = opened.log.begin_snapshot([record(50)].into_iter());
    fill(&mut opened.log, 100..102);
    // A death here, before the rename, leaves the log with everything.
    let written = snapshot.write().unwrap();
    let log = journal::read(&fs::read(directory.path().join(LOG_FILE)).unwrap(), wall()).unwrap();
    assert_eq!(log.records.len(), 102);
    opened.log.end_snapshot(Ok(written));
    fill(&mut opened.log, 102..103);
    assert_eq!(opened.log.counts().snapshots, 1);
    drop(opened);
    assert_eq!(numbers(&open(directory.path()).records), [50, 100, 101, 102]);
}

#[test]
fn what_cannot_be_written_is_not_acknowledged_until_a_snapshot_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    fill(&mut opened.log, 0..1);
    // A file that cannot be written to, as on a full disk.
    let path = directory.path().join(LOG_FILE);
    let good = std::mem::replace(&mut opened.log.file, File::open(&path).unwrap());
    opened.log.add(&record(1));
    assert!(!opened.log.commit() && opened.log.failure().is_some() && opened.log.wants_snapshot());
    opened.log.file = good;
    opened.log.add(&record(2));
    assert!(!opened.log.commit());
    let written = opened.log.begin_snapshot([record(0), record(1), record(2)].into_iter()).write();
    opened.log.end_snapshot(written);
    assert!(opened.log.failure().is_none());
    fill(&mut opened.log, 3..4);
    drop(opened);
    assert_eq!(numbers(&open(directory.path()).records), [0, 1, 2, 3]);
}

#[test]
fn what_is_not_a_handlespace_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(LOG_FILE);
    fs::write(&path, "something else").unwrap();
    let error = Log::open(directory.path(), Sync::Second, FRESH).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()) && error.contains("move it away"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"something else");
    fs::remove_file(&path).unwrap();
    fs::write(directory.path().join(ID_FILE), "00000000\n").unwrap();
    let error = Log::open(directory.path(), Sync::Second, FRESH).unwrap_err().to_string();
    assert!(error.contains("takes a new identifier"), "{error}");
}

#[test]
fn a_second_registrar_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path());
    let error = Log::open(directory.path(), Sync::Second, FRESH).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    drop(first);
    open(directory.path());
}
