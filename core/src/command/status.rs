//! `status`: shows the state of each vectorizer, and the live workers.

mod standing;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::checks::python_workers;
use super::table::{WIDTH, grouped, table, wrapped};
use super::{Answer, Ask, Report, Steps, field, named, usage};
use crate::log::printable;
use crate::query::Rows;
use crate::settings::Settings;
use crate::vectorizer::{Definition, Profile};
use standing::{Known, Standing, age};

/// The arguments of `status`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Show it again every two seconds, until interrupted
    #[arg(long)]
    watch: bool,

    /// End with exit code 1 and the reasons if something needs the operator
    #[arg(long, conflicts_with = "watch")]
    check: bool,
}

impl StatusArgs {
    /// Those of the command `top`.
    pub(super) const fn top() -> Self {
        Self {
            json: false,
            watch: true,
            check: false,
        }
    }

    /// Those of `status --json`.
    pub(super) const fn json() -> Self {
        Self {
            json: true,
            watch: false,
            check: false,
        }
    }
}

/// One JSON object, and the connected Python workers.
const STATUS: &str = concat!("select ai._status()::text, ", python_workers!());

/// The pause between two screens of `--watch`.
const PAUSE: Duration = Duration::from_secs(2);
/// Goes to the upper left corner of a terminal and clears the rest.
const CLEAR: &str = "\x1b[H\x1b[J";

#[derive(Debug)]
pub(super) struct Status {
    args: StatusArgs,
    settings: Settings,
    step: Step,
    /// Why a worker cannot use the definition of a vectorizer, by id.
    defects: BTreeMap<i64, String>,
    found: Found,
    python: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Definitions,
    Status,
    Usage,
}

/// What `ai._status` returns.
#[derive(Debug, Default, Deserialize)]
struct Found {
    vectorizers: Vec<Known>,
    workers: Vec<LiveWorker>,
}

#[derive(Debug, Deserialize, Serialize)]
struct LiveWorker {
    host: Option<String>,
    /// The process id of its session in the server.
    pid: Option<i64>,
    version: String,
    last_seen_seconds: i64,
    rows: u64,
    errors: u64,
    state: String,
}

impl Status {
    pub(super) fn new(args: StatusArgs, settings: Settings) -> Self {
        Self {
            args,
            settings: named::without_secrets(settings),
            step: Step::Definitions,
            defects: BTreeMap::new(),
            found: Found::default(),
            python: None,
        }
    }

    fn begin(&mut self) -> Ask {
        self.step = Step::Definitions;
        named::ask()
    }

    fn defects(&self, rows: &Rows) -> BTreeMap<i64, String> {
        let unreadable =
            named::unreadable(rows).filter_map(|(id, reason)| Some((id.parse().ok()?, reason)));
        let definitions = named::all(rows);
        let unusable = definitions.iter().filter_map(|definition| {
            let reason = self.defect(definition)?;
            Some((definition.id, reason))
        });
        unreadable.chain(unusable).collect()
    }

    fn defect(&self, definition: &Definition) -> Option<String> {
        let profile = Profile::new(definition, &self.settings);
        let hidden = || {
            definition
                .standing
                .as_ref()
                .and_then(|known| known.hidden())
        };
        profile
            .err()
            .or_else(|| definition.check_vectors().err())
            .or_else(hidden)
    }

