//! Tests of objective.
