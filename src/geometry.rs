//! `geometry`: being built.
