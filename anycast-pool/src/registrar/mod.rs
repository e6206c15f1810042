//! The registrar: it knows the elements and tells the users.
