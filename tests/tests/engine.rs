//! What the core does when providers fail, one scene for each rule.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::Duration;

use pgai_core::{Event, Request, RequestError, Response, Settings};
use tests::world::{Answer, Scene, embed, refuse};

fn settings() -> Settings {
    let mut settings = Settings::new("scene");
    settings.limits.inputs = 64;
    settings
}

fn scene_with_rows(rows: i64) -> Scene {
    let mut scene = Scene::new(settings());
    for key in 1..=rows {
        scene.put(key, &format!("w{key}"));
    }
    scene
}

fn is_at_rest(scene: &Scene) -> bool {
    scene.queue().is_empty()
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn one_poison_input_among_a_thousand_costs_a_few_requests_and_only_its_row() {
    let mut scene = scene_with_rows(1000);
    let mut poisoned = |_, request: &Request| {
        let body = String::from_utf8_lossy(request.http.body()).into_owned();
        if body.contains("\"w500\"") {
            refuse(400, "no such word")
        } else {
            embed(request)
        }
    };
    scene.play(HOUR, &mut poisoned, &|scene| scene.stored().len() == 999);
    assert_eq!(scene.queue(), [(500, 1)]);
    // 20 batches of 50 rows; halving 50 inputs takes two requests for each of 6 levels.
    assert!(
        scene.requests.len() <= 20 + 12,
        "{} requests",
        scene.requests.len()
    );

    scene.play(HOUR, &mut poisoned, &is_at_rest);
    let failed = scene.failed();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0, 500);
    assert!(failed[0].1.contains("no such word"), "{failed:?}");
    let given_up = |event: &&Event| matches!(event, Event::RowFailed { retry_in: None, .. });
    assert_eq!(scene.events.iter().filter(given_up).count(), 1);
}

#[test]
fn a_vectorizer_whose_every_request_is_refused_is_paused_and_no_row_is_blamed() {
    let mut scene = scene_with_rows(200);
    let mut refuses_all = |_, _: &Request| refuse(400, "dimensions must be 1024");
    scene.play(Duration::from_secs(20), &mut refuses_all, &is_at_rest);
    assert!(
        scene.requests.len() <= 8,
        "{} requests",
        scene.requests.len()
    );
    assert_eq!(scene.queue().len(), 200);
    assert!(scene.queue().iter().all(|(_, attempts)| *attempts == 0));
    assert!(scene.failed().is_empty());
    assert!(scene.leased().is_empty(), "{:?}", scene.leased());
    let paused = |event: &&Event| matches!(event, Event::VectorizerBroken { .. });
    assert_eq!(scene.events.iter().filter(paused).count(), 1);

    // Once it is mended, everything is embedded without a word from anybody.
    scene.play(
        HOUR,
        &mut |_, request: &Request| embed(request),
        &is_at_rest,
    );
    assert_eq!(scene.stored().len(), 200);
}

#[test]
fn a_refusal_that_comes_after_the_pause_does_not_silence_the_vectorizer() {
    let mut settings = settings();
    settings.limits.inputs = 1;
    let mut scene = Scene::new(settings);
    for key in 1..=4 {
        scene.put(key, &format!("w{key}"));
    }
    // Several requests are out when the first answer pauses the vectorizer; the next one makes it
    // doubt the provider, whose answer to that comes in the pause, too.
    scene.latency = Duration::from_secs(1);
    let mut answers = 0;
    let mut refuses = |_, _: &Request| {
        answers += 1;
        if answers == 1 {
            return Ok(Response::new(b"{\"embeddings\": [[1, 2, 3]]}".to_vec()));
        }
        refuse(400, "no such parameter")
    };
    scene.play(Duration::from_secs(10), &mut refuses, &is_at_rest);
    assert_eq!(scene.queue().len(), 4);
    scene.play(
        HOUR,
        &mut |_, request: &Request| embed(request),
        &is_at_rest,
    );
    assert_eq!(scene.stored().len(), 4);
}

