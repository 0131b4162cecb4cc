//! x
/// p
#[derive(Debug)]
pub struct Plan {
    pub key_columns: usize,
    pub bell: String,
    pub claim: String,
    pub commit: String,
    pub extend: String,
    pub fail: String,
    pub read: String,
    pub release: String,
    pub waiting: String,
}
pub(crate) const SESSION: &str = "";
pub(crate) const CHECK_SCHEMA: &str = "";
pub(crate) const HEARTBEAT: &str = "";
pub(crate) const LOAD_VECTORIZERS: &str = "";
pub(crate) const RECORD_ERRORS: &str = "";
pub(crate) const START_WORKER: &str = "";