    fn standings(&self, today: &Rows) -> Vec<Standing<'_>> {
        let standing = |known| Standing {
            known,
            defect: self.defects.get(&known.id).map(String::as_str),
            today: self.used(today, known.id),
        };
        self.found.vectorizers.iter().map(standing).collect()
    }

    fn used(&self, today: &Rows, vectorizer: i64) -> Option<usage::Total> {
        let id = vectorizer.to_string();
        let of_it = today.iter().filter(|row| field(row, 0) == id);
        usage::total(&of_it.cloned().collect(), &self.settings.prices)
    }

    fn json(&self, standings: &[Standing<'_>], today: &Rows) -> String {
        let vectorizers: Vec<Value> = standings.iter().map(Standing::json).collect();
        let today = usage::total(today, &self.settings.prices).map(|total| total.json());
        let workers = &self.found.workers;
        json!({"workers": workers.len(), "workers_alive": workers, "python_workers": self.python,
            "vectorizers": vectorizers, "today": today})
        .to_string()
    }

    fn text(&self, standings: &[Standing<'_>], today: &Rows) -> String {
        let mut lines = vec![];
        let cells: Vec<Vec<String>> = standings.iter().map(Standing::cells).collect();
        let overview = table(&Standing::HEAD, &cells);
        let mut overview = overview.lines().map(str::to_owned);
        if standings.is_empty() {
            lines.push("no vectorizers found".to_owned());
        } else {
            lines.extend(overview.next());
        }
        for (line, standing) in overview.zip(standings) {
            lines.push(line);
            lines.extend(standing.details());
        }
        lines.push(String::new());
        let workers = self.found.workers.iter().map(LiveWorker::line);
        lines.extend(workers.flat_map(|line| wrapped(&line, "", WIDTH)));
        if self.found.workers.is_empty() {
            lines.push("no worker is alive".to_owned());
        }
        if let Some(python) = &self.python {
            lines.push(format!(
                "a worker of Python pgai is connected, stop it: {python}"
            ));
        }
        if let Some(total) = usage::total(today, &self.settings.prices)
            && standings.len() > 1
        {
            lines.push(format!("today (UTC): {total}"));
        }
        lines.join("\n")
    }

    fn report(&self, today: &Rows) -> Ask {
        let standings = self.standings(today);
        let text = if self.args.json {
            self.json(&standings, today)
        } else {
            self.text(&standings, today)
        };
        if self.args.watch {
            let screen = if self.args.json || !self.settings.progress {
                printable(&text)
            } else {
                format!("{CLEAR}{}", printable(&text))
            };
            return Ask::Wait {
                say: Some(screen),
                pause: PAUSE,
            };
        }
        if !self.args.check {
            return Ask::done(text);
        }
        let mut trouble: Vec<String> = standings
            .iter()
            .flat_map(|standing| standing.trouble(&self.settings.program))
            .collect();
        if let Some(python) = &self.python {
            trouble.push(format!("a worker of Python pgai is connected: {python}"));
        }
        Ask::Done(Report {
            text: match (self.args.json, trouble.is_empty()) {
                (true, _) => text,
                (false, true) => "nothing needs the operator".to_owned(),
                (false, false) => String::new(),
            },
            failure: (!trouble.is_empty()).then(|| trouble.join("\n")),
        })
    }
}

impl Steps for Status {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        if matches!(answer, Answer::Begin | Answer::Waited) {
            return Ok(self.begin());
        }
        match self.step {
            Step::Definitions => {
                self.defects = self.defects(&answer.rows()?);
                self.step = Step::Status;
                Ok(Ask::query(STATUS, vec![]))
            }
            Step::Status => {
                let rows = answer.rows()?;
                let row = rows.first().map_or(&[][..], Vec::as_slice);
                self.found = serde_json::from_str(field(row, 0))
                    .map_err(|error| format!("the status cannot be read: {error}"))?;
                self.python = row.get(1).cloned().flatten();
                self.step = Step::Usage;
                Ok(usage::ask(1))
            }
            // An older schema has no usage, and everything else is worth showing.
            Step::Usage => Ok(self.report(&answer.rows().unwrap_or_default())),
        }
    }
}

impl LiveWorker {
    fn line(&self) -> String {
        format!(
            "{} on {}, pid {}, {} ago{}: {}, {} errors",
            self.version,
            self.host.as_deref().unwrap_or("?"),
            self.pid
                .map_or_else(|| "?".to_owned(), |pid| pid.to_string()),
            age(self.last_seen_seconds),
            if self.state == "late" { " (late)" } else { "" },
            standing::rows(self.rows),
            grouped(self.errors),
        )
    }
}
