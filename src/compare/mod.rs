//! `compare`: being built.
