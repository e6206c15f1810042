//! What is wrong with a configuration file, where, and what to do.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a configuration was refused.
#[derive(Debug, Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}; --config FILE names another", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was read and is wrong.
    #[error("{}", Lines(problems))]
    Wrong {
        /// At least one.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong, or doubtful, in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The key with its table, as `service.check.rise`; empty when the text is not even TOML.
    pub key: String,
    /// What is wrong and what to do.
    pub what: String,
}

impl Problem {
    /// A problem with the text at `span`.
    pub(crate) fn at(
        path: &Path,
        text: &str,
        span: Range<usize>,
        key: &str,
        what: impl Into<String>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            line: line_of(text, span.start),
            key: key.to_owned(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.path.display(), self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

impl Error {
    /// An error of the TOML parser or of a single value.
    pub(crate) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        let key = key_at(text, span.start);
        let (key, what) = match unknown_field(message) {
            // The span of an unknown field is the field itself: the key would be said twice.
            Some(what) => (table_at(text, span.start), what),
            None => (key, message.replace('\n', "; ")),
        };
        Self::Wrong { problems: vec![Problem::at(path, text, span, &key, what)] }
    }
}

/// The line of a byte offset, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// The last table header at or before `offset`, without its brackets.
fn table_at(text: &str, offset: usize) -> String {
    let mut table = "";
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if start > offset {
            break;
        }
        start += line.len();
        let line = line.trim();
        if line.starts_with('[') && !line.contains('=') {
            let name = line.trim_start_matches('[').split(']').next().unwrap_or_default();
            table = name.trim();
        }
    }
    table.to_owned()
}

/// Table and key of the line that `offset` is in; empty if the line does not look like `key = value` or a header.
fn key_at(text: &str, offset: usize) -> String {
    let table = table_at(text, offset);
    let line = text.lines().nth(line_of(text, offset) - 1).unwrap_or_default();
    let Some((key, _)) = line.split_once('=') else {
        return if line.trim_start().starts_with('[') { table } else { String::new() };
    };
    let key = key.trim();
    if key.is_empty() || key.contains(['"', '{', '[', '#']) {
        table
    } else if table.is_empty() {
        key.to_owned()
    } else {
        format!("{table}.{key}")
    }
}

/// serde's "unknown field `x`, expected one of `a`, `b`" in words that help.
fn unknown_field(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    let mut known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    known.sort_unstable();
    let nearest = known
        .iter()
        .map(|key| (strsim::damerau_levenshtein(unknown, key), !key.starts_with(unknown), *key))
        .filter(|(distance, _, key)| *distance <= 1 + key.len() / 4)
        .min();
    Some(match nearest {
        Some((_, _, key)) => format!("unknown key `{unknown}`: did you mean `{key}`?"),
        None => {
            format!("unknown key `{unknown}`: remove it; the keys of this table are {}", known.join(", "))
        }
    })
}

/// Problems, one a line.
struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
