//! Tests of predict.
