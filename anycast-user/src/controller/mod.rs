//! The decision loop: the only caller of anycast-core, the only writer of gates.
