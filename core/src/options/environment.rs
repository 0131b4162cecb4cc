//! The environment: options that it sets, and variables that mean nothing.

use std::collections::BTreeMap;

use clap::{ArgMatches, Command};

use super::Usage;
use crate::nearest::nearest;
use crate::settings::AwsSource;

/// Options, and what their variables are called after [`PREFIX`].
const OPTIONS: [(&str, &str); 26] = [
    ("db_url", "DB_URL"),
    ("vectorizer_ids", "VECTORIZER_IDS"),
    ("poll_interval", "POLL_INTERVAL"),
    ("once", "ONCE"),
    ("concurrency", "CONCURRENCY"),
    ("exit_on_error", "EXIT_ON_ERROR"),
    ("http", "HTTP"),
    ("http_actions", "HTTP_ACTIONS"),
    ("lease", "LEASE"),
    ("listen_url", "LISTEN_URL"),
    ("secret_names", "SECRET_NAMES"),
    ("allow_host", "ALLOW_HOST"),
    ("models_dir", "MODELS_DIR"),
    ("documents_dir", "DOCUMENTS_DIR"),
    ("allow_uri", "ALLOW_URI"),
    ("max_document_size", "MAX_DOCUMENT_SIZE"),
    ("owner", "OWNER"),
    ("require_trust", "REQUIRE_TRUST"),
    ("max_requests_per_minute", "MAX_REQUESTS_PER_MINUTE"),
    ("max_row_bytes", "MAX_ROW_BYTES"),
    ("max_spend_per_day", "MAX_SPEND_PER_DAY"),
    ("max_tokens_per_minute", "MAX_TOKENS_PER_MINUTE"),
    ("pooler", "POOLER"),
    ("prices", "PRICES"),
    ("log_level", "LOG_LEVEL"),
    ("log_format", "LOG_FORMAT"),
];

/// What the names of the variables of options begin with.
const PREFIX: &str = "PGAI_VECTORIZER_WORKER_";
/// What the names of all our variables begin with.
const OURS: &str = "PGAI_";
/// Variables of ours that are no options.
const OTHERS: [&str; 8] = [
    "PGAI_HTTP",
    "PGAI_HTTP_TOKEN",
    "PGAI_HTTP_TOKEN_FILE",
    "PGAI_MODELS_DIR",
    "PGAI_NO_ENV_FILE",
    "PGAI_SERVE_TOKENS",
    "PGAI_SERVE_TOKENS_FILE",
    // Of Python pgai; it is ignored.
    "PGAI_VECTORIZER_OLLAMA_MAX_CHUNKS_PER_BATCH",
];
/// What the names of the variables of this project's tests begin with.
const OF_TESTS: &str = "PGAI_TEST_";

/// The variable that sets an option; of several, the shortest.
pub(super) fn variable(option: &str) -> Option<String> {
    let (_, name) = OPTIONS.iter().find(|(known, _)| *known == option)?;
    Some(match option {
        "db_url" => (*name).to_owned(),
        "http" | "models_dir" => format!("{OURS}{name}"),
        _ => format!("{PREFIX}{name}"),
    })
}

/// An option that a variable sets.
struct Set {
    option: &'static str,
    variable: String,
    value: String,
}

/// Parses a command line; an option that is not on it is read from the environment.
pub(super) fn parse(
    command: &Command,
    arguments: Vec<String>,
    environment: &BTreeMap<String, String>,
) -> Result<ArgMatches, Usage> {
    let all = set(environment);
    let program = arguments.first().cloned().unwrap_or_default();
    let with = |set: &[&Set], arguments: Vec<String>| {
        let mut command = command.clone();
        for set in set {
            let value = set.value.clone();
            command = command.mut_arg(set.option, |argument| argument.default_value(value));
        }
        command.try_get_matches_from(arguments)
    };
    with(&all.iter().collect::<Vec<_>>(), arguments).map_err(|error| {
        let usage = Usage::from(error);
        // If the value of a variable is to blame, it is wrong without a command line, too.
        let blamed = all.iter().find(|set| {
            let alone = with(&[set], vec![program.clone()]).map_err(Usage::from);
            usage.code != 0 && alone.is_err_and(|alone| alone.text == usage.text)
        });
        match blamed {
            Some(set) => Usage {
                text: format!(
                    "in the environment variable {}: {}",
                    set.variable, usage.text
                ),
                ..usage
            },
            None => usage,
        }
    })
}

