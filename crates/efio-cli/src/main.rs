//! The command `efio`.
fn main() {}
