//! The parameters of statements.

use std::time::Duration;

use super::{ClaimId, CommitChunk, CommitRow, FailedRow, Heartbeat, Key, Query, UsageAddition};
use crate::sql::{Plan, VectorTypes};

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// A `bigint`.
    Int(i64),
    /// A `bigint[]` whose elements may be null.
    Ints(Vec<Option<i64>>),
    /// A `text`.
    Text(Option<String>),
    /// A `text[]`.
    Texts(Vec<Option<String>>),
    /// A value in PostgreSQL's own binary format.
    Binary(Binary),
}

/// A value in PostgreSQL's binary format.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Binary {
    /// The oid of its type.
    pub type_oid: u32,
    /// The bytes on the wire, without the length in front.
    pub bytes: Vec<u8>,
}

impl Binary {
    /// An array of the extension's type `vector`, whose elements may be null. (`array_recv` of
    /// PostgreSQL, `vector_recv` of pgvector. With one `real[]` for all of them the server takes seven
    /// times as long to read it, and fifteen times as long to split it into vectors.)
    fn vectors(types: VectorTypes, dimensions: usize, vectors: &[Option<&[f32]>]) -> Self {
        let int = |n: usize| i32::try_from(n).unwrap_or(i32::MAX).to_be_bytes();
        let size = 4 + 4 * dimensions;
        let mut bytes = Vec::with_capacity(20 + (4 + size) * vectors.iter().flatten().count());
        // One dimension, or none if it is empty; whether there are nulls.
        bytes.extend(int(usize::from(!vectors.is_empty())));
        bytes.extend(int(usize::from(vectors.contains(&None))));
        bytes.extend(types.vector.to_be_bytes());
        if !vectors.is_empty() {
            // It counts from 1.
            bytes.extend(int(vectors.len()));
            bytes.extend(int(1));
        }
        for vector in vectors {
            let Some(vector) = vector else {
                bytes.extend((-1_i32).to_be_bytes());
                continue;
            };
            bytes.extend(int(4 + 4 * vector.len()));
            bytes.extend(
                u16::try_from(vector.len())
                    .unwrap_or(u16::MAX)
                    .to_be_bytes(),
            );
            bytes.extend([0, 0]);
            for number in *vector {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        Self {
            type_oid: types.array,
            bytes,
        }
    }
}

impl Query {
    /// The statement's parameters, in order.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one arm for each query")]
    pub fn params(&self) -> Vec<Param> {
        match self {
            Self::AcceptTexts {
                vectorizer,
                digests,
            } => vec![
                Param::Int(*vectorizer),
                Param::Text(Some(digests.vectors.clone())),
                Param::Text(Some(digests.texts.clone())),
            ],
            Self::AddUsage(addition) => usage_params(addition),
            Self::Bell { promise, .. } => vec![millis(*promise)],
            Self::Change { generation } => vec![Param::Int(*generation)],
            Self::CheckSchema | Self::Refresh { .. } | Self::Waiting { .. } => vec![],
            Self::Claim {
                claim,
                lease,
                since,
                promise,
                suspects,
                ..
            } => vec![
                Param::Int(claim.0),
                millis(*lease),
                Param::Text(since.clone()),
                Param::Int(promise.map_or(0, millis_of)),
                Param::Int(i64::from(*suspects)),
            ],
            Self::Command { params, .. } => params.clone(),
            Self::Commit { plan, claim, rows } => commit_params(plan, *claim, rows),
            Self::Extend {
                plan,
                claim,
                keys,
                lease,
            } => {
                let mut params = vec![Param::Int(claim.0), millis(*lease)];
                params.extend(key_params(plan, keys.iter()));
                params
            }
            Self::Fail {
                plan, claim, rows, ..
            } => fail_params(plan, *claim, rows),
            Self::Heartbeat(heartbeat) => heartbeat_params(heartbeat),
            Self::Index(query) => query.params(),
            Self::LoadVectorizers { ids } => {
                vec![Param::Ints(ids.iter().copied().map(Some).collect())]
            }
            Self::Read {
                plan,
                keys,
                bytes_max,
            } => {
                let bytes_max = i64::try_from(*bytes_max).unwrap_or(i64::MAX);
                let mut params = vec![Param::Int(bytes_max)];
                params.extend(key_params(plan, keys.iter()));
                params
            }
            Self::RecordErrors(errors) => vec![
                Param::Ints(errors.iter().map(|error| Some(error.vectorizer)).collect()),
                Param::Texts(
                    errors
                        .iter()
                        .map(|error| Some(error.message.to_owned()))
                        .collect(),
                ),
                Param::Texts(
                    errors
                        .iter()
                        .map(|error| Some(error.details.clone()))
                        .collect(),
                ),
            ],
            Self::Release { plan, claim, keys } => {
                let mut params = vec![Param::Int(claim.0)];
                params.extend(key_params(plan, keys.iter()));
                params
            }
            Self::Resync(query) => query.params(),
            Self::StartWorker { version, interval } => {
                vec![Param::Text(Some(version.clone())), millis(*interval)]
            }
            Self::TakeBudget {
                scope,
                vectorizer,
                day,
                ceiling,
                wanted,
            } => vec![
                Param::Text(Some(scope.clone())),
                Param::Int(vectorizer.unwrap_or(0)),
                Param::Int(whole(*day)),
                Param::Int(whole(*ceiling)),
                Param::Int(*wanted),
            ],
        }
    }
}

fn millis_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn millis(duration: Duration) -> Param {
    Param::Int(millis_of(duration))
}

/// One `text[]` for each key column.
pub(crate) fn key_params<'a>(
    plan: &Plan,
    keys: impl Iterator<Item = &'a Key> + Clone,
) -> Vec<Param> {
    (0..plan.key_columns)
        .map(|column| Param::Texts(keys.clone().map(|key| key.0.get(column).cloned()).collect()))
        .collect()
}

fn commit_params(plan: &Plan, claim: ClaimId, rows: &[CommitRow]) -> Vec<Param> {
    let mut params = vec![Param::Int(claim.0)];
    params.extend(key_params(plan, rows.iter().map(|row| &row.key)));
    let count = |row: &CommitRow| i64::try_from(row.chunks.len()).ok();
    params.push(Param::Ints(
        rows.iter().map(|row| Some(row.generation)).collect(),
    ));
    params.push(Param::Ints(rows.iter().map(count).collect()));

    let (mut row_numbers, mut places, mut texts) = (vec![], vec![], vec![]);
    let (mut origins, mut hashes, mut locations) = (vec![], vec![], vec![]);
    let mut vectors: Vec<Option<&[f32]>> = vec![];
    for (row, number) in rows.iter().zip(1_i64..) {
        for (chunk, place) in row.chunks.iter().zip(0_i64..) {
            let (written, origin, hash, vector) = match chunk {
                CommitChunk::Keep(hash) => (None, Some(place), Some(hash), None),
                CommitChunk::Move {
                    text,
                    location,
                    from,
                    hash,
                } => (
                    Some((text, location)),
                    Some(i64::from(*from)),
                    Some(hash),
                    None,
                ),
                CommitChunk::Write {
                    text,
                    location,
                    vector,
                } => (Some((text, location)), None, None, Some(vector)),
            };
            let (text, location) = written.unzip();
            row_numbers.push(Some(number));
            places.push(Some(place));
            texts.push(text.map(|text| text.to_string()));
            locations.push(location.and_then(Option::as_deref).map(str::to_owned));
            origins.push(origin);
            hashes.push(hash.map(|hash| hash.0.clone()));
            vectors.push(vector.map(|vector| &**vector));
        }
    }
    params.extend([
        Param::Ints(row_numbers),
        Param::Ints(places),
        Param::Texts(texts),
        Param::Ints(origins),
        Param::Texts(hashes),
        Param::Binary(Binary::vectors(
            plan.vector_types,
            plan.dimensions,
            &vectors,
        )),
    ]);
    if plan.has_location {
        params.push(Param::Texts(locations));
    }
    if plan.refresh.is_some() {
        let documents = || rows.iter().map(|row| row.document.as_ref());
        let sources = documents().map(|document| Some(document?.source.clone()));
        let validators = documents().map(|document| document?.validator.clone());
        params.push(Param::Texts(sources.collect()));
        params.push(Param::Texts(validators.collect()));
    }
    params
}

fn fail_params(plan: &Plan, claim: ClaimId, rows: &[FailedRow]) -> Vec<Param> {
    let mut params = vec![Param::Int(claim.0)];
    params.extend(key_params(plan, rows.iter().map(|row| &row.key)));
    let text =
        |of: fn(&FailedRow) -> String| Param::Texts(rows.iter().map(|row| Some(of(row))).collect());
    params.extend([
        Param::Ints(rows.iter().map(|row| Some(row.generation)).collect()),
        Param::Ints(
            rows.iter()
                .map(|row| row.retry_after.map(millis_of))
                .collect(),
        ),
        text(|row| row.step.to_owned()),
        text(|row| row.reason.clone()),
        text(|row| row.message.to_owned()),
        text(|row| row.details.clone()),
    ]);
    params
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn usage_params(addition: &UsageAddition) -> Vec<Param> {
    let entries = || addition.entries.iter();
    let texts = entries().map(|entry| Some(entry.model.clone()));
    vec![
        Param::Int(addition.number),
        Param::Ints(entries().map(|entry| Some(entry.vectorizer)).collect()),
        Param::Texts(texts.collect()),
        Param::Ints(entries().map(|entry| Some(whole(entry.day))).collect()),
        Param::Ints(entries().map(|entry| Some(whole(entry.requests))).collect()),
        Param::Ints(entries().map(|entry| Some(whole(entry.tokens))).collect()),
        Param::Ints(
            entries()
                .map(|entry| Some(whole(entry.estimated)))
                .collect(),
        ),
    ]
}

fn heartbeat_params(heartbeat: &Heartbeat) -> Vec<Param> {
    let progress = &heartbeat.progress;
    vec![
        Param::Text(Some(heartbeat.worker.clone())),
        Param::Int(heartbeat.successes),
        Param::Int(heartbeat.errors),
        Param::Text(heartbeat.error_message.clone()),
        Param::Ints(
            progress
                .iter()
                .map(|entry| Some(entry.vectorizer))
                .collect(),
        ),
        Param::Ints(progress.iter().map(|entry| Some(entry.successes)).collect()),
        Param::Texts(
            progress
                .iter()
                .map(|entry| entry.error_message.clone())
                .collect(),
        ),
    ]
}
