//! `/metrics`, in Prometheus' text format. docs/monitoring.md describes each metric.

use pgai_core::{
    AccountSnapshot, DocumentCounts, Histogram as Latency, Snapshot, VectorizerSnapshot,
};
use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use serde_json::Value;

use super::state::Health;
use crate::parsing::ended_processes;

/// All metrics. `status` is what the database says, if it can be asked.
///
/// # Errors
/// If the library refuses a metric, which is a fault of this file.
pub(super) fn text(health: &Health, status: Result<&Value, &str>) -> Result<String, String> {
    let mut families = Families::default();
    families.gauge(
        "pgai_worker_silent_seconds",
        "Since when the worker's loop has not answered; 0 if it answers.",
        [(vec![], health.silent_for.as_secs_f64())],
    );
    if let Some(snapshot) = &health.snapshot {
        all_of(&mut families, snapshot);
    }
    database(&mut families, status);
    TextEncoder::new()
        .encode_to_string(&families.0)
        .map_err(|error| error.to_string())
}

/// The same as data, for a worker whose loop answers. `status` is the output of `status --json`.
#[cfg(feature = "otel")]
pub(crate) fn families(snapshot: &Snapshot, status: Result<String, String>) -> Vec<MetricFamily> {
    let mut families = Families::default();
    all_of(&mut families, snapshot);
    let status = status
        .and_then(|text| serde_json::from_str::<Value>(&text).map_err(|error| error.to_string()));
    database(&mut families, status.as_ref().map_err(String::as_str));
    families.0
}

/// What the worker knows.
fn all_of(families: &mut Families, snapshot: &Snapshot) {
    worker(families, snapshot);
    work(families, snapshot);
    documents(families, snapshot);
    accounts(families, &snapshot.accounts);
}

/// The worker's process.
fn worker(families: &mut Families, snapshot: &Snapshot) {
    families.gauge(
        "pgai_build_info",
        "1, with the version of the worker.",
        [(labels(&[("version", &snapshot.version)]), 1.0)],
    );
    families.gauge(
        "pgai_worker_uptime_seconds",
        "Since the start of the worker.",
        [(vec![], snapshot.uptime)],
    );
    families.gauge(
        "pgai_worker_ready",
        "Whether the worker works: the same as /readyz.",
        [(vec![], f64::from(u8::from(snapshot.is_ready)))],
    );
    families.gauge(
        "pgai_statements_in_flight",
        "Statements that the database has not answered yet.",
        [(vec![], number(snapshot.statements as u64))],
    );
    let errors = snapshot.database_errors.iter();
    families.counter(
        "pgai_database_errors_total",
        "Statements that failed. Kind: again (a lock, a cancelled statement), data, outage, schema.",
        errors.map(|(kind, count)| (labels(&[("kind", kind)]), number(*count))),
    );
}

/// What was done for each vectorizer.
fn work(families: &mut Families, snapshot: &Snapshot) {
    type Read = fn(&VectorizerSnapshot) -> f64;
    let counters: [(&str, &str, Read); 7] = [
        (
            "pgai_rows_total",
            "Rows brought in sync by this worker.",
            |one| number(one.counts.rows),
        ),
        (
            "pgai_rows_failed_total",
            "Rows that went to the failed table.",
            |one| number(one.counts.failed),
        ),
        (
            "pgai_rows_retried_total",
            "Attempts that failed and are made again.",
            |one| number(one.counts.retried),
        ),
        (
            "pgai_chunks_embedded_total",
            "Chunks whose vectors came from the provider.",
            |one| number(one.counts.chunks_embedded),
        ),
        (
            "pgai_chunks_reused_total",
            "Chunks that kept their vectors.",
            |one| number(one.counts.chunks_reused),
        ),
        (
            "pgai_tokens_total",
            "Tokens, as the provider counted them or estimated.",
            |one| number(one.counts.tokens),
        ),
        (
            "pgai_cost_dollars_total",
            "What the tokens cost in US dollars, where the price of the model is known.",
            |one| one.counts.dollars,
        ),
    ];
    let ours = || {
        let vectorizers = snapshot.vectorizers.iter();
        vectorizers.map(|one| (labels(&[("vectorizer", &one.name)]), one))
    };
    for (name, help, read) in counters {
        families.counter(name, help, ours().map(|(labels, one)| (labels, read(one))));
    }
    families.gauge(
        "pgai_batches_in_flight",
        "Batches of rows that this worker has claimed.",
        ours().map(|(labels, one)| (labels, number(one.batches as u64))),
    );
    families.gauge(
        "pgai_vectorizer_runs",
        "Whether this worker can run the vectorizer: 0 if something is wrong with it.",
        ours().map(|(labels, one)| (labels, f64::from(u8::from(one.reason.is_none())))),
    );
}

