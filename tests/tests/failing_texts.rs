//! A text that makes the provider fail, one scene for each way in which providers do: it fails alone,
//! whatever is said, and its neighbours are embedded at once. A provider that is down costs nothing.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::Duration;

use pgai_core::{Event, Request, RequestError, Settings};
use tests::world::{Answer, Scene, embed, refuse};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// How a provider fails at a text.
type Failing = fn() -> Answer;

const FAILURES: [(&str, Failing); 10] = [
    ("eof", || {
        refuse(
            500,
            r#"{"error": "do embedding request: Post \"http://127.0.0.1:1/embedding\": EOF"}"#,
        )
    }),
    ("runner", || {
        refuse(
            500,
            r#"{"error": "llama runner process no longer running: -1"}"#,
        )
    }),
    ("bad gateway", || {
        refuse(502, "<html>502 Bad Gateway</html>")
    }),
    ("gateway timeout", || refuse(504, "")),
    ("unavailable", || {
        refuse(
            503,
            "upstream connect error or disconnect/reset before headers",
        )
    }),
    ("request timeout", || {
        refuse(408, r#"{"error": {"message": "litellm.Timeout"}}"#)
    }),
    ("wrapped", || {
        refuse(
            500,
            r#"{"error": {"message": "litellm.APIConnectionError: prompt too lengthy", "code": "500"}}"#,
        )
    }),
    ("known length", || {
        refuse(
            500,
            r#"{"error": {"message": "litellm: the input length exceeds the context length"}}"#,
        )
    }),
    ("reset", || {
        Err(RequestError::Broken("connection reset by peer".to_owned()))
    }),
    ("timeout", || Err(RequestError::Timeout)),
];

fn settings() -> Settings {
    let mut settings = Settings::new("scene");
    settings.limits.inputs = 64;
    settings
}

/// As the blocking worker has it.
fn one_at_a_time() -> Settings {
    let mut settings = settings();
    settings.limits.batches = 1;
    settings.limits.requests = 1;
    settings
}

fn scene(settings: Settings, rows: i64) -> Scene {
    let mut scene = Scene::new(settings);
    scene.latency = Duration::from_millis(100);
    for key in 1..=rows {
        scene.put(key, &format!("w{key}"));
    }
    scene
}

fn is_at_rest(scene: &Scene) -> bool {
    scene.queue().is_empty()
}

fn has(request: &Request, word: &str) -> bool {
    String::from_utf8_lossy(request.http.body()).contains(&format!("\"{word}\""))
}

fn failures(scene: &Scene) -> Vec<&str> {
    let mut keys = vec![];
    for event in &scene.events {
        if let Event::RowFailed { key, .. } = event {
            keys.push(key.as_str());
        }
    }
    keys
}

#[test]
fn a_text_that_makes_the_provider_fail_fails_alone_and_soon() {
    for settings in [settings(), one_at_a_time()] {
        for (name, failing) in FAILURES {
            let mut scene = scene(settings.clone(), 20);
            let mut provider = |_, request: &Request| {
                if has(request, "w7") {
                    failing()
                } else {
                    embed(request)
                }
            };
            scene.play(HOUR, &mut provider, &|scene| scene.stored().len() == 19);
            assert!(
                scene.now() < SECOND * 15,
                "{name}: neighbours after {:?}",
                scene.now()
            );
            scene.play(HOUR, &mut provider, &|scene| scene.queue() == [(7, 1)]);
            assert!(
                scene.now() < SECOND * 30,
                "{name}: blamed after {:?}",
                scene.now()
            );

            scene.play(HOUR, &mut provider, &is_at_rest);
            let failed = scene.failed();
            assert_eq!(failed.len(), 1, "{name}: {failed:?}, {:?}", scene.queue());
            assert_eq!(failed[0].0, 7, "{name}");
            assert!(failures(&scene).iter().all(|key| *key == "7"), "{name}");
            assert_eq!(failures(&scene).len(), 7, "{name}: each attempt is told");
            let paused = |event: &&Event| {
                matches!(event, Event::Paused { .. } | Event::VectorizerBroken { .. })
            };
            assert_eq!(scene.events.iter().filter(paused).count(), 0, "{name}");
            assert!(
                scene.requests.len() < 120,
                "{name}: {} requests",
                scene.requests.len()
            );
        }
    }
}

#[test]
fn a_server_that_crashes_at_a_text_and_comes_back_blames_no_other() {
    for settings in [settings(), one_at_a_time()] {
        let mut scene = scene(settings, 300);
        let mut back_at = Duration::ZERO;
        let mut provider = |now: Duration, request: &Request| {
            if now < back_at {
                return Err(RequestError::Connect("refused".to_owned()));
            }
            if has(request, "w77") {
                back_at = now + SECOND * 3;
                return Err(RequestError::Broken("reset".to_owned()));
            }
            embed(request)
        };
        scene.play(HOUR, &mut provider, &|scene| scene.stored().len() == 299);
        assert!(
            scene.now() < SECOND * 120,
            "neighbours after {:?}",
            scene.now()
        );
        scene.play(HOUR, &mut provider, &is_at_rest);
        let failed = scene.failed();
        assert_eq!(failed.len(), 1, "{failed:?}, {:?}", scene.queue());
        assert_eq!(failed[0].0, 77);
        assert!(failures(&scene).iter().all(|key| *key == "77"));
    }
}

#[test]
fn several_failing_texts_among_many_are_all_found() {
    for (name, failing) in FAILURES {
        let mut scene = scene(settings(), 1_000);
        let bad = ["w3", "w4", "w444", "w900"];
        let mut provider = |_, request: &Request| {
            if bad.iter().any(|word| has(request, word)) {
                failing()
            } else {
                embed(request)
            }
        };
        scene.play(HOUR, &mut provider, &|scene| scene.stored().len() == 996);
        assert!(
            scene.now() < SECOND * 60,
            "{name}: neighbours after {:?}",
            scene.now()
        );
        scene.play(HOUR * 2, &mut provider, &is_at_rest);
        let failed: Vec<_> = scene.failed().into_iter().map(|(key, _)| key).collect();
        assert_eq!(failed, [3, 4, 444, 900], "{name}: {:?}", scene.queue());
    }
}

#[test]
fn an_outage_costs_no_row_an_attempt_whatever_it_looks_like() {
    for settings in [settings(), one_at_a_time()] {
        for (name, failing) in FAILURES
            .into_iter()
            .filter(|(name, _)| *name != "known length")
        {
            let mut scene = scene(settings.clone(), 300);
            let mut down = |now: Duration, request: &Request| {
                // One at the start, and one in the middle of the work.
                let second = now.as_secs();
                if second < 30 || (31..150).contains(&second) {
                    failing()
                } else {
                    embed(request)
                }
            };
            scene.play(HOUR, &mut down, &is_at_rest);
            assert_eq!(scene.stored().len(), 300, "{name}");
            assert_eq!(failures(&scene), [""; 0], "{name}");
            assert!(scene.now() < SECOND * 300, "{name}: {:?}", scene.now());
        }
    }
}

/// Fails at so many of a hundred requests, in no order.
fn at_random(percent: u64, failing: Failing) -> impl FnMut(Duration, &Request) -> Answer {
    let mut state = 88_172_645_463_325_252_u64;
    move |_, request| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state % 100 < percent {
            failing()
        } else {
            embed(request)
        }
    }
}

