//! How the core keeps to the limits of providers and operators, in simulated time.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::Duration;

use pgai_core::{Event, Request, Settings};
use tests::world::{Answer, Scene, embed, refuse};

const HOUR: Duration = Duration::from_secs(3600);

fn settings() -> Settings {
    let mut settings = Settings::new("scene");
    // A request for each chunk, so that there are many.
    settings.limits.inputs = 1;
    settings
}

fn scene(settings: Settings, rows: i64) -> Scene {
    let mut scene = Scene::new(settings);
    for key in 1..=rows {
        scene.put(key, &format!("w{key}"));
    }
    scene
}

fn is_at_rest(scene: &Scene) -> bool {
    scene.queue().is_empty()
}

/// The most that any minute saw.
fn most_in_a_minute(times: &[Duration]) -> usize {
    let minute = Duration::from_secs(60);
    let from = |from: &Duration| {
        times
            .iter()
            .filter(|at| (*from..*from + minute).contains(at))
            .count()
    };
    times.iter().map(from).max().unwrap_or(0)
}

#[test]
fn the_operators_limit_of_requests_is_kept_and_used() {
    let settings = Settings {
        requests_per_minute: Some(30),
        ..settings()
    };
    let mut scene = scene(settings, 100);
    let mut times = vec![];
    scene.play(
        HOUR,
        &mut |now, request| {
            times.push(now);
            embed(request)
        },
        &is_at_rest,
    );
    assert_eq!(times.len(), 100);
    let most = most_in_a_minute(&times);
    assert!((30..=32).contains(&most), "{most} in a minute");
    let took = *times.last().unwrap();
    assert!(
        took < Duration::from_secs(205),
        "{took:?} for 100 at 30 a minute"
    );
}

#[test]
fn the_operators_limit_of_tokens_is_kept_too() {
    let settings = Settings {
        // Each text has one token, or two.
        tokens_per_minute: Some(60),
        ..settings()
    };
    let mut scene = scene(settings, 200);
    let mut times = vec![];
    scene.play(
        HOUR,
        &mut |now, request| {
            times.push(now);
            embed(request)
        },
        &is_at_rest,
    );
    assert_eq!(times.len(), 200);
    let most = most_in_a_minute(&times);
    assert!((30..=62).contains(&most), "{most} in a minute");
}

/// An honest provider with a budget, which it tells in headers: whoever reads them is never refused.
fn with_budget(budget: usize, seconds: u64) -> impl FnMut(Duration, &Request) -> (Answer, bool) {
    let window = Duration::from_secs(seconds);
    let (mut began, mut used) = (Duration::ZERO, 0);
    move |now, request| {
        if now >= began + window {
            (began, used) = (now, 0);
        }
        if used == budget {
            return (refuse(429, "slow down"), true);
        }
        used += 1;
        let mut response = embed(request).unwrap();
        for (name, value) in [
            ("x-ratelimit-limit-requests", budget.to_string()),
            (
                "x-ratelimit-remaining-requests",
                (budget - used).to_string(),
            ),
            (
                "x-ratelimit-reset-requests",
                format!("{}ms", (began + window - now).as_millis()),
            ),
        ] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        (Ok(response), false)
    }
}

#[test]
fn a_provider_that_says_what_is_left_never_has_to_refuse() {
    let mut scene = scene(settings(), 300);
    scene.latency = Duration::from_millis(200);
    let mut provider = with_budget(25, 10);
    let (mut refused, mut last) = (0, Duration::ZERO);
    scene.play(
        HOUR,
        &mut |now, request| {
            let (answer, is_refusal) = provider(now, request);
            refused += usize::from(is_refusal);
            last = now;
            answer
        },
        &is_at_rest,
    );
    assert!(scene.queue().is_empty());
    // Before the first answer nothing is known; from then on, nothing is refused.
    assert!(refused <= 1, "{refused} refusals");
    // 300 requests take 12 windows, of which the last need not pass.
    assert!(last < Duration::from_secs(150), "{last:?}");
}

#[test]
fn requests_in_flight_grow_while_answers_come_and_shrink_when_refused() {
    let mut settings = settings();
    settings.limits.requests = 16;
    let mut scene = scene(settings, 400);
    scene.latency = Duration::from_secs(1);
    // How many are answered at one moment is how many were in flight.
    let mut rounds: Vec<(Duration, usize)> = vec![];
    let mut refuse_once_after = Some(Duration::from_secs(12));
    scene.play(
        HOUR,
        &mut |now, request| {
            match rounds.last_mut() {
                Some((at, count)) if *at == now => *count += 1,
                _ => rounds.push((now, 1)),
            }
            if refuse_once_after.is_some_and(|after| now >= after) {
                refuse_once_after = None;
                return refuse(429, "too many");
            }
            embed(request)
        },
        &is_at_rest,
    );
    assert!(scene.queue().is_empty());
    let widths: Vec<usize> = rounds.iter().map(|(_, count)| *count).collect();
    assert_eq!(widths[0], 4, "it begins with four: {widths:?}");
    let before: usize = *widths[..12].iter().max().unwrap();
    assert!(before >= 8, "it grows: {widths:?}");
    let refused_at = rounds
        .iter()
        .position(|(at, _)| *at >= Duration::from_secs(12))
        .unwrap();
    let after = widths[refused_at + 1];
    assert!(after <= before / 2 + 1, "it shrinks: {widths:?}");
    let later = widths[refused_at..].iter().max().unwrap();
    assert_eq!(*later, 16, "and grows again: {widths:?}");
    assert!(widths.iter().all(|width| *width <= 16));
}

