//! `chunk`: shows how a vectorizer would chunk and format a row or a file, without asking a
//! provider. It is for tuning the chunking.

use std::sync::Arc;

use serde_json::json;

use super::table::grouped;
use super::{Answer, Ask, Steps, field, key, named};
use crate::call::{Call, Reply};
use crate::model::ModelAnswer;
use crate::provider::Tokens;
use crate::query::{Key, Param, Query, Rows};
use crate::rows::{Bounds, TextError};
use crate::settings::Settings;
use crate::vectorizer::Profile;

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
    file: Option<String>,
    key: Option<Key>,
    profile: Option<Arc<Profile>>,
    texts: Vec<Arc<str>>,
}

impl Chunk {
    pub(super) fn new(args: ChunkArgs, settings: Settings, file: Option<String>) -> Self {
        Self {
            args,
            settings: named::without_secrets(settings),
            file,
            key: None,
            profile: None,
            texts: vec![],
        }
    }

    fn begin(&mut self, rows: &Rows) -> Result<Ask, String> {
        let definition = named::find(rows, &self.args.name)?;
        let profile = Arc::new(Profile::new(&definition, &self.settings)?);
        self.profile = Some(Arc::clone(&profile));
        if let Some(file) = &self.file {
            let mut bounds = Bounds::new(file, self.settings.limits);
            let texts = profile.texts_of_no_row(file, &mut bounds);
            return self.show(&profile, texts);
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
            Some(text) => self.read(&profile, Key(key::parse(text, &columns)?)),
            None => Ask::query(profile.plan.sample.clone(), vec![Param::Int(1)]),
        })
    }

    fn row(&mut self, profile: &Profile, rows: &Rows) -> Result<Ask, String> {
        let Some(key) = &self.key else {
            let row = rows.first().ok_or("the source has no row with a text")?;
            let key = Key(row.iter().cloned().map(Option::unwrap_or_default).collect());
            return Ok(self.read(profile, key));
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
        let text = field(row, 2);
        let mut bounds = Bounds::new(text, self.settings.limits);
        let texts = profile.texts(text, columns, &mut bounds);
        self.show(profile, texts)
    }

    fn read(&mut self, profile: &Profile, key: Key) -> Ask {
        self.key = Some(key.clone());
        Ask::Query(Query::Read {
            plan: Arc::clone(&profile.plan),
            keys: vec![key],
            bytes_max: usize::MAX,
        })
    }

    fn show(
        &mut self,
        profile: &Profile,
        texts: Result<Vec<String>, TextError>,
    ) -> Result<Ask, String> {
        let texts = texts.map_err(|error| error.to_string())?;
        self.texts = texts.into_iter().map(Arc::from).collect();
        Ok(match profile.provider.tokens(&self.texts) {
            Tokens::Asked(request) => Ask::Call(Call::Model(request)),
            Tokens::Counted(counts) => Ask::done(self.report(profile, Some(&counts), "")),
        })
    }

    fn report(&self, profile: &Profile, tokens: Option<&[usize]>, note: &str) -> String {
        let characters = |text: &str| text.chars().count();
        let tokens_of = |at: usize| tokens.and_then(|tokens| tokens.get(at)).copied();
        let key = self.key.as_ref().map(|key| key.0.clone());
        if self.args.json {
            let chunks = self.texts.iter().enumerate().map(|(at, text)| {
                json!({"chunk_seq": at, "characters": characters(text), "tokens": tokens_of(at),
                    "chunk": **text})
            });
            return json!({"vectorizer": profile.name, "key": key,
                "tokens": profile.provider.token_measure(), "chunks": Vec::from_iter(chunks)})
            .to_string();
        }
        let mut lines = vec![];
        if let Some(key) = key {
            lines.push(format!("row {}", key::text(&key)));
        }
        for (at, text) in self.texts.iter().enumerate() {
            let tokens = tokens_of(at).map_or_else(String::new, |n| format!(", {n} tokens"));
            let characters = characters(text);
            lines.push(format!("-- chunk {at}: {characters} characters{tokens}"));
            lines.push(text.to_string());
        }
        let number = |number: usize| grouped(u64::try_from(number).unwrap_or(u64::MAX));
        let total = self.texts.iter().map(|text| characters(text)).sum();
        let mut last = format!(
            "-- {} chunks, {} characters",
            number(self.texts.len()),
            number(total)
        );
        if let Some(tokens) = tokens {
            let total = number(tokens.iter().sum());
            let measure = profile.provider.token_measure();
            last.push_str(&format!(", {total} tokens ({measure})"));
        }
        lines.push(last + note);
        lines.join("\n")
    }
}

impl Steps for Chunk {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        let profile = self.profile.clone();
        match (answer, profile) {
            (Answer::Begin, _) => Ok(named::ask()),
            (Answer::Reply(Reply::Model(Ok(ModelAnswer::TokenCounts(counts)))), Some(profile)) => {
                Ok(Ask::done(self.report(&profile, Some(&counts), "")))
            }
            // The chunks are worth showing without their tokens, too.
            (Answer::Reply(Reply::Model(Err(error))), Some(profile)) => {
                let note = format!("; tokens are not counted: {error}");
                Ok(Ask::done(self.report(&profile, None, &note)))
            }
            (answer, Some(profile)) => self.row(&profile, &answer.rows()?),
            (answer, None) => self.begin(&answer.rows()?),
        }
    }
}
