//! docs/logging.md names every event and its fields.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Event;
use crate::resync::ResyncCounts;

const PAGE: &str = include_str!("../../../docs/logging.md");
const TROUBLESHOOTING: &str = include_str!("../../../docs/troubleshooting.md");

/// A number for each kind of event: a new one is missing here until it is documented, too.
const fn number(event: &Event) -> usize {
    match event {
        Event::Advice { .. } => 0,
        Event::CeilingReached { .. } => 1,
        Event::Committed { .. } => 2,
        Event::DatabaseBack { .. } => 3,
        Event::DatabaseTrouble { .. } => 4,
        Event::Finished { .. } => 5,
        Event::IndexBuilt { .. } => 6,
        Event::IndexFailed { .. } => 7,
        Event::IndexProgress { .. } => 8,
        Event::IndexStarted { .. } => 9,
        Event::InvalidVectorizers { .. } => 10,
        Event::NoVectorizers => 11,
        Event::NotInstalled { .. } => 12,
        Event::ParameterRefused { .. } => 13,
        Event::Paused { .. } => 14,
        Event::Progress { .. } => 15,
        Event::ResyncEnded { .. } => 16,
        Event::ResyncStarted { .. } => 17,
        Event::Resumed { .. } => 18,
        Event::RowFailed { .. } => 19,
        Event::Running { .. } => 20,
        Event::Started { .. } => 21,
        Event::Stopped { .. } => 22,
        Event::Stopping { .. } => 23,
        Event::TextsChanged { .. } => 24,
        Event::Truncated { .. } => 25,
        Event::VectorizerBroken { .. } => 26,
        Event::Waiting { .. } => 27,
        Event::Working { .. } => 28,
        Event::ChangeAdvanced { .. } => 29,
    }
}
const KINDS: usize = 30;

/// One of each kind whose message is always the same, with all of its fields.
#[expect(clippy::too_many_lines, reason = "one entry for each event")]
fn events() -> Vec<Event> {
    let text = || "x".to_owned();
    let (vectorizer, retry_in) = (1, Duration::ZERO);
    vec![
        Event::CeilingReached {
            vectorizer,
            reason: text(),
            resumes_in: retry_in,
        },
        Event::Committed {
            vectorizer,
            rows: 1,
            embedded: 1,
            reused: 1,
        },
        Event::DatabaseBack { after: retry_in },
        Event::Finished {
            vectorizer,
            items: 1,
            failed: 1,
        },
        Event::IndexBuilt {
            vectorizer,
            of_text: false,
            after: retry_in,
        },
        Event::IndexFailed {
            vectorizer,
            of_text: false,
            reason: text(),
            retry_in,
        },
        Event::IndexProgress {
            vectorizer,
            of_text: false,
            progress: text(),
            after: retry_in,
        },
        Event::IndexStarted {
            vectorizer,
            of_text: false,
            statement: text(),
        },
        Event::NoVectorizers,
        Event::ParameterRefused {
            vectorizer,
            parameter: "x",
            reason: text(),
        },
        Event::Paused {
            provider: text(),
            reason: text(),
            retry_in,
        },
        Event::Progress {
            done: 1,
            waiting: 1,
            chunks: 1,
        },
        Event::ResyncEnded {
            vectorizer,
            failed: false,
            counts: ResyncCounts::default(),
            reason: Some(text()),
        },
        Event::ResyncStarted {
            vectorizer,
            verifies_text: true,
        },
        Event::Resumed { provider: text() },
        Event::RowFailed {
            vectorizer,
            key: text(),
            step: "x",
            reason: text(),
            retry_in: Some(retry_in),
        },
        Event::RowFailed {
            vectorizer,
            key: text(),
            step: "x",
            reason: text(),
            retry_in: None,
        },
        Event::Running {
            vectorizer,
            name: text(),
        },
        Event::Started { version: text() },
        Event::Stopped {
            rows: 1,
            failed: 1,
            waiting: Some(1),
            failure: Some(text()),
        },
        Event::Stopping { batches: 1 },
        Event::ChangeAdvanced {
            vectorizer,
            state: text(),
        },
        Event::TextsChanged { vectorizer },
        Event::Truncated {
            vectorizer,
            chunks: 1,
            bytes: Some(1),
        },
        Event::VectorizerBroken {
            vectorizer,
            reason: text(),
        },
        Event::Waiting {
            provider: text(),
            reason: text(),
            retry_in,
        },
        Event::Working {
            vectorizer,
            name: text(),
            items: 1,
            failed: 1,
            during: retry_in,
        },
    ]
}

#[test]
fn every_event_is_documented_with_its_fields() {
    let mut seen = BTreeSet::new();
    for event in events() {
        seen.insert(number(&event));
        let start = format!("| `{}` |", event.message());
        let line = PAGE.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("docs/logging.md has no line for {start}"));
        assert!(line.contains(event.level().name()), "{start}");
        for (name, _) in event.fields() {
            let name = format!("`{name}`");
            // A row that failed for good is like one that is tried again.
            assert!(line.contains(&name), "{start}: {name}");
        }
    }
    // Advice, the two troubles with a text of their own, and a list of wrong ids.
    for (event, words) in [
        (
            Event::Advice {
                message: String::new(),
            },
            "advice about a setting",
        ),
        (
            Event::DatabaseTrouble {
                reason: String::new(),
                retry_in: Duration::ZERO,
            },
            "`the database is not available: …` | warning | `retry_in`",
        ),
        (
            Event::NotInstalled {
                reason: String::new(),
            },
            "`pgai is not installed in the database: …`",
        ),
        (
            Event::InvalidVectorizers {
                wanted: vec![],
                got: vec![],
            },
            "`invalid vectorizers, wanted: […], got: […]`",
        ),
    ] {
        seen.insert(number(&event));
        assert!(PAGE.contains(words), "{words}");
    }
    assert_eq!(seen.len(), KINDS);
}

#[test]
fn every_warning_and_every_error_leads_to_what_helps() {
    let messages = PAGE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let messages = format!("`{}", cells.next()?);
        let level = cells.next()?;
        (level.contains("warning") || level.contains("error")).then_some(messages)
    });
    let table: Vec<_> = TROUBLESHOOTING
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains("]("))
        .collect();
    let mut count = 0;
    for message in
        messages.flat_map(|cell| cell.split(", `").map(str::to_owned).collect::<Vec<_>>())
    {
        let message = message.trim_matches('`');
        count += 1;
        assert!(
            table
                .iter()
                .any(|line| line.contains(&format!("`{message}`"))),
            "docs/troubleshooting.md has no line for {message}"
        );
    }
    assert!(count >= 17, "{count} messages were found");
}
