//! `phantom`: being built.
