//! Ceilings in a worker that is played by hand: a queue, a database that knows budgets, and a provider.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::budget::Budgets;
use super::*;
use crate::call::{Call, Reply};
use crate::output::Output;
use crate::provider::{Account, Price};
use crate::query::Rows;
use crate::settings::Settings;
use crate::vectorizer::example::definition;

/// A text of 28 bytes: 7 tokens, and for each request one more as an estimate.
const TEXT: &str = "twenty-eight bytes in a text";
const DAY: u64 = 24 * 60 * 60;
/// One hour before a day ends.
const EVENING: Duration = Duration::from_secs(20_000 * DAY + 23 * 60 * 60);

struct Scene {
    worker: Worker,
    now: Time,
    ceiling: u64,
    queue: BTreeSet<String>,
    /// By scope and day: taken, and the highest ceiling that was told.
    budgets: BTreeMap<(String, u64), (i64, u64)>,
    /// The tokens that the provider has counted, by day.
    embedded: BTreeMap<u64, u64>,
    /// How many tokens it counts for a text.
    tokens_of_a_text: u64,
    events: Vec<Event>,
    recorded: usize,
}

impl Scene {
    fn new(ceiling: u64, rows: u32) -> Self {
        let settings = Settings {
            wall_start: EVENING,
            ..Settings::new("test")
        };
        Self {
            worker: Worker::new(settings, 1).unwrap(),
            now: Time::ZERO,
            ceiling,
            queue: (0..rows).map(|row| row.to_string()).collect(),
            budgets: BTreeMap::new(),
            embedded: BTreeMap::new(),
            tokens_of_a_text: 7,
            events: vec![],
            recorded: 0,
        }
    }

    fn definition(&self) -> String {
        let parts = serde_json::json!({
            "loading": {"implementation": "column", "column_name": "body"},
            "processing": {"implementation": "default",
                "max_tokens_per_day": (self.ceiling > 0).then_some(self.ceiling)},
        });
        definition(1, parts).to_string()
    }

    fn answer(&mut self, query: &Query) -> Rows {
        let text = |text: &str| Some(text.to_owned());
        match query {
            Query::CheckSchema => vec![vec![text("0.12.1"), text("1")]],
            Query::StartWorker { .. } => vec![vec![text("w")]],
            Query::LoadVectorizers { .. } => vec![vec![text("1"), Some(self.definition())]],
            Query::Claim { .. } => {
                let claimed = std::mem::take(&mut self.queue).into_iter();
                let row =
                    |key: String| vec![Some(key), text("1"), text("1"), text("1"), text("now")];
                claimed.map(row).collect()
            }
            Query::Read { keys, .. } => (1..=keys.len())
                .map(|number| {
                    let number = number.to_string();
                    // No two texts are the same.
                    let body = format!("{}{number:0>3}", &TEXT[3..]);
                    vec![Some(number), text("true"), Some(body), None]
                })
                .collect(),
            Query::Commit { rows, .. } => (1..=rows.len())
                .map(|number| vec![Some(number.to_string()), text("done")])
                .collect(),
            Query::Release { keys, .. } => {
                self.queue.extend(keys.iter().map(|key| key.0[0].clone()));
                vec![]
            }
            Query::RecordErrors(errors) => {
                self.recorded += errors.len();
                vec![]
            }
            Query::TakeBudget {
                scope,
                day,
                ceiling,
                wanted,
                ..
            } => {
                let (taken, told) = self.budgets.entry((scope.clone(), *day)).or_default();
                let left = i64::try_from(*ceiling).unwrap() - *taken;
                let granted = left.max(0).min(*wanted).max(-*taken);
                *taken += granted;
                let is_news = granted < *wanted && ceiling > told;
                if is_news {
                    *told = *ceiling;
                }
                vec![vec![Some(granted.to_string()), Some(is_news.to_string())]]
            }
            Query::AcceptTexts { .. }
            | Query::Change { .. }
            | Query::AddUsage(_)
            | Query::Bell { .. }
            | Query::Command { .. }
            | Query::Extend { .. }
            | Query::Fail { .. }
            | Query::Heartbeat(_)
            | Query::Index(_)
            | Query::Refresh { .. }
            | Query::Resync(_)
            | Query::Waiting { .. } => vec![],
        }
    }

    /// Answers everything until this moment.
    fn run_until(&mut self, end: Time) {
        loop {
            match self.worker.poll(self.now) {
                Output::Event(event) => self.events.push(event),
                Output::Query(ticket, query) => {
                    let rows = self.answer(&query);
                    self.worker.handle_rows(self.now, ticket, Ok(rows));
                }
                Output::Call(ticket, Call::Http(request)) => {
                    let body: serde_json::Value =
                        serde_json::from_slice(request.http.body()).unwrap();
                    let texts = body["input"].as_array().unwrap().len();
                    let tokens = texts as u64 * self.tokens_of_a_text;
                    let day = (EVENING + self.now.since_start()).as_secs() / DAY;
                    *self.embedded.entry(day).or_default() += tokens;
                    let answer = serde_json::json!({"embeddings": vec![[0.5]; texts]});
                    let mut received: crate::request::Received =
                        http::Response::new(answer.to_string().into_bytes()).into();
                    let vectors = vec![Arc::from([0.5]); texts];
                    received.vectors = Some(Ok(crate::provider::Vectors {
                        vectors,
                        tokens: Some(tokens),
                    }));
                    let reply = Reply::Http(Ok(received));
                    self.worker.handle_call(self.now, ticket, reply);
                }
                Output::Call(ticket, Call::Compute(work)) => {
                    let reply = Reply::Compute(Box::new(work.run()));
                    self.worker.handle_call(self.now, ticket, reply);
                }
                Output::Call(
                    _,
                    Call::Build(_) | Call::File(_) | Call::Model(_) | Call::Parse(_),
                ) => {
                    unreachable!("there is no index and no model here")
                }
                Output::Wait(until) => match until.filter(|until| *until < end) {
                    Some(until) => self.now = until,
                    None => {
                        self.now = end;
                        return;
                    }
                },
                Output::Stopped(_) => return,
            }
        }
    }

