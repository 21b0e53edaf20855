//! `train`: being built.