/// The options that the environment sets.
fn set(environment: &BTreeMap<String, String>) -> Vec<Set> {
    let value = |name: &str| {
        let value = environment.get(name)?;
        (!value.trim().is_empty()).then(|| (name.to_owned(), value.clone()))
    };
    OPTIONS
        .into_iter()
        .filter_map(|(option, name)| {
            let long = || value(&format!("{PREFIX}{name}"));
            let (variable, value) = match option {
                "db_url" => value("DB_URL").or_else(long),
                "http" => value("PGAI_HTTP").or_else(long),
                "models_dir" => value("PGAI_MODELS_DIR").or_else(long),
                "log_level" => long().or_else(|| rust_log(value("RUST_LOG")?)),
                _ => long(),
            }?;
            let value = match option {
                "exit_on_error" | "http_actions" | "once" | "pooler" | "require_trust" => {
                    truth(&value)
                }
                _ => value,
            };
            Some(Set {
                option,
                variable,
                value,
            })
        })
        .collect()
}

/// The level in the variable `RUST_LOG`: that for all modules, or else the first one. `None` if it
/// names none.
fn rust_log((name, value): (String, String)) -> Option<(String, String)> {
    let parts = value.split(',').map(str::trim);
    let all = parts.clone().find(|part| !part.contains('='));
    let one = parts.filter_map(|part| part.split_once('=')).next();
    let level = all.or_else(|| one.map(|(_, level)| level))?;
    let level = match level.to_ascii_lowercase().as_str() {
        "trace" | "debug" => "debug",
        "info" => "info",
        "warn" => "warning",
        "error" | "off" => "error",
        _ => return None,
    };
    Some((name, level.to_owned()))
}

/// The variables whose values the operator has put elsewhere: in a profile file, or a role has them.
pub(super) fn of_aws(value: impl Fn(&str) -> Option<String>) -> impl Iterator<Item = String> {
    let is_set = |name| value(name).is_some();
    let is_elsewhere = is_set("AWS_PROFILE")
        || is_set("AWS_SHARED_CREDENTIALS_FILE")
        || AwsSource::of(&value).is_some();
    let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let names = names.into_iter().map(str::to_owned);
    names.filter(move |_| is_elsewhere)
}

/// How many keys, separated by commas, a value contains. JSON, such as a service account's, is one.
pub(super) fn keys_in(value: &str) -> usize {
    if value.contains('{') {
        return 1;
    }
    let keys = value.split(',').filter(|key| !key.trim().is_empty());
    keys.count()
}

/// A line about each variable whose name begins like ours and is none of ours, nor may be a secret.
pub(super) fn advice(environment: &BTreeMap<String, String>, secrets: &[String]) -> Vec<String> {
    let of_options: Vec<String> = OPTIONS
        .iter()
        .map(|(_, name)| format!("{PREFIX}{name}"))
        .collect();
    let known = || of_options.iter().map(String::as_str).chain(OTHERS);
    let is_secret = |name: &str| {
        secrets
            .iter()
            .any(|pattern| match pattern.strip_prefix('*') {
                Some(end) => name.ends_with(end) || name.ends_with(&format!("{end}_FILE")),
                None => name == pattern,
            })
    };
    let unknown = environment.keys().filter(|name| {
        name.starts_with(OURS)
            && !name.starts_with(OF_TESTS)
            && !known().any(|known| known == *name)
            && !is_secret(name)
    });
    unknown
        .map(|name| {
            let meant = nearest(name, known())
                .map(|meant| format!(": did you mean {meant}?"))
                .unwrap_or_default();
            format!("the environment variable {name} means nothing here{meant}")
        })
        .collect()
}

/// Converts the values that Python's click accepts as booleans to clap's. clap rejects other
/// values.
fn truth(value: &str) -> String {
    match value.trim().to_ascii_lowercase().as_str() {
        "1" | "on" | "t" | "true" | "y" | "yes" => "true".to_owned(),
        "0" | "off" | "f" | "false" | "n" | "no" => "false".to_owned(),
        other => other.to_owned(),
    }
}
