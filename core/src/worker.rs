//! Skeleton.
use crate::*;

/// The worker.
#[derive(Debug)]
pub struct Worker;

impl Worker {
    /// Makes one.
    ///
    /// # Errors
    /// If a setting is out of bounds.
    pub fn new(settings: Settings, _seed: u64) -> Result<Self, SettingsError> {
        settings.check().map(|()| Self)
    }
    /// Returns the next thing to do.
    pub fn poll(&mut self, _now: Time) -> Output {
        Output::Wait(None)
    }
    /// Takes the answer to a query.
    pub fn handle_rows(&mut self, _now: Time, _ticket: QueryTicket, _rows: Result<Rows, DbError>) {}
    /// Takes the answer to a request.
    pub fn handle_response(
        &mut self,
        _now: Time,
        _ticket: RequestTicket,
        _answer: Result<Response, RequestError>,
    ) {
    }
    /// A notification arrived, with this payload; `None` if some may have been missed.
    pub fn wake(&mut self, _payload: Option<&str>) {}
    /// Claim nothing more; finish or give back what is held.
    pub fn stop(&mut self) {}
}
