//! What happens, by chance: an application edits a few rows, and several claims work on them, each
//! from what it has been told, however long ago.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pgai_core::{ChunkHash, ClaimId, CommitChunk, CommitRow, FailedRow, Key, Plan, Query, Rows};
use sha2::{Digest, Sha256};

use super::Operation;
use crate::world::{Edit, Entropy};

/// Keys of rows, and names of claims, are below.
const KEYS: i64 = 6;
const CLAIMS: i64 = 4;

const LEASE: Duration = Duration::from_secs(3600);

/// How long a failed row waits: more than passes at once, less, and more than any backoff, which the
/// database must not believe.
const WAITS: [Duration; 3] = [
    Duration::from_secs(600),
    Duration::from_secs(300),
    Duration::from_secs(2 * 3600),
];

/// Everything runs out, or leases go on and waits end, or some of them. After any sum of these a lease
/// or a wait is over, or has 100 s left: the statements themselves take each database its own time.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(3 * 3600),
    Duration::from_secs(45 * 60),
    Duration::from_secs(100),
];

/// Numbers of what may happen.
const CLAIMS_AGAIN: u64 = 6;
const READS: u64 = 10;
const COMMITS: u64 = 12;
const FAILS: u64 = 16;

const WORDS: [&str; 3] = ["aa", "bb", "cc"];

/// A row's text, and the places and hashes of its stored chunks.
type Found = (Option<String>, BTreeMap<i32, String>);

/// Chooses what happens next.
#[derive(Debug)]
pub struct Script<'a> {
    entropy: Entropy<'a>,
    plan: Arc<Plan>,
    is_column: bool,
    /// Whether the application does little.
    is_quiet: bool,
    /// Whether workers often die.
    is_deadly: bool,
    /// Rows that are there to begin with.
    rows: i64,
    /// The generation in which each claim was given each key.
    work: BTreeMap<(i64, i64), i64>,
    /// How each row was read last, which may be long ago.
    found: BTreeMap<i64, Found>,
    /// A claim, and the number of what it would do next.
    sensible: Option<(i64, u64)>,
    marks: u64,
    /// Counts vectors, so that each is another.
    vectors: f32,
}

impl<'a> Script<'a> {
    /// The script that follows from the entropy.
    #[must_use]
    pub fn new(mut entropy: Entropy<'a>, plan: Arc<Plan>, is_column: bool) -> Self {
        Self {
            is_quiet: entropy.chance(3),
            is_deadly: entropy.chance(3),
            entropy,
            plan,
            is_column,
            rows: 0,
            work: BTreeMap::new(),
            found: BTreeMap::new(),
            sensible: None,
            marks: 0,
            vectors: 0.0,
        }
    }

    /// What happens next.
    pub fn next_operation(&mut self) -> Operation {
        if self.rows < KEYS / 2 {
            self.rows += 1;
            let (key, text) = (self.rows, self.text());
            return Operation::Edit(Edit::Put { key, text });
        }
        // Nobody gets far if everybody does anything: who has claimed reads, and then commits or
        // fails. But much may happen between.
        let sensible = self.sensible.filter(|_| self.entropy.chance(2));
        let anybody = 1 + self.entropy.signed(CLAIMS);
        let claim = sensible.map_or(anybody, |(claim, _)| claim);
        let number = sensible.map_or_else(|| self.entropy.number(20), |(_, number)| number);
        let operation = self.numbered(number, claim);
        match operation {
            Operation::Query(Query::Claim { claim, .. }) => {
                let lost = self.entropy.chance(6);
                self.sensible = Some((claim.0, if lost { CLAIMS_AGAIN } else { READS }));
            }
            Operation::Query(Query::Read { .. }) => {
                let end = if self.entropy.chance(4) {
                    FAILS
                } else {
                    COMMITS
                };
                self.sensible = Some((claim, end));
            }
            Operation::Edit(_) | Operation::Pass(_) | Operation::Query(_) => {
                self.sensible = self.sensible.filter(|_| sensible.is_none());
            }
        }
        operation
    }

