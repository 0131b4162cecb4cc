//! `pause` and `resume`: workers leave a vectorizer alone for a while.

use std::time::Duration;

use super::{Answer, Ask, Steps, field, named};
use crate::options::duration;
use crate::query::Param;
use crate::vectorizer::Definition;

/// The arguments of `pause`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// The vectorizer's name or id
    name: String,

    /// Why, for others: `status` shows it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Workers continue after this time: seconds, or 30m, 12h [default: after `resume`]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    time: Option<Duration>,
}

/// The arguments of `resume`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// The vectorizer's name or id
    name: String,
}

/// Parameters: id, reason, milliseconds (0: until resumed). Returns when it ends.
const PAUSE: &str = "\
select ai.pause_vectorizer($1::bigint::int, $2::text, t.until)::text, t.until::text
from (select case when $3::bigint > 0 then now() + $3::bigint * interval '1 ms' end as until) t";

const RESUME: &str = "select ai.resume_vectorizer($1::bigint::int)::text";

/// Both commands: `time` and `reason` are of a pause.
#[derive(Debug)]
pub(super) struct Pause {
    what: What,
    /// Once it was found.
    vectorizer: Option<Definition>,
}

#[derive(Debug)]
enum What {
    Pause(PauseArgs),
    Resume(ResumeArgs),
}

impl Pause {
    pub(super) const fn begin(args: PauseArgs) -> Self {
        Self {
            what: What::Pause(args),
            vectorizer: None,
        }
    }

    pub(super) const fn end(args: ResumeArgs) -> Self {
        Self {
            what: What::Resume(args),
            vectorizer: None,
        }
    }

    fn ask(&self, id: i64) -> Ask {
        let id = Param::Int(id);
        match &self.what {
            What::Pause(args) => {
                let ms = args.time.map_or(0, |time| time.as_millis());
                let ms = i64::try_from(ms).unwrap_or(i64::MAX);
                let reason = Param::Text(args.reason.clone());
                Ask::query(PAUSE, vec![id, reason, Param::Int(ms)])
            }
            What::Resume(_) => Ask::query(RESUME, vec![id]),
        }
    }
}

impl Steps for Pause {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        if matches!(answer, Answer::Begin) {
            return Ok(named::ask());
        }
        let Some(vectorizer) = &self.vectorizer else {
            let (What::Pause(PauseArgs { name, .. }) | What::Resume(ResumeArgs { name })) =
                &self.what;
            let found = named::find(&answer.rows()?, name)?;
            let ask = self.ask(found.id);
            self.vectorizer = Some(found);
            return Ok(ask);
        };
        if let Answer::Rows(Err(error)) = &answer
            && error.sqlstate.as_deref() == Some("42501")
        {
            return Err(format!(
                "{error}: only the owner of its source table and superusers may do this; \
                 give the URL of one of them with --db-url"
            ));
        }
        let rows = answer.rows()?;
        let until = rows.first().map_or("", |row| field(row, 1));
        Ok(Ask::done(match (&self.what, until) {
            (What::Resume(_), _) if !vectorizer.paused => {
                format!("{} is not paused", vectorizer.name)
            }
            (What::Resume(_), _) => format!("workers continue with {}", vectorizer.name),
            (What::Pause(_), "") => format!("{} is paused", vectorizer.name),
            (What::Pause(_), until) => {
                let until: String = until.chars().take(19).collect();
                format!("{} is paused until {until}", vectorizer.name)
            }
        }))
    }
}
