//! The pool element.