    fn numbered(&mut self, number: u64, claim: i64) -> Operation {
        match number {
            0..=1 if self.is_deadly => Operation::Pass(PAUSES[0]),
            0..=5 if !self.is_quiet || self.entropy.chance(4) => Operation::Edit(self.edit()),
            0..=2 | CLAIMS_AGAIN..=7 => Operation::Query(self.claim(claim)),
            8..READS => Operation::Pass(PAUSES[self.entropy.index(3)]),
            READS..COMMITS => self.of_work(claim, Self::read),
            3..=5 | COMMITS..FAILS => self.of_work(claim, Self::commit),
            FAILS..=17 => self.of_work(claim, Self::fail),
            18 => self.of_work(claim, Self::release),
            _ if self.entropy.chance(4) => Operation::Query(Query::Waiting {
                plan: Arc::clone(&self.plan),
            }),
            _ => self.of_work(claim, Self::extend),
        }
    }

    /// Learns from the answer.
    ///
    /// # Panics
    /// If it is not what such a query brings.
    pub fn learn(&mut self, operation: &Operation, answer: &Rows) {
        let number = |text: &Option<String>| -> i64 {
            let text = text.as_deref().expect("a number");
            text.parse().expect("a number")
        };
        match operation {
            Operation::Query(Query::Claim { claim, .. }) => {
                for row in answer {
                    let (key, generation) = (number(&row[0]), number(&row[1]));
                    self.work.insert((claim.0, key), generation);
                    self.marks += 1;
                }
            }
            Operation::Query(Query::Read { keys, .. }) => {
                for row in answer {
                    let place = usize::try_from(number(&row[0]) - 1).expect("a place");
                    let key: i64 = keys[place].0[0].parse().expect("a key");
                    let stored: BTreeMap<_, _> = row[3]
                        .iter()
                        .flat_map(|text| text.split(','))
                        .filter_map(|entry| entry.split_once(':'))
                        .map(|(at, hash)| (at.parse().expect("a place"), hash.to_owned()))
                        .collect();
                    self.found.insert(key, (row[2].clone(), stored));
                }
            }
            Operation::Edit(_) | Operation::Pass(_) | Operation::Query(_) => {}
        }
    }

    fn key(&mut self) -> i64 {
        1 + self.entropy.signed(KEYS)
    }

    fn text(&mut self) -> String {
        let count = self.entropy.index(4);
        let words: Vec<_> = (0..count)
            .map(|_| WORDS[self.entropy.index(WORDS.len())])
            .collect();
        words.join(" ")
    }

    fn edit(&mut self) -> Edit {
        let (key, text) = (self.key(), self.text());
        match self.entropy.number(10) {
            0 | 1 => Edit::Delete { key },
            2 => Edit::DeleteAndInsert { key, text },
            3 => Edit::ChangeKey {
                from: key,
                to: self.key(),
            },
            4 if !self.is_column => Edit::Damage {
                nth: self.entropy.index(8),
            },
            _ => Edit::Put { key, text },
        }
    }

    fn claim(&mut self, claim: i64) -> Query {
        let since = (self.marks > 0 && self.entropy.chance(4))
            .then(|| self.entropy.number(self.marks).to_string());
        Query::Claim {
            plan: Arc::clone(&self.plan),
            claim: ClaimId(claim),
            lease: LEASE,
            since,
            promise: self.entropy.chance(2).then_some(Duration::from_secs(1)),
            suspects: !self.entropy.chance(3),
        }
    }

    /// A statement about rows that this claim was given or, now and then, another. They are often
    /// forgotten then, as a worker does. A claim without rows leaves this to one with some; where there
    /// is none, it claims.
    fn of_work(
        &mut self,
        claim: i64,
        statement: fn(&mut Self, i64, Vec<(i64, i64)>) -> Query,
    ) -> Operation {
        let anybody = self.entropy.chance(8);
        let has_work = self.work.keys().any(|(of, _)| *of == claim);
        let at = self.entropy.index(self.work.len());
        let other = self.work.keys().nth(at).filter(|_| !has_work);
        let claim = other.map_or(claim, |(of, _)| *of);
        let mut chosen = BTreeMap::new();
        for ((of, key), generation) in &self.work {
            if (*of == claim || anybody) && !self.entropy.chance(4) {
                chosen.insert(*key, *generation);
            }
        }
        if chosen.is_empty() {
            return Operation::Query(self.claim(claim));
        }
        let query = statement(self, claim, chosen.into_iter().collect());
        let ends = matches!(
            query,
            Query::Commit { .. } | Query::Fail { .. } | Query::Release { .. }
        );
        if ends && !self.entropy.chance(4) {
            self.work.retain(|(of, _), _| *of != claim);
        }
        Operation::Query(query)
    }

