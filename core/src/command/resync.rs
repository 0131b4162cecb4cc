//! `resync`: requests that the workers compare a source with what is stored for it, and shows the
//! progress.

use std::time::Duration;

use serde_json::json;

use super::table::grouped;
use super::verify::{Verified, Verify};
use super::{Answer, Ask, Report, Steps, field, named};
use crate::query::{Param, Rows};
use crate::settings::Settings;
use crate::vectorizer::Profile;

/// The arguments of `resync`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ResyncArgs {
    /// The vectorizer's name or id
    name: String,

    /// Compare texts as well; every text is read
    #[arg(long)]
    verify_text: bool,

    /// First embed so many stored chunks again, 20 without a number, and compare the vectors
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20",
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    verify: Option<u16>,

    /// Only make the request, and do not wait until it is done
    #[arg(long)]
    no_wait: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

const REQUEST: &str = "select ai.resync_vectorizer($1::bigint::int, $2::bigint = 1)::text";

/// Parameter: the vectorizer's id. Returns the progress of its resync, and the number of live
/// workers.
const STANDING: &str = "\
select r.served::text, r.taken::text, r.state, r.rows_compared::text, r.rows_expected::text, r.missing::text,
  r.orphans::text, r.stale::text, r.reason,
  (select count(*)::text from ai.vectorizer_worker_process p
    where p.last_heartbeat > now() - 2 * p.expected_heartbeat_interval - interval '5 seconds'
      and exists (select from pg_stat_activity a
        where a.datname = current_database() and a.pid <> pg_backend_pid()
          and a.application_name like 'pgai-worker%'))
from ai.vectorizer_resync r
where r.vectorizer_id = $1::bigint";

/// The pause between two polls.
const PAUSE: Duration = Duration::from_millis(250);
/// A line is printed after at most this many polls.
const LOOKS_FOR_A_LINE: u32 = 8;

pub(super) struct Resync {
    args: ResyncArgs,
    settings: Settings,
    verify: Option<Verify>,
    vectorizer: Option<i64>,
    request: Option<i64>,
    /// Polls since the last line.
    looks: u32,
    line: String,
}

impl Resync {
    pub(super) const fn new(args: ResyncArgs, settings: Settings) -> Self {
        Self {
            args,
            settings,
            verify: None,
            vectorizer: None,
            request: None,
            looks: LOOKS_FOR_A_LINE,
            line: String::new(),
        }
    }

    fn ask(&mut self, rows: &Rows) -> Result<Ask, String> {
        let definition = named::find(rows, &self.args.name)?;
        if definition.paused {
            return Err(format!(
                "the vectorizer {} is paused: first, select ai.resume_vectorizer({})",
                definition.name, definition.id
            ));
        }
        if definition.disabled {
            return Err(format!(
                "the vectorizer {} is disabled: first, select ai.enable_vectorizer_schedule({})",
                definition.name, definition.id
            ));
        }
        self.vectorizer = Some(definition.id);
        let Some(sample) = self.args.verify else {
            return Ok(self.request(definition.id));
        };
        let profile = Profile::new(&definition, &self.settings)?;
        let (verify, ask) = Verify::begin(profile, sample)?;
        self.verify = Some(verify);
        Ok(ask)
    }

    fn request(&self, vectorizer: i64) -> Ask {
        let wanted = Param::Int(i64::from(self.args.verify_text));
        Ask::query(REQUEST, vec![Param::Int(vectorizer), wanted])
    }

    fn verified(&mut self, verified: Verified) -> Ask {
        match verified {
            Verified::Ask(ask) => ask,
            Verified::Same(line) => {
                self.verify = None;
                Ask::Wait {
                    say: (!self.args.json).then_some(line),
                    pause: Duration::ZERO,
                }
            }
        }
    }

    fn asked(&mut self, vectorizer: i64, rows: &Rows) -> Result<Ask, String> {
        let request = rows.first().and_then(|row| field(row, 0).parse().ok());
        let request = request.ok_or("the request was not noted")?;
        self.request = Some(request);
        if self.args.no_wait {
            return Ok(Ask::done(if self.args.json {
                json!({"request": request}).to_string()
            } else {
                "the workers are asked: see ai.vectorizer_resync".to_owned()
            }));
        }
        Ok(Ask::query(STANDING, vec![Param::Int(vectorizer)]))
    }

    fn look(&mut self, request: i64, rows: &Rows) -> Result<Ask, String> {
        let row = rows.first().ok_or("the vectorizer was dropped")?;
        let number = |at: usize| field(row, at).parse::<i64>().ok();
        if number(0) >= Some(request) {
            return Ok(self.report(row));
        }
        let line = match (field(row, 2), field(row, 9)) {
            ("waiting", "0") => "waiting: no worker is alive".to_owned(),
            ("waiting", _) => "waiting for a worker".to_owned(),
            _ if number(1) < Some(request) => "waiting for the resync before this one".to_owned(),
            _ => progress(row),
        };
        self.looks += 1;
        let say = !self.args.json && self.looks >= LOOKS_FOR_A_LINE && line != self.line;
        if say {
            self.looks = 0;
            self.line.clone_from(&line);
        }
        let say = say.then_some(line);
        Ok(Ask::Wait { say, pause: PAUSE })
    }

    fn report(&self, row: &[Option<String>]) -> Ask {
        let number = |at: usize| field(row, at).parse::<u64>().unwrap_or_default();
        let reason = field(row, 8);
        let is_failed = field(row, 2) == "failed";
        let found = number(5) + number(6) + number(7);
        let text = if self.args.json {
            json!({"state": field(row, 2), "rows": number(3), "missing": number(5),
                "orphans": number(6), "stale": number(7),
                "reason": (!reason.is_empty()).then_some(reason)})
            .to_string()
        } else {
            let mut lines = vec![progress(row)];
            if !reason.is_empty() && !is_failed {
                lines.push(format!("note: {reason}"));
            }
            if found > 0 {
                lines.push("what differs is queued: see `status`".to_owned());
            } else if !is_failed {
                lines.push("nothing differs".to_owned());
            }
            lines.join("\n")
        };
        Ask::Done(Report {
            text,
            failure: is_failed.then(|| format!("the resync failed: {reason}")),
        })
    }
}

fn progress(row: &[Option<String>]) -> String {
    let number = |at: usize| grouped(field(row, at).parse().unwrap_or_default());
    let of = match (field(row, 2), field(row, 4)) {
        ("running", expected) if !matches!(expected, "" | "0") => {
            format!(" of about {}", number(4))
        }
        _ => String::new(),
    };
    format!(
        "compared {}{of} rows: {} missing, {} orphans, {} stale",
        number(3),
        number(5),
        number(6),
        number(7)
    )
}

impl Steps for Resync {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        if let Some(verify) = &mut self.verify {
            let verified = verify.next(answer, &self.settings)?;
            return Ok(self.verified(verified));
        }
        match (answer, self.vectorizer, self.request) {
            (Answer::Begin, ..) => Ok(named::ask()),
            (Answer::Waited, Some(vectorizer), None) => Ok(self.request(vectorizer)),
            (Answer::Waited, Some(vectorizer), _) => {
                Ok(Ask::query(STANDING, vec![Param::Int(vectorizer)]))
            }
            (answer, None, _) => self.ask(&answer.rows()?),
            (answer, Some(vectorizer), None) => self.asked(vectorizer, &answer.rows()?),
            (answer, _, Some(request)) => self.look(request, &answer.rows()?),
        }
    }
}
