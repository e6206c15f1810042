//! Reliable server pooling: registrars, elements, users and the forwarder, over real sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as the tests do, by a panic")]

/// Returns from the test if the lab cannot run here.
macro_rules! need_lab {
    ($name:literal) => {
        if let Err(reason) = anycast_tests::lab::available() {
            anycast_tests::skip($name, &reason);
            return;
        }
    };
}

mod discover;
mod dissected;
mod element;
mod forward;
mod registrar;
mod support;
mod tls;
mod user;
