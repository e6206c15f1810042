//! The pool user.
