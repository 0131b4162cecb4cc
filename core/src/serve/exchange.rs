//! One request: what it wants, the steps to its answer, and the answer.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::catalogue::Catalogue;
use super::embed::{Embed, Whose};
use super::mcp::{self, Message, Tool};
use super::refused::{self, Refused};
use super::search::Search;
use super::{Caller, not_allowed, refusal};
use crate::call::{Call, Reply};
use crate::command::question::{Next, Question};
use crate::command::rerank::{After, Reranking};
use crate::command::{Answer, Ask, Inquiry, Task};
use crate::provider::Purpose;
use crate::query::{Query, Rows};
use crate::request::Response;
use crate::time::Time;
use crate::vectorizer::Profile;

/// One request on its way to its answer.
pub struct Exchange {
    caller: Arc<Caller>,
    began: Time,
    frame: Frame,
    step: Step,
    /// Whether the vectorizers were read for this request.
    has_read: bool,
    trouble: Option<String>,
}

/// The next action of an exchange.
#[derive(Debug)]
#[must_use = "an exchange goes on only when its question is answered"]
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time is on its way, and the shell takes it apart"
)]
pub enum Doing {
    /// Do this.
    Call(Call),
    /// It is over: this is the answer. Its body is empty if none is expected.
    Done(Response),
    /// Run this statement, as the role of the caller.
    Query(Query),
}

/// How the result is wrapped.
#[derive(Debug)]
enum Frame {
    Http,
    /// With the id of the message.
    Mcp(Value),
}

/// What is wanted.
#[derive(Debug)]
enum Wanted {
    Embed(Embed),
    List,
    Models,
    Search(Search),
}

enum Step {
    /// What was asked needs no database, or is no request.
    Ready(Response),
    /// Nothing is known yet.
    Begin(Wanted),
    /// The vectorizers are read.
    Catalogue(Wanted),
    /// The model works.
    Question(Wanted, Question),
    /// The database searches.
    Search(Search, Arc<Profile>),
    /// The reranker reads what was found.
    Rerank(Reranked),
    /// A command of the operator answers.
    Task(Task),
    Over,
}

/// What was found, on its way through the reranker.
struct Reranked {
    search: Search,
    profile: Arc<Profile>,
    found: Vec<Map<String, Value>>,
    reranking: Reranking,
}

impl Exchange {
    /// An HTTP request of this caller.
    #[must_use]
    pub fn new(caller: Arc<Caller>, now: Time, request: &Parts, body: &[u8]) -> Self {
        let path = request.uri.path();
        if path == "/mcp" {
            return match mcp::refused_request(request) {
                None => Self::mcp(caller, now, body),
                Some(answer) => Self::with(caller, now, Frame::Http, Step::Ready(answer)),
            };
        }
        let step = step(&caller, (&request.method, path), body);
        let step = step.unwrap_or_else(|refused| Step::Ready(answer_to(&Frame::Http, &refused)));
        Self::with(caller, now, Frame::Http, step)
    }

    /// A message of MCP from this caller.
    #[must_use]
    pub fn mcp(caller: Arc<Caller>, now: Time, message: &[u8]) -> Self {
        let (id, tool) = match mcp::read(message) {
            Message::Answered(answer) => {
                return Self::with(caller, now, Frame::Http, Step::Ready(answer));
            }
            Message::Call(id, tool) => (id, tool),
        };
        let frame = Frame::Mcp(id);
        let step = match tool {
            Tool::List => Step::Begin(Wanted::List),
            Tool::Search(arguments) => match Search::parse(&arguments, &caller.limits) {
                Ok(search) => Step::Begin(Wanted::Search(search)),
                Err(refused) => Step::Ready(answer_to(&frame, &refused)),
            },
            Tool::Status => {
                let inquiry = Inquiry::status_in_json();
                Step::Task(Task::new(inquiry, caller.settings.clone(), vec![]))
            }
        };
        Self::with(caller, now, frame, step)
    }

    const fn with(caller: Arc<Caller>, began: Time, frame: Frame, step: Step) -> Self {
        Self {
            caller,
            began,
            frame,
            step,
            has_read: false,
            trouble: None,
        }
    }

    /// Takes the answer to the last action ([`Answer::Begin`] at first), and returns the next one. It must not be
    /// called after [`Doing::Done`].
    pub fn next(&mut self, answer: Answer) -> Doing {
        self.step(answer).unwrap_or_else(|refused| {
            let answer = answer_to(&self.frame, &refused);
            self.trouble = refused.trouble;
            Doing::Done(answer)
        })
    }

