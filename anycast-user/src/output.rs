//! What commands print, and how errors read.

use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

/// Prints to standard output.
///
/// # Errors
/// The output is closed; a pager that was left is not a failure, see [`is_broken_pipe`].
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Prints a value as JSON, indented for people, and a line feed.
pub fn print_json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
    text.push('\n');
    print(&text)
}

/// Whether the reader of our output has gone, as `head` does.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error and its causes in one line. Some errors say their cause themselves: it is not said twice.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once() {
        let cause = || anyhow::anyhow!("no such device");
        assert_eq!(chain(&cause().context("cannot attach to eth0")), "cannot attach to eth0: no such device");
        assert_eq!(chain(&cause().context("cannot attach: no such device")), "cannot attach: no such device");
    }

    #[test]
    fn only_a_broken_pipe_is_one() {
        let io = |kind| anyhow::Error::from(io::Error::from(kind)).context("cannot write");
        assert!(is_broken_pipe(&io(io::ErrorKind::BrokenPipe)));
        assert!(!is_broken_pipe(&io(io::ErrorKind::StorageFull)));
    }
}