#[test]
fn a_provider_that_fails_at_random_loses_no_row() {
    for percent in [10, 30, 60, 90] {
        let mut scene = scene(settings(), 200);
        scene.play(
            HOUR * 20,
            &mut at_random(percent, || refuse(500, "oh")),
            &is_at_rest,
        );
        assert_eq!(scene.failed(), [], "{percent} %");
        assert_eq!(scene.stored().len(), 200, "{percent} %: {:?}", scene.now());
        // A few may look guilty once.
        let count = failures(&scene).len();
        assert!(count <= 10, "{percent} %: {count} attempts");
    }
}

#[test]
fn a_model_that_always_fails_blames_no_row() {
    for (name, failing) in FAILURES
        .into_iter()
        .filter(|(name, _)| *name != "known length")
    {
        let mut scene = scene(settings(), 100);
        scene.play(HOUR, &mut |_, _: &Request| failing(), &|_| false);
        assert_eq!(failures(&scene), [""; 0], "{name}");
        assert_eq!(scene.queue().len(), 100, "{name}");
        assert!(
            scene.requests.len() < 400,
            "{name}: {} requests",
            scene.requests.len()
        );
        let paused = |event: &&Event| matches!(event, Event::Paused { .. });
        assert_eq!(scene.events.iter().filter(paused).count(), 1, "{name}");
    }
}

#[test]
fn once_ends_beside_a_failing_text_and_beside_an_outage() {
    for (name, failing) in FAILURES {
        let mut settings = settings();
        settings.once = true;
        let mut beside = scene(settings.clone(), 20);
        let mut provider = |_, request: &Request| {
            if has(request, "w7") {
                failing()
            } else {
                embed(request)
            }
        };
        let summary = beside.play(HOUR, &mut provider, &|_| false).unwrap();
        assert_eq!((summary.rows, summary.failed), (19, 1), "{name}");
        assert_eq!(summary.failure, None, "{name}");

        let mut down = scene(settings, 20);
        let summary = down
            .play(HOUR, &mut |_, _: &Request| failing(), &|_| false)
            .unwrap();
        assert!(summary.failure.is_some(), "{name}");
        assert_eq!(down.queue().len(), 20, "{name}");
        assert!(down.leased().is_empty(), "{name}");
    }
}

#[test]
fn a_row_of_many_chunks_of_which_one_fails_is_blamed_in_a_few_requests() {
    let mut scene = Scene::new(settings());
    scene.latency = Duration::from_millis(100);
    let words: Vec<String> = (0..500).map(|word| format!("x{word}")).collect();
    scene.put(1, &words.join(" "));
    scene.put(2, "good");
    let mut provider = |_, request: &Request| {
        if has(request, "x321") {
            refuse(500, "EOF")
        } else {
            embed(request)
        }
    };
    scene.play(HOUR, &mut provider, &|scene| scene.queue() == [(1, 1)]);
    assert!(
        scene.requests.len() < 60,
        "{} requests",
        scene.requests.len()
    );
    assert_eq!(scene.stored(), [2]);
}