/// The documents of each vectorizer that has some.
fn documents(families: &mut Families, snapshot: &Snapshot) {
    let ours: Vec<_> = snapshot
        .vectorizers
        .iter()
        .filter_map(|one| Some((one.name.as_str(), one.documents?)))
        .collect();
    if ours.is_empty() {
        return;
    }
    type Read = fn(&DocumentCounts) -> f64;
    type Kind = (&'static str, &'static str, Read);
    let mut counter = |name, help, kinds: &[Kind]| {
        let all = ours.iter().flat_map(|(vectorizer, counts)| {
            kinds.iter().map(move |(label, value, read)| {
                let mut pairs = vec![("vectorizer", *vectorizer)];
                if !label.is_empty() {
                    pairs.push((label, value));
                }
                (labels(&pairs), read(counts))
            })
        });
        families.counter(name, help, all);
    };
    counter(
        "pgai_documents_loaded_total",
        "Documents at addresses, by outcome: loaded, unchanged, failed.",
        &[
            ("outcome", "loaded", |counts| number(counts.loaded)),
            ("outcome", "unchanged", |counts| number(counts.unchanged)),
            ("outcome", "failed", |counts| number(counts.not_loaded)),
        ],
    );
    counter(
        "pgai_document_bytes_total",
        "The bytes of the documents that were loaded.",
        &[("", "", |counts| number(counts.bytes))],
    );
    counter(
        "pgai_documents_parsed_total",
        "Documents by what became of them: parsed, failed.",
        &[
            ("outcome", "parsed", |counts| number(counts.parsed)),
            ("outcome", "failed", |counts| number(counts.not_parsed)),
        ],
    );
    counter(
        "pgai_document_seconds_total",
        "How long documents took, by step: load (requests and files), parse.",
        &[
            ("step", "load", |counts| counts.loading_seconds),
            ("step", "parse", |counts| counts.parsing_seconds),
        ],
    );
    families.counter(
        "pgai_parser_processes_ended_total",
        "Processes for parsing that have ended: after a crash, at a limit, or because they had parsed enough.",
        [(vec![], number(ended_processes()))],
    );
}

/// The requests to each account.
fn accounts(families: &mut Families, accounts: &[AccountSnapshot]) {
    let named = || {
        accounts.iter().map(|account| {
            let key = account.key.as_deref().unwrap_or_default();
            let pairs = [
                ("provider", account.provider.as_str()),
                ("base_url", account.base_url.as_str()),
                ("key", key),
            ];
            (pairs, account)
        })
    };
    families.counter(
        "pgai_requests_total",
        "Requests to the provider, by outcome.",
        named().flat_map(|(pairs, account)| {
            let outcomes = account.outcomes.iter();
            outcomes.map(move |(outcome, count)| {
                let mut all = pairs.to_vec();
                all.push(("outcome", outcome));
                (labels(&all), number(*count))
            })
        }),
    );
    families.histograms(
        "pgai_request_duration_seconds",
        "How long requests took that were answered with vectors.",
        named().map(|(pairs, account)| (labels(&pairs), account.latency)),
    );
    families.gauge(
        "pgai_requests_in_flight",
        "Requests that are not answered yet.",
        named().map(|(pairs, account)| (labels(&pairs), number(account.in_flight as u64))),
    );
    families.gauge(
        "pgai_requests_in_flight_max",
        "How many requests may be in flight: it adapts to what they bring.",
        named().map(|(pairs, account)| (labels(&pairs), number(account.in_flight_max as u64))),
    );
    families.gauge(
        "pgai_provider_opens_in_seconds",
        "Until the provider is asked again: 0 if it may be asked now.",
        named().map(|(pairs, account)| (labels(&pairs), account.opens_in)),
    );
}

