//! `doctor`: checks everything that a worker needs, and says how to fix what is wrong.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::drift::{self, Sample};
use super::question::{Next, Question};
use super::{Answer, Ask, Report, Steps, checks, explained, named};
use crate::provider::Purpose;
use crate::query::{DbError, Param, Rows};
use crate::settings::Settings;
use crate::standing;
use crate::vectorizer::{Definition, Profile};

/// The arguments of `doctor`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Do not call any provider
    #[arg(long)]
    offline: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The text that each provider is asked to embed.
const PROBE: &str = "probe";

#[derive(Debug)]
pub(super) struct Doctor {
    args: DoctorArgs,
    settings: Settings,
    step: Step,
    findings: Vec<Finding>,
    /// Vectorizers whose providers have not been checked yet.
    left: Vec<Arc<Profile>>,
    /// What the current provider is asked.
    question: Option<Question>,
    /// Vectorizers whose stores have not been checked yet; the last one is being checked.
    samples: Vec<Sample>,
    /// Whether all samples so far were in sync.
    is_in_sync: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Objects,
    Providers,
    Samples,
    Server,
    Triggers,
    Vectorizers,
}

#[derive(Debug)]
pub(super) struct Finding {
    level: Grade,
    what: String,
    remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Grade {
    Good,
    Note,
    Wrong,
}

impl Finding {
    pub(super) fn good(what: impl Into<String>) -> Self {
        Self {
            level: Grade::Good,
            what: what.into(),
            remedy: None,
        }
    }

    pub(super) fn note(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Grade::Note,
            what: what.into(),
            remedy: Some(remedy.into()),
        }
    }

    pub(super) fn wrong(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Grade::Wrong,
            what: what.into(),
            remedy: Some(remedy.into()),
        }
    }

    #[cfg(test)]
    pub(super) fn is_good(&self) -> bool {
        self.level == Grade::Good
    }

    fn line(&self) -> String {
        let mark = match self.level {
            Grade::Good => "ok   ",
            Grade::Note => "note ",
            Grade::Wrong => "WRONG",
        };
        match &self.remedy {
            Some(remedy) => format!("{mark} {}\n      → {remedy}", self.what),
            None => format!("{mark} {}", self.what),
        }
    }

    fn json(&self) -> Value {
        let level = match self.level {
            Grade::Good => "ok",
            Grade::Note => "note",
            Grade::Wrong => "wrong",
        };
        json!({"level": level, "finding": self.what, "remedy": self.remedy})
    }
}

impl Doctor {
    pub(super) const fn new(args: DoctorArgs, settings: Settings) -> Self {
        Self {
            args,
            settings,
            step: Step::Server,
            findings: vec![],
            left: vec![],
            question: None,
            samples: vec![],
            is_in_sync: true,
        }
    }

    fn server(&mut self, rows: Result<Rows, DbError>) -> Ask {
        match rows {
            Ok(rows) => {
                self.findings
                    .extend(checks::server(&rows, &self.settings.program));
                if checks::is_installed(&rows) {
                    self.step = Step::Vectorizers;
                    return named::ask();
                }
            }
            Err(error) => {
                let remedy = "check --db-url, and that the server runs and lets this user in";
                self.findings
                    .push(Finding::wrong(error.to_string(), remedy));
            }
        }
        self.done()
    }

    /// Checks the owners of the vectorizers, and whether this role may run them.
    fn standings(&mut self, definitions: &[Definition]) {
        let enabled = definitions.iter().filter(|known| !known.disabled);
        let known: Vec<_> = enabled
            .filter_map(|known| Some((known, known.standing.as_ref()?)))
            .collect();
        let foreign = known.iter().filter_map(|(definition, standing)| {
            let owner = standing.foreign(&self.settings)?;
            Some((owner.to_owned(), definition.name.clone()))
        });
        let foreign: BTreeSet<_> = foreign.collect();
        if !foreign.is_empty() && !self.settings.require_trust {
            let what = "owners that are not one trust domain are served by one worker";
            self.findings
                .push(Finding::note(what, standing::advice(&foreign)));
        }
        for (definition, standing) in known {
            if let Some(distrust) = standing.distrust(&self.settings) {
                let what = format!("the vectorizer {} is not served", definition.name);
                self.findings.push(Finding::note(what, distrust));
            }
            if let Some(hidden) = standing.hidden() {
                let what = format!("the vectorizer {} cannot run", definition.name);
                self.findings.push(Finding::wrong(what, hidden));
            }
            if standing.is_open {
                let what = format!(
                    "every role that can read the chunks of {} sees all of them",
                    definition.name
                );
                let remedy = standing::open_advice(definition.id);
                self.findings.push(Finding::wrong(what, remedy));
            }
        }
    }

    fn vectorizers(&mut self, rows: &Rows) -> Result<Ask, String> {
        let definitions = named::all(rows);
        for (id, reason) in named::unreadable(rows) {
            let what = format!("the definition of vectorizer {id} cannot be read: {reason}");
            let remedy = format!("select ai.drop_vectorizer({id}), and create it anew");
            self.findings.push(Finding::wrong(what, remedy));
        }
        self.standings(&definitions);
        if definitions.is_empty() {
            let remedy = "make one with select ai.create_vectorizer(…)";
            self.findings
                .push(Finding::note("there are no vectorizers", remedy));
        }
        for definition in definitions.iter().filter(|definition| !definition.disabled) {
            let profile = definition
                .check_vectors()
                .and_then(|()| Profile::new(definition, &self.settings));
            match profile {
                Ok(profile) => self.left.push(Arc::new(profile)),
                Err(reason) => {
                    let what = format!("the vectorizer {} cannot run", definition.name);
                    self.findings.push(Finding::wrong(what, reason));
                }
            }
        }
        for definition in definitions.iter().filter(|definition| definition.disabled) {
            let what = format!("the vectorizer {} is disabled", definition.name);
            let remedy = format!("select ai.enable_vectorizer_schedule({})", definition.id);
            self.findings.push(Finding::note(what, remedy));
        }
        self.left.reverse();
        let program = &self.settings.program;
        let limits = self.settings.limits;
        let samples = self
            .left
            .iter()
            .map(|profile| Sample::new(Arc::clone(profile), limits, program.clone()));
        self.samples = samples.collect();
        self.step = Step::Objects;
        Ok(Ask::query(checks::OBJECTS, vec![]))
    }

