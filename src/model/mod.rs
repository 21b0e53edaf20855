//! `model`: being built.
