//! The lab: network namespaces, routers, servers and clients; and the independent reference of the fast path.
