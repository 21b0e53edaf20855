//! `export`: being built.