    fn read(&mut self, _: i64, work: Vec<(i64, i64)>) -> Query {
        Query::Read {
            plan: Arc::clone(&self.plan),
            keys: keys(&work),
            bytes_max: 1 + self.entropy.index(24),
        }
    }

    fn commit(&mut self, claim: i64, work: Vec<(i64, i64)>) -> Query {
        let rows = work.into_iter().map(|(key, generation)| CommitRow {
            key: key_of(key),
            generation,
            chunks: self.chunks(key),
            document: None,
        });
        Query::Commit {
            claim: ClaimId(claim),
            rows: rows.collect(),
            plan: Arc::clone(&self.plan),
        }
    }

    /// A key, or now and then any other.
    fn or_another(&mut self, key: i64) -> i64 {
        let another = self.key();
        if self.entropy.chance(8) { another } else { key }
    }

    /// What a row's chunks should be, as far as it is known. Now and then it is another row's text, or
    /// what is stored is not what was read.
    fn chunks(&mut self, key: i64) -> Vec<CommitChunk> {
        let of = self.or_another(key);
        let Some((Some(text), _)) = self.found.get(&of).cloned() else {
            return vec![];
        };
        let of = self.or_another(key);
        let stored = self.found.get(&of).cloned().unwrap_or_default().1;
        if self.is_column {
            let chunk = (!text.is_empty()).then(|| self.chunk(&text));
            return chunk.into_iter().collect();
        }
        let mut chunks = vec![];
        for (word, place) in text.split_whitespace().zip(0_i32..) {
            let hash = hash(word);
            let same = |at: &&i32| stored[*at] == hash;
            chunks.push(match stored.keys().find(same) {
                _ if stored.get(&place) == Some(&hash) => CommitChunk::Keep(ChunkHash(hash)),
                Some(from) => CommitChunk::Move {
                    text: word.into(),
                    location: None,
                    from: *from,
                    hash: ChunkHash(hash),
                },
                None => self.chunk(word),
            });
        }
        chunks
    }

    fn chunk(&mut self, text: &str) -> CommitChunk {
        self.vectors += 1.0;
        CommitChunk::Write {
            text: text.into(),
            location: None,
            vector: [self.vectors, 0.5].into(),
        }
    }

    fn fail(&mut self, claim: i64, work: Vec<(i64, i64)>) -> Query {
        let rows = work.into_iter().map(|(key, generation)| FailedRow {
            key: key_of(key),
            generation,
            retry_after: WAITS.get(self.entropy.index(4)).copied(),
            step: "embedding",
            reason: format!("reason {}", self.entropy.number(100)),
            message: "a failure",
            details: "{}".to_owned(),
        });
        Query::Fail {
            claim: ClaimId(claim),
            rows: rows.collect(),
            plan: Arc::clone(&self.plan),
            clears: self.entropy.chance(2),
        }
    }

    fn release(&mut self, claim: i64, work: Vec<(i64, i64)>) -> Query {
        Query::Release {
            plan: Arc::clone(&self.plan),
            claim: ClaimId(claim),
            keys: keys(&work),
        }
    }

    fn extend(&mut self, claim: i64, work: Vec<(i64, i64)>) -> Query {
        Query::Extend {
            plan: Arc::clone(&self.plan),
            claim: ClaimId(claim),
            keys: keys(&work),
            lease: LEASE,
        }
    }
}

fn key_of(key: i64) -> Key {
    Key(vec![key.to_string()])
}

fn keys(work: &[(i64, i64)]) -> Vec<Key> {
    work.iter().map(|(key, _)| key_of(*key)).collect()
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