#[test]
fn a_provider_that_takes_nothing_any_more_is_not_blamed_on_rows_either() {
    let mut scene = scene_with_rows(10);
    scene.play(
        HOUR,
        &mut |_, request: &Request| embed(request),
        &is_at_rest,
    );
    for key in 1..=200 {
        scene.put(key, &format!("x{key}"));
    }
    scene.play(
        Duration::from_secs(25),
        &mut |_, _: &Request| refuse(422, "no"),
        &is_at_rest,
    );
    assert!(
        scene.queue().iter().all(|(_, attempts)| *attempts == 0),
        "{:?}",
        scene.queue()
    );
    assert_eq!(scene.queue().len(), 200);
}

#[test]
fn wrong_dimensions_pause_the_vectorizer() {
    let mut scene = scene_with_rows(3);
    let mut wrong = |_, _: &Request| -> Answer {
        Ok(Response::new(
            br#"{"embeddings": [[1, 2, 3], [1, 2, 3], [1, 2, 3]]}"#.to_vec(),
        ))
    };
    scene.play(Duration::from_secs(20), &mut wrong, &is_at_rest);
    assert_eq!(scene.requests.len(), 1);
    assert!(scene.queue().iter().all(|(_, attempts)| *attempts == 0));
    let said = scene.events.iter().any(
        |event| matches!(event, Event::VectorizerBroken { reason, .. } if reason.contains("3 dimensions")),
    );
    assert!(said, "{:?}", scene.events);
}

#[test]
fn two_minutes_of_errors_burn_nothing() {
    let mut scene = scene_with_rows(100);
    let mut ill = |now: Duration, request: &Request| {
        if now < Duration::from_secs(120) {
            refuse(500, "ill")
        } else {
            embed(request)
        }
    };
    scene.play(HOUR, &mut ill, &is_at_rest);
    assert_eq!(scene.stored().len(), 100);
    assert!(scene.failed().is_empty());
    let failures = |event: &&Event| matches!(event, Event::RowFailed { .. });
    assert_eq!(scene.events.iter().filter(failures).count(), 0);
    assert!(
        scene.requests.len() < 30,
        "{} requests",
        scene.requests.len()
    );
    assert!(scene.now() < Duration::from_secs(200), "{:?}", scene.now());
}

#[test]
fn requests_that_a_slow_provider_does_not_get_done_in_time_are_made_smaller() {
    let mut settings = settings();
    settings.lease = Duration::from_secs(30);
    settings.limits.requests = 1;
    let mut scene = Scene::new(settings);
    for key in 1..=200 {
        scene.put(key, &format!("w{key}"));
    }
    // It takes a second for each text, and nobody waits for longer than 20.
    scene.latency = Duration::from_secs(10);
    let mut timeouts = 0;
    scene.play(
        HOUR,
        &mut |_, request: &Request| {
            let body = String::from_utf8_lossy(request.http.body()).into_owned();
            if body.matches("\"w").count() > 10 {
                timeouts += 1;
                return Err(RequestError::Timeout);
            }
            embed(request)
        },
        &is_at_rest,
    );
    assert_eq!(scene.stored().len(), 200);
    // The first batch of 50 rows finds it out, and hardly any later one asks again.
    assert!(timeouts <= 8, "{timeouts} timeouts");
}

#[test]
fn a_row_that_changes_all_the_time_is_embedded_meanwhile_and_ends_true() {
    let mut scene = Scene::new(settings());
    scene.latency = Duration::from_secs(1);
    let mut works = |_, request: &Request| embed(request);
    for edit in 0..600 {
        scene.put(1, &format!("w{edit}"));
        scene.play(Duration::from_millis(100), &mut works, &|_| false);
    }
    let meanwhile = scene.requests.len();
    assert!((30..=70).contains(&meanwhile), "{meanwhile} requests");
    scene.play(Duration::from_secs(10), &mut works, &is_at_rest);
    assert!(scene.queue().is_empty());
    assert_eq!(scene.texts(), ["w599"]);
    assert!(scene.failed().is_empty());
}

#[test]
fn retry_after_is_honoured() {
    let mut scene = scene_with_rows(1);
    let mut asked = vec![];
    let mut busy = |now: Duration, request: &Request| {
        asked.push(now);
        if asked.len() > 1 {
            return embed(request);
        }
        let mut response = refuse(429, "{}")?;
        response
            .headers_mut()
            .insert("retry-after", http::HeaderValue::from_static("20"));
        Ok(response)
    };
    scene.play(HOUR, &mut busy, &is_at_rest);
    assert_eq!(asked.len(), 2);
    assert!(asked[1] - asked[0] >= Duration::from_secs(20), "{asked:?}");
}

