//! An ASAP message from anybody: what can be read is written again and reads the same, and what must be reported can be sent.
#![no_main]

use anycast_pool::wire::{Frames, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    let report = match Message::parse(octets) {
        Ok(parsed) => {
            let again = parsed.message.to_octets().expect("what was read is not too long to be written");
            let second = Message::parse(&again).expect("what was written can be read");
            assert_eq!(second.message, parsed.message);
            assert!(second.report.is_empty());
            parsed.report
        }
        Err(malformed) => malformed.report,
    };
    if !report.is_empty() {
        let error = Message::Error(report).to_octets().expect("a report is not too long");
        assert!(Message::parse(&error).is_ok());
    }
    // The same as a stream, in two pieces: no message is lost or made by where it is cut.
    let (mut whole, mut parts) = (Frames::default(), Frames::default());
    whole.push(octets);
    let (first, second) = octets.split_at(octets.len() / 2);
    let mut cut = Vec::new();
    for part in [first, second] {
        parts.push(part);
        while let Ok(Some(message)) = parts.next_message() {
            cut.push(message.to_vec());
        }
    }
    for message in cut {
        assert_eq!(whole.next_message().expect("the parts had it"), Some(&message[..]));
    }
    assert!(!matches!(whole.next_message(), Ok(Some(_))));
});
