//! `chunk`: shows how a vectorizer would chunk and format a row or a file. It is for tuning the chunking. A
//! provider is asked only if the chunks depend on vectors.

mod sides;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::question::{Next, Question};
use super::{Answer, Ask, Steps, field, key, named};
use crate::call::{Call, Reply};
use crate::document::Parts;
use crate::model::{ModelAnswer, ModelError, Tokenizer};
use crate::provider::Purpose;
use crate::query::{Key, Param, Query, Rows};
use crate::reuse::ChunkText;
use crate::rows::{Bounds, TextError};
use crate::settings::Settings;
use crate::sql::Plan;
use crate::text::Vectors;
use crate::vectorizer::{Definition, Profile, chunker};
use sides::{Side, beside};

/// The arguments of `chunk`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ChunkArgs {
    /// The vectorizer's name or id
    name: String,

    /// The row with this key; without it and without a file, a row chosen at random
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// Use the text of this file instead of a row; the template's columns stay placeholders
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    file: Option<String>,

    /// Show the chunks of this chunking beside them, such as "ai.chunking_markdown(400)"
    #[arg(long, value_name = "SQL")]
    compare: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ChunkArgs {
    pub(super) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }
}

pub(super) struct Chunk {
    args: ChunkArgs,
    settings: Settings,
    /// For a provider that has to be asked.
    with_secrets: Settings,
    file: Option<String>,
    /// What is chunked: a text, and the template's columns if it is a row's.
    source: Option<(String, Option<Vec<Option<String>>>)>,
    question: Option<Asked>,
    /// Of a model in this process; an error is the reason why there is none.
    tokenizer: Option<Result<Tokenizer, ModelError>>,
    vectors: BTreeMap<Arc<str>, Arc<[f32]>>,
    key: Option<Key>,
    definition: Option<Definition>,
    /// That of the vectorizer, and then the one that it is compared with.
    profiles: Vec<Arc<Profile>>,
    /// What each of them makes.
    sides: Vec<Side>,
}

/// Texts whose vectors a chunker needs.
struct Asked {
    question: Question,
    texts: Vec<Arc<str>>,
}

impl Chunk {
    pub(super) fn new(args: ChunkArgs, settings: Settings, file: Option<String>) -> Self {
        Self {
            args,
            settings: named::without_secrets(settings.clone()),
            with_secrets: settings,
            file,
            source: None,
            question: None,
            tokenizer: None,
            vectors: BTreeMap::new(),
            key: None,
            definition: None,
            profiles: vec![],
            sides: vec![],
        }
    }

    fn found(&mut self, rows: &Rows) -> Result<Ask, String> {
        let definition = named::find(rows, &self.args.name)?;
        let profile = self.profile(&definition)?;
        self.profiles.push(Arc::new(profile));
        self.definition = Some(definition);
        match &self.args.compare {
            // It is the operator's own SQL, with the operator's own rights.
            Some(chunking) => Ok(Ask::query(
                format!("select ({chunking})::jsonb::text"),
                vec![],
            )),
            None => self.begin(),
        }
    }

    fn profile(&self, definition: &Definition) -> Result<Profile, String> {
        let mut profile = Profile::new(definition, &self.settings)?;
        // Shown, whether it is stored or not.
        profile.has_location = true;
        Ok(profile)
    }

    /// Takes the chunking to compare with.
    fn compared(&mut self, rows: &Rows) -> Result<Ask, String> {
        let config = rows.first().map_or("", |row| field(row, 0));
        let config: Value = serde_json::from_str(config).unwrap_or_default();
        if let Some(definition) = &self.definition {
            let mut profile = self.profile(definition)?;
            profile.chunker = chunker(&config, &profile.provider)
                .map_err(|error| format!("--compare: {error}"))?;
            self.profiles.push(Arc::new(profile));
        }
        self.begin()
    }

