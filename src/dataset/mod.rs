//! `dataset`: being built.
