//! `ingest`: being built.
