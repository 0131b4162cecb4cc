//! How the stub can be told to misbehave.

use std::time::Duration;

/// What the stub does with one embedding request that is well-formed.
#[derive(Clone, Debug, PartialEq)]
pub enum Behaviour {
    /// Says this instead, whatever was asked.
    Answer(Answer),
    /// Cuts the connection after reading the request: the client cannot know what became of it.
    CloseAfterReading,
    /// Cuts the connection as soon as the head of the request is there. Only from a script: a rule
    /// decides when the request was read, so there it is the same as `CloseAfterReading`.
    CloseBeforeReading,
    /// Waits, then does the other thing.
    Delayed(Duration, Box<Self>),
    /// Answers as the provider would.
    Honest,
    /// Answers as the provider would, with these headers too.
    HonestWith(Vec<(String, String)>),
    /// Gives one component of the last vector as not a number: as bits in base64, as the word
    /// `NaN` in JSON, which is none then.
    NotANumber,
    /// Gives OpenAI's last item the `index` 0, too. Ollama has no index, and a single input no
    /// other: there it is honest.
    RepeatedIndex,
    /// Lists OpenAI's items backwards, each with its right `index`, which is allowed. Ollama has
    /// no index, so there it is honest.
    Reversed,
    /// Leaves the last vector out.
    TooFewVectors,
    /// Gives the last vector twice.
    TooManyVectors,
    /// Announces the honest answer's length, writes half of it, and cuts the connection.
    Truncated,
    /// Gives vectors of this length.
    WrongDimensions(usize),
}

/// An answer that has nothing to do with the question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Besides `content-type` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// `None` for an error in the provider's own shape.
    pub body: Option<String>,
}

impl Answer {
    /// An answer of this status, with the body that the provider would send.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces the body.
    #[must_use]
    pub fn body(mut self, body: &str) -> Self {
        self.body = Some(body.to_owned());
        self
    }
}

impl Behaviour {
    /// An answer of this status, in the provider's own words.
    pub fn status(status: u16) -> Self {
        Self::Answer(Answer::new(status))
    }

    /// The refusal that a client may take at its word.
    pub fn rate_limited(retry_after: &str) -> Self {
        Self::Answer(Answer::new(429).header("retry-after", retry_after))
    }

    /// OpenAI's other 429, which no waiting fixes.
    pub fn quota_exhausted() -> Self {
        let body = r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
        Self::Answer(Answer::new(429).body(body))
    }

    /// The honest answer, later.
    pub fn delay(time: Duration) -> Self {
        Self::Honest.after(time)
    }

    /// The same, later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self::Delayed(time, Box::new(self))
    }
}
