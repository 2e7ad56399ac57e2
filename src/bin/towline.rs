//! Placeholder until the settings are read.
fn main() {}
