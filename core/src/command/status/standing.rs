//! The state of one vectorizer, as `status` reads it and shows it.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::command::table::{WIDTH, grouped, second, short, wrapped};
use crate::command::usage::Total;

/// Longer names are cut in the table.
const NAME_MAX: usize = 18;
/// The characters of a reason that are shown.
const REASON_MAX: usize = 300;

/// A row of `ai.vectorizer_status`, with what else `status` shows. Numbers are `None` if this role
/// cannot read the table.
#[derive(Debug, Deserialize)]
pub(super) struct Known {
    pub(super) id: i64,
    name: String,
    source_table: String,
    target_table: Option<String>,
    embedding_column: Option<String>,
    disabled: bool,
    state: Option<String>,
    reason: Option<String>,
    until: Option<String>,
    pending: Option<u64>,
    pending_is_estimated: Option<bool>,
    oldest_seconds: Option<i64>,
    leased: Option<u64>,
    retrying: Option<u64>,
    /// The failed attempts of the row that has the most.
    attempts: Option<u64>,
    next_retry: Option<String>,
    failed: Option<u64>,
    last_error: Option<String>,
    last_error_at: Option<String>,
    last_error_holds: Option<bool>,
    total: Option<u64>,
    done: Option<u64>,
    done_is_estimated: Option<bool>,
    rows_per_minute: Option<f64>,
    change_state: Option<String>,
    change_percent: Option<f64>,
    change_reason: Option<String>,
    paused_by: Option<String>,
    retries: Option<u64>,
}

/// One vectorizer.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    pub(super) known: &'a Known,
    /// Why a worker cannot use its definition.
    pub(super) defect: Option<&'a str>,
    /// What it has used today; `None` is nothing.
    pub(super) today: Option<Total>,
}

