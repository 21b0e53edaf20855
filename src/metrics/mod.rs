//! `metrics`: being built.
