use super::*;

/// A vectorizer of which a few things are known.
fn known(set: &Value) -> Known {
    let mut known = json!({"id": 1, "name": "blog", "source_table": "public.blog",
        "target_table": "public.store", "disabled": false, "pending": 0, "failed": 0});
    for (name, value) in set.as_object().unwrap() {
        known[name] = value.clone();
    }
    serde_json::from_value(known).unwrap()
}

const fn standing<'a>(known: &'a Known, defect: Option<&'a str>) -> Standing<'a> {
    Standing {
        known,
        defect,
        today: None,
    }
}

#[test]
fn done_is_all_only_if_nothing_waits() {
    for (total, done, pending, is_estimated, shown) in [
        (200, 100, 100, false, "50.0 %"),
        (1_000_000, 999_999, 1, false, "99.9 %"),
        (1_000_000, 999_999, 1, true, "~99.9 %"),
        (10, 10, 0, false, "100.0 %"),
        (0, 0, 0, false, "100.0 %"),
    ] {
        let known = known(&json!({"total": total, "done": done, "pending": pending,
            "done_is_estimated": is_estimated}));
        assert_eq!(standing(&known, None).percent().unwrap(), shown);
    }
}

#[test]
fn a_definition_that_cannot_be_used_goes_before_what_the_queue_says() {
    let working = known(&json!({"state": "working"}));
    let broken = standing(&working, Some("no such model"));
    assert_eq!(broken.cells()[2], "cannot run");
    assert_eq!(broken.trouble("worker"), ["blog cannot run: no such model"]);
    let disabled = known(&json!({"state": "disabled"}));
    let disabled = standing(&disabled, Some("no such model"));
    assert_eq!(disabled.cells()[2], "disabled");
    assert!(disabled.trouble("worker").is_empty());
}

#[test]
fn only_what_needs_the_operator_is_trouble() {
    for (state, retrying, failed, trouble) in [
        ("working", 3, 0, ""),
        ("paused", 0, 0, ""),
        (
            "up_to_date",
            0,
            0,
            "the last error of blog still holds: HTTP 400",
        ),
        (
            "working",
            1,
            1200,
            "1,200 rows of blog failed: see `worker errors blog`",
        ),
        (
            "no_worker",
            0,
            0,
            "rows of blog wait, and no worker is alive",
        ),
    ] {
        let known = known(
            &json!({"state": state, "retrying": retrying, "failed": failed,
            "last_error": "HTTP 400", "last_error_holds": true}),
        );
        assert_eq!(
            standing(&known, None).trouble("worker").join("; "),
            trouble,
            "{state}"
        );
    }
}

#[test]
fn details_fit_a_terminal() {
    let known = known(&json!({"state": "paused", "reason": "words ".repeat(100),
        "until": "2026-11-26T12:00:00.123+00:00", "leased": 2000, "retrying": 1, "attempts": 2,
        "next_retry": "2026-11-26T12:30:00.5+00:00", "last_error": "HTTP 500",
        "last_error_at": "2026-11-25T12:30:00+00:00", "paused_by": "alice", "retries": 6}));
    let details = standing(&known, None).details();
    assert!(
        details.iter().all(|line| line.chars().count() <= WIDTH),
        "{details:#?}"
    );
    let text = details.join(" ").replace("     ", " ");
    for part in [
        "paused by alice until 2026-11-26 12:00:00 because words",
        "2,000 rows in work, 1 row waiting for a retry (at most attempt 3 of 7, next at \
         2026-11-26 12:30:00)",
        "last error (since resolved), 2026-11-25 12:30:00: HTTP 500",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn what_works_tells_how_fast_and_how_long() {
    for (state, rate, pending, shown) in [
        (
            "working",
            Some(1200.4),
            60_000,
            "1,200 rows a minute, 50 min left",
        ),
        ("working", Some(1.0), 3, "1 row a minute, 3 min left"),
        ("working", Some(0.2), 3, ""),
        ("working", None, 3, ""),
        ("paused", Some(1200.0), 60_000, ""),
    ] {
        let known = known(&json!({"state": state, "rows_per_minute": rate, "pending": pending}));
        let work = standing(&known, None).work().unwrap_or_default();
        assert_eq!(work, shown, "{state} {rate:?}");
    }
}
