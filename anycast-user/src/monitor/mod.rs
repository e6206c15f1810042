//! Watches the service and the interface: checks, process exit, rtnetlink.