    fn begin(&mut self) -> Result<Ask, String> {
        let (Some(profile), Some(definition)) = (self.profiles.first(), &self.definition) else {
            return Err("the vectorizer is gone".to_owned());
        };
        if let Some(file) = self.file.take() {
            self.source = Some((file, None));
            return self.show();
        }
        if profile.documents.is_some() {
            return Err(format!(
                "{} embeds documents: `{program} parse FILE` prints a document's text, and `{program} chunk {} --file \
                 TEXT` the chunks of a text",
                profile.name,
                profile.name,
                program = self.settings.program
            ));
        }
        let columns: Vec<&str> = definition.key().collect();
        Ok(match &self.args.key {
            Some(text) => {
                let key = Key(key::parse(text, &columns)?);
                let plan = Arc::clone(&profile.plan);
                self.read(plan, key)
            }
            None => Ask::query(profile.plan.sample.clone(), vec![Param::Int(1)]),
        })
    }

    fn row(&mut self, rows: &Rows) -> Result<Ask, String> {
        let Some(key) = &self.key else {
            let row = rows.first().ok_or("the source has no row with a text")?;
            let key = Key(row.iter().cloned().map(Option::unwrap_or_default).collect());
            let profile = self.profiles.first().ok_or("the vectorizer is gone")?;
            let plan = Arc::clone(&profile.plan);
            return Ok(self.read(plan, key));
        };
        // number, found, text, the template's columns, stored chunks
        let row = rows.first().map_or(&[][..], Vec::as_slice);
        if field(row, 1) == "long" {
            return Err(format!(
                "the texts of the row with the key {} have more than --max-row-bytes, which is {}",
                key::text(&key.0),
                self.settings.limits.row_bytes
            ));
        }
        if field(row, 1) != "true" {
            return Err(format!(
                "the source has no row with the key {}",
                key::text(&key.0)
            ));
        }
        let columns = row.get(3..).unwrap_or_default();
        self.source = Some((field(row, 2).to_owned(), Some(columns.to_vec())));
        self.show()
    }

    /// What a setting makes of the source.
    fn texts(&self, profile: &Profile) -> Result<Vec<ChunkText>, TextError> {
        let (text, columns) = self.source.as_ref().map_or(("", None), |(text, columns)| {
            (text.as_str(), columns.as_deref())
        });
        let vectors = Vectors::Known(self.vectors.clone());
        let mut bounds = Bounds::new(text, self.settings.limits);
        match columns {
            Some(columns) => profile.texts(text, &Parts::default(), columns, &vectors, &mut bounds),
            None => profile.texts_of_no_row(text, &vectors, &mut bounds),
        }
    }

    /// Asks for the vectors that a chunker needs.
    fn ask_for(&mut self, texts: Vec<Arc<str>>) -> Result<Ask, String> {
        let definition = self.definition.as_ref().ok_or("the vectorizer is gone")?;
        let profile = Profile::new(definition, &self.with_secrets)?;
        let sent = texts.iter().map(|text| match profile.provider.cut(text) {
            Some(cut) => Arc::from(cut),
            None => Arc::clone(text),
        });
        let sent = sent.collect();
        let times = (self.settings.request_timeout(), self.settings.wall_start);
        let question = Question::of(Arc::new(profile), sent, Purpose::Document, times);
        let ask = question.call().into();
        self.question = Some(Asked { question, texts });
        Ok(ask)
    }

    fn vectors_came(&mut self, mut asked: Asked, reply: Reply) -> Result<Ask, String> {
        match asked.question.answered(reply)? {
            Next::Call(call) => {
                self.question = Some(asked);
                Ok(call.into())
            }
            Next::Vectors(embedded) => {
                self.vectors
                    .extend(asked.texts.into_iter().zip(embedded.vectors));
                self.show()
            }
        }
    }

    fn read(&mut self, plan: Arc<Plan>, key: Key) -> Ask {
        self.key = Some(key.clone());
        Ask::Query(Query::Read {
            plan,
            keys: vec![key],
            bytes_max: usize::MAX,
        })
    }

