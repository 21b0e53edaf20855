//! `pipeline`: being built.
