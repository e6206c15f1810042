//! The limit of file descriptors.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// Raises the limit to `wanted`, as far as this process may; a line in the log tells if that is not enough for `purpose`, the
/// option that asks for so many.
pub fn allow(wanted: u64, purpose: &str) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft >= wanted {
        return;
    }
    let raise = |soft, hard| setrlimit(Resource::RLIMIT_NOFILE, soft, hard).map(|()| soft);
    // Without privileges up to the hard limit alone.
    let limit = raise(wanted, wanted.max(hard)).or_else(|_| raise(wanted.min(hard), hard)).unwrap_or(soft);
    if limit < wanted {
        warn!(
            limit,
            wanted, "too few file descriptors for {purpose}: raise LimitNOFILE of the unit, or lower it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        allow(soft - 1, "less");
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, soft);
        allow(soft + 1, "more");
        assert!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0 >= soft);
    }
}
