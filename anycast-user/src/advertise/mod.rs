//! Sends what the fast path cannot: unsolicited advertisements, heartbeats; joins the groups it needs.
