//! `predict`: being built.