    fn next_sample(&mut self) -> Ask {
        self.step = Step::Samples;
        match self.samples.last() {
            Some(sample) => sample.begin(),
            None => {
                if self.is_in_sync && !self.left.is_empty() {
                    let what = "samples of all sources are in sync with what is stored";
                    self.findings.push(Finding::good(what));
                }
                self.next_provider()
            }
        }
    }

    fn sampled(&mut self, rows: Result<Rows, DbError>) -> Ask {
        let Some(sample) = self.samples.last_mut() else {
            return self.next_provider();
        };
        match sample.next(rows) {
            Ok(ask) => ask,
            Err(finding) => {
                self.is_in_sync &= finding.is_none();
                self.findings.extend(finding);
                self.samples.pop();
                self.next_sample()
            }
        }
    }

    fn next_provider(&mut self) -> Ask {
        self.step = Step::Providers;
        match self.left.pop() {
            Some(profile) if !self.args.offline => {
                let question = Question::new(profile, PROBE, Purpose::Document, &self.settings);
                let ask = question.call().into();
                self.question = Some(question);
                ask
            }
            _ => self.done(),
        }
    }

    fn provider(&mut self, answer: Answer) -> Result<Ask, String> {
        let Some(mut question) = self.question.take() else {
            return Ok(self.done());
        };
        let next = match answer {
            Answer::Reply(reply) => question.answered(reply),
            Answer::Begin
            | Answer::Read(_)
            | Answer::Rows(_)
            | Answer::Waited
            | Answer::Written(_) => Err("the provider was not asked".to_owned()),
        };
        let vector = match next {
            Ok(Next::Call(call)) => {
                self.question = Some(question);
                return Ok(call.into());
            }
            Ok(Next::Vectors(embedded)) => embedded.one(),
            Err(reason) => Err(reason),
        };
        let profile = question.profile;
        let provider = &profile.provider;
        let name = &profile.name;
        self.findings.push(match vector {
            Ok(_) => Finding::good(format!(
                "the vectorizer {name}: {} embeds with {:?}",
                provider.account(),
                provider.model
            )),
            Err(reason) => Finding::wrong(
                format!("the vectorizer {name} cannot embed: {reason}"),
                "fix that; rows wait in the queue meanwhile, and the worker tries again by itself",
            ),
        });
        Ok(self.next_provider())
    }

    fn done(&self) -> Ask {
        let wrong = self
            .findings
            .iter()
            .filter(|finding| finding.level == Grade::Wrong);
        let wrong = wrong.count();
        let text = if self.args.json {
            Value::from_iter(self.findings.iter().map(Finding::json)).to_string()
        } else {
            let lines: Vec<String> = self.findings.iter().map(Finding::line).collect();
            lines.join("\n")
        };
        Ask::Done(Report {
            text,
            failure: (wrong > 0).then(|| match wrong {
                1 => "1 thing is wrong".to_owned(),
                more => format!("{more} things are wrong"),
            }),
        })
    }
}

impl Steps for Doctor {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        match (self.step, answer) {
            (_, Answer::Begin) => Ok(Ask::query(checks::SERVER, vec![])),
            (Step::Server, Answer::Rows(rows)) => Ok(self.server(rows)),
            (Step::Vectorizers, Answer::Rows(rows)) => {
                let rows = rows.map_err(|error| explained(&error))?;
                self.vectorizers(&rows)
            }
            (Step::Objects, Answer::Rows(rows)) => {
                match rows {
                    Ok(rows) => self.findings.extend(checks::objects(&rows)),
                    Err(error) => {
                        let what = "tables and triggers cannot be checked".to_owned();
                        self.findings.push(Finding::wrong(what, explained(&error)));
                    }
                }
                self.step = Step::Triggers;
                Ok(Ask::query(
                    drift::TRIGGERS,
                    vec![Param::Text(Some(self.settings.program.clone()))],
                ))
            }
            (Step::Triggers, Answer::Rows(rows)) => {
                match rows {
                    Ok(rows) => self.findings.extend(drift::triggers(&rows)),
                    Err(error) => {
                        let what = "triggers cannot be checked".to_owned();
                        self.findings.push(Finding::wrong(what, explained(&error)));
                    }
                }
                Ok(self.next_sample())
            }
            (Step::Samples, Answer::Rows(rows)) => Ok(self.sampled(rows)),
            (_, answer) => self.provider(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_answer_is_one_finding() {
        let args = DoctorArgs {
            offline: false,
            json: false,
        };
        let mut doctor = Doctor::new(args, Settings::new("w"));
        assert!(matches!(doctor.next(Answer::Begin), Ok(Ask::Query(_))));
        let error = DbError {
            sqlstate: None,
            message: "connection refused".to_owned(),
        };
        let Ok(Ask::Done(report)) = doctor.next(Answer::Rows(Err(error))) else {
            panic!()
        };
        assert!(report.text.contains("--db-url"), "{}", report.text);
        assert_eq!(report.failure.as_deref(), Some("1 thing is wrong"));
    }
}
