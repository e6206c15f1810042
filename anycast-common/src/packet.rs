//! Packet formats: named field ranges, checked views, and the checksum.
