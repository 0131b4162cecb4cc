//! What is said of a command line that starts nothing.

/// A command line that requests help or the version, or that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Usage {
    /// What to print.
    pub text: String,
    /// The exit code: 0 for help and version, 2 for wrong usage.
    pub code: u8,
}