    /// The answer if the time is over before there is another one.
    #[must_use]
    pub fn overdue(&self) -> Response {
        let seconds = self.caller.limits.timeout.as_secs_f64();
        let said = format!("it took longer than {seconds} s");
        answer_to(
            &self.frame,
            &Refused::new(StatusCode::GATEWAY_TIMEOUT, said),
        )
    }

    /// What the operator should know of, after the answer: it was not the client's fault.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn step(&mut self, answer: Answer) -> Result<Doing, Refused> {
        match std::mem::replace(&mut self.step, Step::Over) {
            Step::Ready(answer) => Ok(Doing::Done(answer)),
            Step::Begin(wanted) => match self.caller.known(self.began) {
                Some(known) => self.with_catalogue(&known, wanted),
                None => Ok(self.read(wanted)),
            },
            Step::Catalogue(wanted) => {
                let catalogue = Catalogue::new(&rows(answer)?, &self.caller.settings);
                let known = self.caller.learn(self.began, catalogue);
                self.with_catalogue(&known, wanted)
            }
            Step::Question(wanted, question) => self.embedded(wanted, question, answer),
            Step::Search(search, profile) => {
                if !self.has_read && search.embedding.is_none() && is_gone(&answer) {
                    return Ok(self.read(Wanted::Search(search)));
                }
                let found = search.found(&rows(answer)?);
                Ok(self.found(search, profile, found))
            }
            Step::Rerank(reranked) => self.reranked(reranked, answer),
            Step::Task(task) => self.inquire(task, answer),
            Step::Over => Err(Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the request was answered already",
            )),
        }
    }

    /// Reads the vectorizers, and begins with them.
    fn read(&mut self, wanted: Wanted) -> Doing {
        self.has_read = true;
        self.step = Step::Catalogue(wanted);
        Doing::Query(Query::LoadVectorizers { ids: vec![] })
    }

    fn with_catalogue(&mut self, known: &Catalogue, wanted: Wanted) -> Result<Doing, Refused> {
        match wanted {
            Wanted::List => Ok(self.done(&known.list())),
            Wanted::Models => Ok(self.done(&known.models())),
            Wanted::Embed(embed) => {
                let profile = match &embed.whose {
                    Whose::Model(model) => known.of_model(model)?,
                    Whose::Vectorizer(name) => known.find(name)?.profile()?,
                };
                embed.check(&profile)?;
                let (texts, purpose) = (embed.texts.clone(), embed.purpose);
                Ok(self.ask(Wanted::Embed(embed), profile, texts, purpose))
            }
            Wanted::Search(search) => {
                let profile = known.find(&search.vectorizer.0)?.profile()?;
                search.check_vector(&profile)?;
                if search.rerank && self.caller.reranker.is_none() {
                    return Err(Refused::request(
                        "this server has no reranker: it was started without --rerank",
                    ));
                }
                if let Some(vector) = &search.embedding {
                    let statement = search.statement(&profile, vector);
                    self.step = Step::Search(search, profile);
                    return Ok(Doing::Query(statement));
                }
                let texts = search.query.iter().map(|query| Arc::from(&**query));
                let texts = texts.collect();
                Ok(self.ask(Wanted::Search(search), profile, texts, Purpose::Query))
            }
        }
    }

    /// Lets a model embed texts.
    fn ask(
        &mut self,
        wanted: Wanted,
        profile: Arc<Profile>,
        texts: Vec<Arc<str>>,
        purpose: Purpose,
    ) -> Doing {
        let question = Question::of(profile, texts, purpose, self.times());
        let call = question.call();
        self.step = Step::Question(wanted, question);
        Doing::Call(call)
    }

    fn embedded(
        &mut self,
        wanted: Wanted,
        mut question: Question,
        answer: Answer,
    ) -> Result<Doing, Refused> {
        let next = question.answered(reply(answer)?);
        let embedded = match next.map_err(Refused::of_provider)? {
            Next::Call(call) => {
                self.step = Step::Question(wanted, question);
                return Ok(Doing::Call(call));
            }
            Next::Vectors(embedded) => embedded,
        };
        let profile = question.profile;
        match wanted {
            Wanted::Embed(embed) => Ok(self.done(&embed.answer(&profile, &embedded))),
            Wanted::Search(search) => {
                let vector = embedded.one().map_err(Refused::of_provider)?;
                let statement = search.statement(&profile, &vector);
                self.step = Step::Search(search, profile);
                Ok(Doing::Query(statement))
            }
            Wanted::List | Wanted::Models => Err(unexpected()),
        }
    }

    /// How long a call may take, and the time since 1970.
    fn times(&self) -> (Duration, Duration) {
        let wall = self.caller.settings.wall_start + self.began.since_start();
        (self.caller.limits.timeout, wall)
    }

    fn found(
        &mut self,
        search: Search,
        profile: Arc<Profile>,
        found: Vec<Map<String, Value>>,
    ) -> Doing {
        let reranker = self.caller.reranker.clone();
        let reranker = reranker.filter(|_| search.rerank && !found.is_empty());
        let Some(reranker) = reranker else {
            return self.done(&search.answer(&profile, found));
        };
        let texts = found
            .iter()
            .map(|found| found["chunk"].as_str().unwrap_or_default());
        let texts = texts.map(Arc::from).collect();
        let query = search.query.as_deref().unwrap_or_default();
        let reranking = Reranking::new(reranker, query, texts, self.times());
        let call = reranking.call();
        self.step = Step::Rerank(Reranked {
            search,
            profile,
            found,
            reranking,
        });
        Doing::Call(call)
    }

    fn reranked(&mut self, mut reranked: Reranked, answer: Answer) -> Result<Doing, Refused> {
        let after = reranked.reranking.answered(reply(answer)?);
        match after.map_err(Refused::of_provider)? {
            After::Call(call) => {
                self.step = Step::Rerank(reranked);
                Ok(Doing::Call(call))
            }
            After::Scores(scores) => {
                let best = reranked.search.best(&reranked.found, &scores);
                Ok(self.done(&reranked.search.answer(&reranked.profile, best)))
            }
        }
    }

    fn inquire(&mut self, mut task: Task, answer: Answer) -> Result<Doing, Refused> {
        let doing = match task.next(answer) {
            Ask::Call(call) => Doing::Call(call),
            Ask::Query(query) => Doing::Query(query),
            Ask::Done(report) => {
                return match report.failure {
                    Some(failure) => Err(Refused::request(failure)),
                    None => Ok(self.done(&Value::from(report.text))),
                };
            }
            Ask::Read | Ask::Wait { .. } | Ask::Write { .. } => return Err(unexpected()),
        };
        self.step = Step::Task(task);
        Ok(doing)
    }

    fn done(&self, result: &Value) -> Doing {
        Doing::Done(match &self.frame {
            Frame::Http => refused::json(StatusCode::OK, result.to_string()),
            Frame::Mcp(id) => mcp::result(id, result, false),
        })
    }
}

