//! What the tests and benches are made of.

pub mod vector;
pub mod world;
