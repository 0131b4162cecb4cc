//! A worker's HTTP server, as a client sees it.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;

use crate::process::Process;

/// The address of a worker that was started with `--http`, and what a client says to it.
#[derive(Clone, Debug)]
pub struct Site {
    /// The URL, with a slash at its end.
    pub url: String,
    headers: Vec<(String, String)>,
}

impl Site {
    /// Waits until the worker serves.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn of(worker: &Process) -> Self {
        let line = worker.wait_for_line("serving http://", Duration::from_secs(30));
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http"));
        Self {
            url: url.expect("a URL").to_owned(),
            headers: vec![],
        }
    }

    /// The same, with this header in each request.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut site = self.clone();
        site.headers.push((name.to_owned(), value.to_owned()));
        site
    }

    /// The status and the text of a page.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut request = agent().get(format!("{}{path}", self.url));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        answer(request.call())
    }

    /// The status and the text that come of sending something.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn post(&self, path: &str, body: &str) -> (u16, String) {
        let mut request = agent().post(format!("{}{path}", self.url));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        answer(request.send(body))
    }

    /// A page in JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let (status, text) = self.get(path);
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// The sum of a metric over all series with these parts of labels, such as `vectorizer="blog"`.
    ///
    /// # Panics
    /// If there is no such series.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, text) = self.get("metrics");
        assert_eq!(status, 200, "{text}");
        let series = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let is_wanted = series.split('{').next() == Some(name)
                && labels.iter().all(|label| series.contains(label));
            is_wanted.then(|| value.parse::<f64>().expect("a number"))
        });
        let values: Vec<f64> = series.collect();
        assert!(!values.is_empty(), "no {name} {labels:?} in:\n{text}");
        values.iter().sum()
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .proxy(None);
    config.build().into()
}

#[track_caller]
fn answer(answer: Result<Response<ureq::Body>, ureq::Error>) -> (u16, String) {
    let mut answer = answer.expect("an answer");
    let text = answer.body_mut().read_to_string().expect("a text");
    (answer.status().as_u16(), text)
}