    /// Takes the tokenizer of the model, which counts the tokens of the chunks.
    fn tokenizer_came(&mut self, answer: Result<Tokenizer, ModelError>) -> Result<Ask, String> {
        for profile in &self.profiles {
            match &answer {
                Ok(tokenizer) => profile.chunker.set_tokenizer(tokenizer),
                Err(error) if profile.chunker.needs_tokenizer() => return Err(error.to_string()),
                Err(_) => {}
            }
        }
        self.tokenizer = Some(answer);
        self.show()
    }

    fn show(&mut self) -> Result<Ask, String> {
        let first = self.profiles.first();
        let request = first.and_then(|profile| profile.provider.tokenizer_request());
        if let (Some(request), None) = (request, &self.tokenizer) {
            return Ok(Ask::Call(Call::Model(request)));
        }
        let mut sides = vec![];
        for (profile, name) in self.profiles.iter().zip(["now", "compared"]) {
            match self.texts(profile) {
                Ok(texts) => sides.push(Side::new(texts)),
                Err(TextError::Vectors(texts)) => return self.ask_for(texts),
                Err(error) => return Err(format!("{name}: {error}")),
            }
        }
        self.sides = sides;
        let tokenizer = self.tokenizer.as_ref().map(Result::as_ref).transpose();
        let note = match (tokenizer, self.profiles.first()) {
            // The chunks are worth showing without their tokens, too.
            (Err(error), _) => format!("; tokens are not counted: {error}"),
            (Ok(tokenizer), profile) => {
                let profile = profile.ok_or("the vectorizer is gone")?;
                for chunk in self.sides.iter_mut().flat_map(|side| &mut side.chunks) {
                    let tokens = profile.provider.count_tokens(&chunk.text, tokenizer);
                    chunk.tokens = Some(tokens);
                }
                String::new()
            }
        };
        Ok(self.report(&note))
    }

    fn report(&self, note: &str) -> Ask {
        let profile = self.profiles.first();
        let measure = profile.map_or("", |profile| profile.provider.token_measure());
        let key = self.key.as_ref().map(|key| key.0.clone());
        if self.args.json {
            let name = profile.map(|profile| &profile.name);
            let mut report = json!({"vectorizer": name, "key": key, "tokens": measure});
            for (side, name) in self.sides.iter().zip(["chunks", "compared"]) {
                report[name] = side.json();
            }
            return Ask::done(report.to_string());
        }
        let mut lines = vec![];
        if let Some(key) = key {
            lines.push(format!("row {}", key::text(&key)));
        }
        let now = self.args.name.as_str();
        match (self.sides.as_slice(), &self.args.compare) {
            ([left, right], Some(chunking)) => lines.extend(beside(left, right, now, chunking)),
            (sides, _) => lines.extend(sides.iter().flat_map(Side::lines)),
        }
        let totals = self.sides.iter().map(|side| side.total(measure));
        let totals = Vec::from_iter(totals);
        lines.push(format!("-- {}{note}", totals.join("; compared: ")));
        Ask::done(lines.join("\n"))
    }
}

impl Steps for Chunk {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        let answer = match (self.question.take(), answer) {
            (Some(asked), Answer::Reply(reply)) => return self.vectors_came(asked, reply),
            (_, answer) => answer,
        };
        let is_compared = self.args.compare.is_none() || self.profiles.len() > 1;
        match answer {
            Answer::Begin => Ok(named::ask()),
            Answer::Reply(Reply::Model(Ok(ModelAnswer::Tokenizer(tokenizer)))) => {
                self.tokenizer_came(Ok(tokenizer))
            }
            Answer::Reply(Reply::Model(Err(error))) => self.tokenizer_came(Err(error)),
            answer @ (Answer::Reply(_)
            | Answer::Read(_)
            | Answer::Rows(_)
            | Answer::Waited
            | Answer::Written(_)) => {
                let rows = answer.rows()?;
                match (self.profiles.is_empty(), is_compared) {
                    (true, _) => self.found(&rows),
                    (false, false) => self.compared(&rows),
                    (false, true) => self.row(&rows),
                }
            }
        }
    }
}