#[test]
fn a_wrong_key_is_one_error_and_its_rows_wait_in_the_queue() {
    let mut scene = scene_with_rows(100);
    let mut locked = |now: Duration, request: &Request| {
        if now < Duration::from_secs(300) {
            refuse(401, "bad key")
        } else {
            embed(request)
        }
    };
    scene.play(Duration::from_secs(290), &mut locked, &is_at_rest);
    assert!(scene.leased().is_empty());
    let paused = |event: &&Event| matches!(event, Event::Paused { .. });
    assert_eq!(scene.events.iter().filter(paused).count(), 1);
    scene.play(HOUR, &mut locked, &is_at_rest);
    assert_eq!(scene.stored().len(), 100);
    assert!(
        scene
            .events
            .iter()
            .any(|event| matches!(event, Event::Resumed { .. }))
    );
}

#[test]
fn a_missing_model_is_fetched_once() {
    let mut scene = scene_with_rows(2);
    let mut pulled = false;
    let mut paths = vec![];
    let mut ollama = |_, request: &Request| {
        paths.push(request.http.uri().path().to_owned());
        match request.http.uri().path() {
            "/api/pull" => {
                pulled = true;
                refuse(200, r#"{"status": "success"}"#)
            }
            _ if pulled => embed(request),
            _ => refuse(404, r#"{"error": "model 'm' not found"}"#),
        }
    };
    scene.play(HOUR, &mut ollama, &is_at_rest);
    assert_eq!(scene.stored().len(), 2);
    assert_eq!(paths, ["/api/embed", "/api/pull", "/api/embed"]);
}

#[test]
fn a_lease_is_extended_while_a_slow_provider_works() {
    let mut settings = settings();
    settings.lease = Duration::from_secs(30);
    settings.limits.inputs = 1;
    settings.limits.requests = 1;
    let mut scene = Scene::new(settings);
    for key in 1..=20 {
        scene.put(key, &format!("w{key}"));
    }
    scene.latency = Duration::from_secs(15);
    scene.play(
        HOUR,
        &mut |_, request: &Request| embed(request),
        &is_at_rest,
    );
    assert_eq!(scene.stored().len(), 20);
    assert_eq!(scene.requests.len(), 20, "nothing is asked twice");
}

#[test]
fn unchanged_chunks_are_not_embedded_again_and_equal_ones_go_once() {
    let mut scene = Scene::new(settings());
    scene.put(1, "one two two three");
    scene.put(2, "two");
    scene.play(
        HOUR,
        &mut |_, request: &Request| embed(request),
        &is_at_rest,
    );
    assert_eq!(scene.requests, [["one", "two", "three"]]);
    scene.put(1, "zero one two two four");
    scene.play(
        HOUR,
        &mut |_, request: &Request| embed(request),
        &is_at_rest,
    );
    assert_eq!(scene.requests[1..], [["zero", "four"]]);
}

#[test]
fn a_stopping_worker_finishes_what_is_in_flight_and_gives_the_rest_back() {
    let mut settings = settings();
    settings.limits.inputs = 1;
    settings.limits.requests = 1;
    let mut scene = Scene::new(settings);
    for key in 1..=5 {
        scene.put(key, &format!("w{key}"));
    }
    scene.latency = Duration::from_secs(2);
    scene.play(
        Duration::from_secs(3),
        &mut |_, request: &Request| embed(request),
        &is_at_rest,
    );
    scene.stop();
    let summary = scene.play(HOUR, &mut |_, request: &Request| embed(request), &|_| false);
    let summary = summary.expect("it stops");
    assert_eq!(summary.rows, 2, "the first, and the one in flight");
    assert_eq!(scene.queue().len(), 3);
    assert!(scene.leased().is_empty());
}

#[test]
fn a_stopping_worker_does_not_wait_for_ever() {
    let mut scene = scene_with_rows(5);
    scene.latency = Duration::from_secs(100);
    scene.play(
        Duration::from_secs(3),
        &mut |_, request: &Request| embed(request),
        &is_at_rest,
    );
    scene.stop();
    let summary = scene.play(HOUR, &mut |_, request: &Request| embed(request), &|_| false);
    assert!(summary.is_some());
    assert!(scene.now() <= Duration::from_secs(12), "{:?}", scene.now());
    assert!(scene.leased().is_empty());
    assert_eq!(scene.queue().len(), 5);
}

#[test]
fn once_ends_when_nothing_is_due_and_says_what_waits() {
    let mut scene = Scene::new(Settings {
        once: true,
        exit_on_error: true,
        ..settings()
    });
    scene.put(1, "good");
    scene.put(2, "bad");
    let mut poisoned = |_, request: &Request| {
        let body = String::from_utf8_lossy(request.http.body()).into_owned();
        if body.contains("\"bad\"") {
            refuse(400, "bad")
        } else {
            embed(request)
        }
    };
    let summary = scene
        .play(HOUR, &mut poisoned, &|_| false)
        .expect("it stops");
    assert_eq!(
        (summary.rows, summary.failed, summary.failure),
        (1, 1, None)
    );
    assert!(
        scene.events.iter().any(|event| matches!(
            event,
            Event::Stopped {
                waiting: Some(1),
                ..
            }
        )),
        "{:?}",
        scene.events
    );
}

#[test]
fn once_gives_up_on_a_provider_that_is_down_and_fails() {
    let mut scene = Scene::new(Settings {
        once: true,
        exit_on_error: true,
        ..settings()
    });
    scene.put(1, "good");
    let mut down = |_, _: &Request| Err(RequestError::Connect("refused".to_owned()));
    let summary = scene.play(HOUR, &mut down, &|_| false).expect("it stops");
    assert!(summary.failure.is_some());
    assert_eq!(scene.queue(), [(1, 0)]);
    assert!(scene.leased().is_empty());
}

#[test]
fn a_worker_that_is_stopped_at_once_ends_at_once() {
    let mut scene = Scene::new(settings());
    scene.stop();
    let summary = scene.play(HOUR, &mut |_, request: &Request| embed(request), &|_| false);
    assert!(summary.is_some());
    assert_eq!(scene.now(), Duration::ZERO);
}

#[test]
fn a_vector_of_zeros_is_one_error_for_its_row() {
    let mut scene = scene_with_rows(50);
    let mut zeros = |_, request: &Request| {
        let body = String::from_utf8_lossy(request.http.body()).into_owned();
        let mut response = embed(request)?;
        if body.contains("\"w7\"") {
            let texts: serde_json::Value = serde_json::from_str(&body).unwrap();
            let texts = texts["input"].as_array().unwrap();
            let at = texts.iter().position(|text| text == "w7").unwrap();
            let mut answer: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            answer["embeddings"][at] = serde_json::json!([0.0, -0.0]);
            *response.body_mut() = answer.to_string().into_bytes();
        }
        Ok(response)
    };
    scene.play(HOUR, &mut zeros, &|scene| scene.queue() == [(7, 1)]);
    assert_eq!(scene.stored().len(), 49);
    assert!(
        scene.requests.len() <= 14,
        "{} requests",
        scene.requests.len()
    );
    scene.play(HOUR, &mut zeros, &is_at_rest);
    let failed = scene.failed();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].1.contains("all zeros"), "{failed:?}");
}

#[test]
fn a_model_that_the_account_may_not_use_stops_its_vectorizer_only() {
    let mut scene = scene_with_rows(20);
    let mut denied = |_, _: &Request| {
        let body = r#"{"error": {"message": "Project `p` does not have access to model `m`",
            "code": "model_not_found"}}"#;
        refuse(403, body)
    };
    scene.play(Duration::from_secs(20), &mut denied, &is_at_rest);
    assert_eq!(scene.requests.len(), 1);
    assert!(scene.queue().iter().all(|(_, attempts)| *attempts == 0));
    let paused = |event: &&Event| matches!(event, Event::Paused { .. });
    assert_eq!(scene.events.iter().filter(paused).count(), 0);
    let broken = |event: &&Event| matches!(event, Event::VectorizerBroken { .. });
    assert_eq!(scene.events.iter().filter(broken).count(), 1);
}