/// What the database knows, for all workers together.
fn database(families: &mut Families, status: Result<&Value, &str>) {
    families.gauge(
        "pgai_database_up",
        "Whether the database answered the question behind the next metrics.",
        [(vec![], f64::from(u8::from(status.is_ok())))],
    );
    let Ok(status) = status else {
        return;
    };
    let workers = status["workers"].as_f64();
    families.gauge(
        "pgai_workers_alive",
        "Workers that have sent a heartbeat in time.",
        workers.map(|workers| (vec![], workers)),
    );
    let dollars = status["today"]["cost"].as_f64();
    families.gauge(
        "pgai_cost_dollars_today",
        "What all workers have spent since midnight (in UTC), in US dollars.",
        dollars.map(|dollars| (vec![], dollars)),
    );
    let none = vec![];
    let vectorizers = status["vectorizers"].as_array().unwrap_or(&none);
    for (name, key, help) in [
        (
            "pgai_queue_rows",
            "pending",
            "Rows that wait, those in work included.",
        ),
        (
            "pgai_queue_oldest_seconds",
            "oldest_seconds",
            "Since when the oldest of them waits.",
        ),
        (
            "pgai_leased_rows",
            "leased",
            "Rows that a worker has claimed.",
        ),
        (
            "pgai_retrying_rows",
            "retrying",
            "Rows that failed at least once and are tried again.",
        ),
        (
            "pgai_failed_rows",
            "failed",
            "Rows that need somebody: worker errors, worker retry.",
        ),
    ] {
        families.gauge(
            name,
            help,
            vectorizers.iter().filter_map(|one| {
                // Nothing waits: the oldest is of no age.
                let is_empty = key == "oldest_seconds" && one["pending"] == 0;
                let value = one[key].as_f64().or_else(|| is_empty.then_some(0.0))?;
                let name = one["name"].as_str().unwrap_or_default();
                Some((labels(&[("vectorizer", name)]), value))
            }),
        );
    }
    families.gauge(
        "pgai_vectorizer_state",
        "1 for the state that the vectorizer is in, as worker status names it.",
        vectorizers.iter().filter_map(|one| {
            let name = one["name"].as_str().unwrap_or_default();
            let state = one["state"].as_str()?;
            Some((labels(&[("vectorizer", name), ("state", state)]), 1.0))
        }),
    );
}

#[derive(Debug, Default)]
struct Families(Vec<MetricFamily>);

impl Families {
    fn counter(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Vec<LabelPair>, f64)>,
    ) {
        let metric = |(labels, value)| {
            let mut counter = Counter::default();
            counter.set_value(value);
            let mut metric = Metric::from_label(labels);
            metric.set_counter(counter);
            metric
        };
        self.add(
            name,
            help,
            MetricType::COUNTER,
            values.into_iter().map(metric),
        );
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Vec<LabelPair>, f64)>,
    ) {
        let metric = |(labels, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = Metric::from_label(labels);
            metric.set_gauge(gauge);
            metric
        };
        self.add(
            name,
            help,
            MetricType::GAUGE,
            values.into_iter().map(metric),
        );
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Vec<LabelPair>, Latency)>,
    ) {
        let metric = |(labels, latency): (_, Latency)| {
            let mut count = 0;
            let counts = Latency::BOUNDS.iter().zip(latency.counts);
            let buckets = counts.map(|(bound, more)| {
                count += more;
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(count);
                bucket
            });
            let mut histogram = Histogram::default();
            histogram.set_bucket(buckets.collect());
            histogram.set_sample_count(latency.counts.iter().sum());
            histogram.set_sample_sum(latency.sum);
            let mut metric = Metric::from_label(labels);
            metric.set_histogram(histogram);
            metric
        };
        self.add(
            name,
            help,
            MetricType::HISTOGRAM,
            values.into_iter().map(metric),
        );
    }

    fn add(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        metrics: impl Iterator<Item = Metric>,
    ) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics.collect());
        // A family without metrics says nothing, and the library refuses it.
        if !family.get_metric().is_empty() {
            self.0.push(family);
        }
    }
}

fn labels(pairs: &[(&str, &str)]) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    pairs.iter().map(pair).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has floats only, exact up to 2^53"
)]
const fn number(count: u64) -> f64 {
    count as f64
}