/// What an address wants.
fn step(caller: &Caller, (method, path): (&Method, &str), body: &[u8]) -> Result<Step, Refused> {
    let allowed = match path {
        "/v1/embed" | "/v1/embeddings" | "/v1/search" => Method::POST,
        "/v1/models" => Method::GET,
        _ => {
            return Err(Refused::new(
                StatusCode::NOT_FOUND,
                "there is nothing at this address: see /openapi.json",
            ));
        }
    };
    if *method != allowed {
        let allowed = if allowed == Method::GET {
            "GET"
        } else {
            "POST"
        };
        return Ok(Step::Ready(not_allowed(allowed)));
    }
    Ok(Step::Begin(match path {
        "/v1/embed" => Wanted::Embed(Embed::plain(body)?),
        "/v1/embeddings" => Wanted::Embed(Embed::of_openai(body)?),
        "/v1/search" => Wanted::Search(Search::parse(body, &caller.limits)?),
        _ => Wanted::Models,
    }))
}

fn answer_to(frame: &Frame, refused: &Refused) -> Response {
    match frame {
        Frame::Http => refusal(refused.status, &refused.message),
        Frame::Mcp(id) => mcp::result(id, &json!(refused.message), true),
    }
}

fn unexpected() -> Refused {
    Refused::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "an action was answered with the result of another one",
    )
}

fn rows(answer: Answer) -> Result<Rows, Refused> {
    match answer {
        Answer::Rows(rows) => rows.map_err(Refused::from),
        Answer::Begin
        | Answer::Read(_)
        | Answer::Reply(_)
        | Answer::Waited
        | Answer::Written(_) => Err(unexpected()),
    }
}

/// Whether a search failed because its vectorizer or its generation was dropped since the vectorizers were read.
fn is_gone(answer: &Answer) -> bool {
    matches!(answer, Answer::Rows(Err(error)) if error.sqlstate.as_deref() == Some(refused::NO_DATA_FOUND))
}

fn reply(answer: Answer) -> Result<Reply, Refused> {
    match answer {
        Answer::Reply(reply) => Ok(reply),
        Answer::Begin | Answer::Read(_) | Answer::Rows(_) | Answer::Waited | Answer::Written(_) => {
            Err(unexpected())
        }
    }
}

/// Without what is asked and found.
impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("began", &self.began)
            .finish_non_exhaustive()
    }
}
