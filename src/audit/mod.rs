//! `audit`: being built.
