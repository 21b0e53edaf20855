//! Tests of phantom.