    fn minutes(&mut self, minutes: u64) {
        self.run_until(self.now + Duration::from_secs(minutes * 60));
    }

    fn told(&self) -> Vec<String> {
        let mut told = vec![];
        for event in &self.events {
            if let Event::CeilingReached { reason, .. } = event {
                told.push(reason.clone());
            }
        }
        told
    }
}

#[test]
fn a_ceiling_ends_a_day_with_one_error_and_the_next_day_goes_on_by_itself() {
    let mut scene = Scene::new(100, 40);
    scene.minutes(50);
    let told = scene.told();
    assert_eq!(told.len(), 1, "{told:?}");
    for part in [
        "ceiling of 100 tokens a day",
        "2024-10-05 00:00 UTC",
        "'{processing,max_tokens_per_day}', '200') where id = 1",
    ] {
        assert!(told[0].contains(part), "{}", told[0]);
    }
    assert_eq!(scene.recorded, 1);
    assert!(
        (90..=100).contains(&scene.embedded[&20_000]),
        "{:?}",
        scene.embedded
    );
    assert_eq!(scene.embedded.len(), 1);
    let queued = scene.queue.len();
    assert_eq!(
        queued as u64,
        40 - scene.embedded[&20_000] / 7,
        "rows go back to the queue"
    );

    scene.minutes(9);
    assert_eq!(scene.embedded.len(), 1, "a minute before the day begins");
    scene.minutes(2);
    assert!(
        (90..=100).contains(&scene.embedded[&20_001]),
        "{:?}",
        scene.embedded
    );
    assert_eq!(
        (scene.told().len(), scene.recorded),
        (2, 2),
        "a new day, a new error"
    );
}

#[test]
fn a_raised_ceiling_goes_on_within_a_poll_interval() {
    let mut scene = Scene::new(100, 40);
    scene.minutes(5);
    assert!(scene.embedded[&20_000] <= 100);
    scene.ceiling = 200;
    scene.minutes(1);
    assert!(
        (190..=200).contains(&scene.embedded[&20_000]),
        "{:?}",
        scene.embedded
    );
    assert_eq!((scene.told().len(), scene.recorded), (2, 2));
    scene.ceiling = 1_000_000;
    scene.minutes(1);
    assert_eq!(scene.embedded[&20_000], 40 * 7);
    assert!(scene.queue.is_empty());
}

#[test]
fn what_estimates_miss_is_paid_for_by_what_comes_after() {
    let mut scene = Scene::new(1000, 200);
    scene.tokens_of_a_text = 16;
    scene.minutes(5);
    // Twice as much as estimated: at most what was in flight at the end goes beyond.
    let embedded = scene.embedded[&20_000];
    assert!((800..1500).contains(&embedded), "{embedded}");
    let (taken, _) = scene.budgets[&("vectorizer 1".to_owned(), 20_000)];
    assert_eq!(taken, 1000);
}

#[test]
fn what_is_left_is_given_back_when_the_worker_stops() {
    let mut scene = Scene::new(100_000, 4);
    scene.minutes(1);
    let scope = ("vectorizer 1".to_owned(), 20_000);
    assert!(scene.budgets[&scope].0 >= 2_000, "a block is taken");
    scene.worker.stop();
    scene.minutes(1);
    assert_eq!(scene.budgets[&scope].0, 28, "what four texts have cost");
}

#[test]
fn without_a_ceiling_nothing_is_reserved() {
    let mut scene = Scene::new(0, 4);
    scene.minutes(1);
    assert_eq!(scene.embedded[&20_000], 28);
    assert!(scene.budgets.is_empty(), "{:?}", scene.budgets);
}

#[test]
fn small_requests_are_not_rounded_up_to_a_millionth_of_a_dollar_each() {
    let account = Account {
        provider: "openai",
        base_url: "https://x".to_owned(),
        secret: Some("KEY".to_owned()),
    };
    let price = Price::from_dollars(0.02).unwrap();
    let ceiling = Ceiling::of_dollars(account, 10, price);
    let mut budgets = Budgets::default();
    budgets.know(&ceiling, 1);
    // Ten millionths are 500 tokens at that price.
    let wanted = budgets.wants(&ceiling, Time::ZERO, 500).unwrap();
    assert_eq!(wanted, 10);
    budgets.asked(&ceiling.scope);
    let taken = BudgetTaken {
        granted: 10,
        is_news: false,
    };
    budgets.taken(&ceiling.scope, 1, wanted, taken, Time::ZERO);
    for _ in 0..50 {
        assert!(budgets.tokens_left(&ceiling) >= 10);
        budgets.sent(&ceiling, 10);
        budgets.settled(&ceiling, 1, 10, 10);
    }
    assert_eq!(budgets.tokens_left(&ceiling), 0);
    assert_eq!(ceiling.scope.to_string(), "openai at https://x with KEY");
}
