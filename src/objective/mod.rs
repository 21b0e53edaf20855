//! `objective`: being built.
