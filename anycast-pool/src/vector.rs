//! The status vector: what is known of each element, and how old it is.