impl Standing<'_> {
    pub(super) const HEAD: [&'static str; 7] =
        ["id", "name", "state", "done", "waiting", "oldest", "failed"];

    /// One of the words of `ai.vectorizer_status`. A definition that cannot be used goes before what
    /// the queue says; `None` if this role cannot read the queue.
    fn state(&self) -> Option<&str> {
        let state = self.known.state.as_deref();
        let is_left_alone = matches!(state, Some("disabled" | "paused"));
        if self.defect.is_some() && !is_left_alone {
            return Some("broken");
        }
        state
    }

    fn reason(&self) -> Option<&str> {
        match (self.defect, self.state()) {
            (Some(defect), Some("broken")) => Some(defect),
            _ => self.known.reason.as_deref(),
        }
    }

    fn error_holds(&self) -> bool {
        self.known.last_error_holds == Some(true)
    }

    fn destination(&self) -> String {
        let known = self.known;
        let column = known.embedding_column.as_deref().unwrap_or("?");
        let column = || format!("{}.{column}", known.source_table);
        known.target_table.clone().unwrap_or_else(column)
    }

    /// What the operator must do something about.
    pub(super) fn trouble(&self, program: &str) -> Vec<String> {
        let name = &self.known.name;
        let mut found = vec![];
        match self.state() {
            Some("broken") => {
                let reason = self.reason().unwrap_or_default();
                found.push(format!("{name} cannot run: {reason}"));
            }
            Some("no_worker") => found.push(format!("rows of {name} wait, and no worker is alive")),
            Some("up_to_date" | "working")
                if self.error_holds() && self.known.retrying == Some(0) =>
            {
                let reason = self.known.last_error.as_deref().unwrap_or_default();
                found.push(format!("the last error of {name} still holds: {reason}"));
            }
            _ => {}
        }
        if let Some(failed @ 1..) = self.known.failed {
            found.push(format!(
                "{} of {name} failed: see `{program} errors {name}`",
                rows(failed)
            ));
        }
        found
    }

    pub(super) fn cells(&self) -> Vec<String> {
        let or_unknown = |number: Option<String>| number.unwrap_or_else(|| "?".to_owned());
        vec![
            self.known.id.to_string(),
            short(&self.known.name, NAME_MAX),
            match self.state() {
                Some("up_to_date") => "up to date",
                Some("retrying") => "waiting for retry",
                Some("broken") => "cannot run",
                Some("no_worker") => "no worker",
                Some(state) => state,
                None => "?",
            }
            .to_owned(),
            or_unknown(self.percent()),
            or_unknown(self.pending()),
            self.known.oldest_seconds.map(age).unwrap_or_default(),
            or_unknown(self.known.failed.map(grouped)),
        ]
    }

    fn pending(&self) -> Option<String> {
        let mark = mark(self.known.pending_is_estimated);
        Some(format!("{mark}{}", grouped(self.known.pending?)))
    }

    /// The rows that are done, in per cent; 100 % only if none waits.
    fn percent(&self) -> Option<String> {
        let (total, done) = (self.known.total?, self.known.done?);
        let mark = mark(self.known.done_is_estimated);
        let thousandths = (done * 1000).checked_div(total).unwrap_or(1000).min(1000);
        let waits = self.known.pending? > 0 || self.known.failed > Some(0);
        let thousandths = if waits {
            thousandths.min(999)
        } else {
            thousandths
        };
        Some(format!("{mark}{}.{} %", thousandths / 10, thousandths % 10))
    }

    /// Lines below the one of the table.
    pub(super) fn details(&self) -> Vec<String> {
        let known = self.known;
        let tables = format!("{} → {}", known.source_table, self.destination());
        let mut said = vec![if known.name.chars().count() > NAME_MAX {
            format!("{}: {tables}", known.name)
        } else {
            tables
        }];
        said.extend(self.why());
        said.extend(self.work());
        said.extend(self.change());
        if let (Some(error), Some(at)) = (&known.last_error, &known.last_error_at)
            && self.reason() != Some(error)
        {
            let holds = if self.error_holds() {
                ""
            } else {
                " (since resolved)"
            };
            let at = second(at);
            said.push(format!("last error{holds}, {at}: {error}"));
        }
        if let Some(today) = &self.today {
            said.push(format!("today (UTC): {today}"));
        }
        said.iter()
            .map(|text| short(text, REASON_MAX))
            .flat_map(|text| wrapped(&text, "    ", WIDTH))
            .collect()
    }

    fn why(&self) -> Option<String> {
        let reason = self.reason();
        let until = self.known.until.as_deref().map(second);
        match self.state()? {
            "paused" => {
                let mut said = "paused".to_owned();
                if let Some(by) = &self.known.paused_by {
                    said += &format!(" by {by}");
                }
                if let Some(until) = until {
                    said += &format!(" until {until}");
                }
                if let Some(reason) = reason {
                    said += &format!(" because {reason}");
                }
                Some(said)
            }
            "broken" => Some(format!(
                "cannot run because {}",
                reason.unwrap_or("of an error")
            )),
            _ => None,
        }
    }

    /// How far its change to another model is.
    fn change(&self) -> Option<String> {
        let known = self.known;
        let state = match known.change_state.as_deref()? {
            "filling" => "rows are embedded with it",
            "indexing" => "its indexes are being built",
            "ready" => "it is ready",
            "kept" => "it serves, and the old one is kept (ai.finish_change)",
            other => other,
        };
        let percent = known
            .change_percent
            .map_or(String::new(), |percent| format!(", {percent} %"));
        let reason = known.change_reason.as_ref();
        let reason = reason.map_or(String::new(), |reason| format!(" ({reason})"));
        Some(format!("another model: {state}{percent}{reason}"))
    }

    fn work(&self) -> Option<String> {
        let known = self.known;
        let mut parts = vec![];
        if let Some(leased @ 1..) = known.leased {
            parts.push(format!("{} in work", rows(leased)));
        }
        if let Some(retrying @ 1..) = known.retrying {
            let mut part = format!("{} waiting for a retry", rows(retrying));
            if let Some(failures) = known.attempts {
                let most = known.retries.map_or(String::new(), |retries| {
                    format!(" of {}", (retries + 1).max(failures + 1))
                });
                part += &format!(" (at most attempt {}{most}", grouped(failures + 1));
                let next = known.next_retry.as_deref();
                let next = next.map(|at| format!(", next at {}", second(at)));
                part += &format!("{})", next.unwrap_or_default());
            }
            parts.push(part);
        }
        if self.state() == Some("working") {
            parts.extend(self.rate().map(|rate| format!("{} a minute", rows(rate))));
            parts.extend(
                self.seconds_left()
                    .map(|left| format!("{} left", age(left))),
            );
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Rows a minute, if there are some.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is shown without decimals, and is not negative"
    )]
    fn rate(&self) -> Option<u64> {
        let rate = self.known.rows_per_minute?.round() as u64;
        (rate > 0).then_some(rate)
    }

    /// How long it takes until nothing waits, if it goes on like that.
    fn seconds_left(&self) -> Option<i64> {
        let pending = self.known.pending.filter(|pending| *pending > 0)?;
        let seconds = pending.saturating_mul(60) / self.rate()?;
        i64::try_from(seconds).ok()
    }

    pub(super) fn json(&self) -> Value {
        let known = self.known;
        json!({
            "id": known.id,
            "name": known.name,
            "source": known.source_table,
            "destination": self.destination(),
            "disabled": known.disabled,
            "state": self.state(),
            "reason": self.reason(),
            "until": known.until,
            "pending": known.pending,
            "pending_is_estimated": known.pending_is_estimated == Some(true),
            "oldest_seconds": known.oldest_seconds,
            "leased": known.leased,
            "retrying": known.retrying,
            "attempts": known.attempts,
            "next_retry": known.next_retry,
            "failed": known.failed,
            "last_error": known.last_error,
            "last_error_at": known.last_error_at,
            "last_error_holds": self.error_holds(),
            "total": known.total,
            "done": known.done,
            "done_is_estimated": known.done_is_estimated == Some(true),
            "rows_per_minute": known.rows_per_minute,
            "change_state": known.change_state,
            "change_percent": known.change_percent,
            "change_reason": known.change_reason,
            "seconds_left": self.seconds_left(),
            "tokens_today": self.today.as_ref().map_or(0, Total::tokens),
            "cost_today": self.today.as_ref().map_or(Some(0.0), Total::cost),
        })
    }
}

/// A number of rows, with its word.
pub(super) fn rows(number: u64) -> String {
    match number {
        1 => "1 row".to_owned(),
        more => format!("{} rows", grouped(more)),
    }
}

fn mark(is_estimated: Option<bool>) -> &'static str {
    if is_estimated == Some(true) { "~" } else { "" }
}

pub(super) fn age(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{} s", seconds.max(0)),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
