//! `preprocess`: being built.
