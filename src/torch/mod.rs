//! `torch`: being built.
