//! Set-up, demo, test and bench of the project: `cargo xtask help`.
fn main() {}