/// An answer with headers of a used-up limit that comes back at this moment.
fn used_up(request: &Request, reset: &str) -> Answer {
    let mut response = embed(request)?;
    for (name, value) in [
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", reset),
    ] {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    Ok(response)
}

fn busy_until(moment: &str) -> Answer {
    let mut response = refuse(429, "slow down")?;
    let value = moment.parse().unwrap();
    response.headers_mut().insert("retry-after", value);
    Ok(response)
}

/// 2026-11-25T12:00:00Z.
const NOON: Duration = Duration::from_secs(1_795_608_000);

/// What the events say of waits: `Waiting` or `Paused`, the reason, and the time.
fn waits(scene: &Scene) -> Vec<(bool, String, u64)> {
    let wait = |event: &Event| {
        if let Event::Waiting {
            reason, retry_in, ..
        } = event
        {
            Some((false, reason.clone(), retry_in.as_secs()))
        } else if let Event::Paused {
            reason, retry_in, ..
        } = event
        {
            Some((true, reason.clone(), retry_in.as_secs()))
        } else {
            None
        }
    };
    scene.events.iter().filter_map(wait).collect()
}

#[test]
fn a_moment_is_waited_for_in_whatever_form_it_is_given_and_told_once() {
    for moment in [
        "20",
        "20s",
        "1795608020",
        "1795608020000",
        "2026-11-25T12:00:20Z",
        "Wed, 25 Nov 2026 12:00:20 GMT",
    ] {
        let settings = Settings {
            wall_start: NOON,
            ..settings()
        };
        for is_refused in [true, false] {
            let mut scene = scene(settings.clone(), 3);
            let mut asked = vec![];
            scene.play(
                HOUR,
                &mut |now, request| {
                    asked.push(now);
                    match (asked.len(), is_refused) {
                        (1, true) => busy_until(moment),
                        (1, false) => used_up(request, moment),
                        // What was in flight with it does not know.
                        (2..=4, true) if now < Duration::from_secs(1) => busy_until(moment),
                        _ => embed(request),
                    }
                },
                &is_at_rest,
            );
            assert!(scene.queue().is_empty(), "{moment}");
            let last = asked.last().unwrap().as_secs();
            let is_kept = if is_refused { 20..25 } else { 0..25 };
            assert!(is_kept.contains(&last), "{moment}, {is_refused}: {asked:?}");
            if is_refused {
                let waits = waits(&scene);
                assert_eq!(waits.len(), 1, "{moment}: {waits:?}");
                assert!(waits[0].1.contains("slow down"), "{waits:?}");
                assert!((15..=20).contains(&waits[0].2), "{waits:?}");
            }
        }
    }
}

#[test]
fn no_provider_is_waited_for_longer_than_an_hour() {
    for moment in [
        "86400",
        "1795694400",
        "1795694400000",
        "2027-11-25T12:00:00Z",
    ] {
        let settings = Settings {
            wall_start: NOON,
            ..settings()
        };
        let mut scene = scene(settings, 1);
        let mut asked = vec![];
        scene.play(
            HOUR * 3,
            &mut |now, request| {
                asked.push(now);
                if asked.len() == 1 {
                    busy_until(moment)
                } else {
                    embed(request)
                }
            },
            &is_at_rest,
        );
        assert_eq!(asked.len(), 2, "{moment}");
        let waited = asked[1] - asked[0];
        assert!(
            HOUR <= waited && waited < HOUR + Duration::from_secs(60),
            "{moment}: {waited:?}"
        );
        assert_eq!(waits(&scene).len(), 1, "{moment}: {:?}", waits(&scene));
    }
}

#[test]
fn a_used_up_limit_is_told_once_and_its_rows_wait() {
    let mut settings = settings();
    settings.limits.requests = 1;
    let mut scene = scene(settings, 2);
    let mut asked = vec![];
    scene.play(
        HOUR,
        &mut |now, request| {
            asked.push(now);
            if asked.len() == 1 {
                used_up(request, "5m")
            } else {
                embed(request)
            }
        },
        &is_at_rest,
    );
    assert_eq!(asked.len(), 2);
    assert!(asked[1] >= Duration::from_secs(300), "{asked:?}");
    let waits = waits(&scene);
    assert_eq!(waits.len(), 1, "{waits:?}");
    assert!(waits[0].1.contains("x-ratelimit"), "{waits:?}");
}

#[test]
fn once_does_not_wait_for_a_limit_that_comes_back_in_an_hour() {
    type Provider = fn(&Request) -> Answer;
    let providers: [Provider; 3] = [
        |request| used_up(request, "1795694400"),
        |request| used_up(request, "59m"),
        |_| busy_until("1795694400000"),
    ];
    for provider in providers {
        let mut settings = settings();
        settings.limits.requests = 1;
        settings.wall_start = NOON;
        settings.once = true;
        let mut scene = scene(settings, 30);
        let summary = scene.play(
            Duration::from_secs(120),
            &mut |_, request| provider(request),
            &|_| false,
        );
        let summary = summary.expect("it ends");
        assert!(summary.failure.is_some(), "{summary:?}");
        assert!(scene.leased().is_empty(), "{:?}", scene.leased());
        assert!(scene.queue().iter().all(|(_, attempts)| *attempts == 0));
    }
}
