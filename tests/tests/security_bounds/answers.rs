//! Answers have bounds that follow from the question.

use std::io::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use tests::measure::until_end;
use tests::process::Process;
use tests::stage::{PATIENCE, Stage};

use crate::SHELLS;
use crate::raw::{Answer, honest, provider};

/// What an answer may cost, beyond what an honest one does: its bound is 0.6 MB here, and it may
/// be held packed and unpacked.
const COST_MAX_KIB: u64 = 12 * 1024;

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.run("create table blog (id int primary key, body text)");
    stage.run(
        "select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body', retries => 0),
           embedding => ai.embedding_ollama('m', 2), destination => ai.destination_table(target_table => 'blog_store'))",
    );
    stage.run("insert into blog values (1, 'one'), (2, 'two')");
    stage
}

fn worker(stage: &Stage, shell: &str, url: &str) -> Process {
    let environment = [("DB_URL", stage.worker_url.as_str()), ("OLLAMA_HOST", url)];
    Process::worker(shell, &["--once", "--exit-on-error=false"], &environment)
}

fn answer(status: u16, encoding: Option<&'static str>, body: Vec<u8>) -> Answer {
    Answer {
        status,
        encoding,
        body: Arc::new(move |_| body.clone()),
    }
}

fn repeated(part: &str, bytes: usize) -> Vec<u8> {
    let mut body = b"{\"embeddings\":[".to_vec();
    while body.len() < bytes {
        body.extend_from_slice(part.as_bytes());
    }
    body
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_answer_costs_no_more_than_its_bound() {
    const LONG: usize = 32 * 1024 * 1024;
    let zeros = gzip(&vec![b'0'; 2 * LONG]);
    let bomb = gzip(&repeated("[0],", LONG));
    for shell in SHELLS {
        let stage = stage();
        // It waits, so that the process lives long enough to be measured beside other tests.
        let url = provider(Answer {
            status: 200,
            encoding: None,
            body: Arc::new(|texts| {
                thread::sleep(Duration::from_millis(300));
                honest(texts)
            }),
        });
        let usual = until_end(worker(&stage, shell, &url), Instant::now()).peak;
        for (what, hostile) in [
            ("32 MB of [0],", answer(200, None, repeated("[0],", LONG))),
            ("32 MB of [],", answer(200, None, repeated("[],", LONG))),
            (
                "32 MB of numbers",
                answer(200, None, repeated("0.5,", LONG)),
            ),
            ("a refusal of 32 MB", answer(400, None, vec![b'x'; LONG])),
            ("an outage of 32 MB", answer(500, None, vec![b'x'; LONG])),
            ("a bomb of 64 MB", answer(200, Some("gzip"), zeros.clone())),
            (
                "32 MB of [0], in gzip",
                answer(200, Some("gzip"), bomb.clone()),
            ),
            (
                "a refusal in gzip",
                answer(400, Some("gzip"), zeros.clone()),
            ),
        ] {
            let mut stage = self::stage();
            let url = provider(hostile);
            let used = until_end(worker(&stage, shell, &url), Instant::now());
            println!("{shell}, {what}: {} KiB, usually {usual}", used.peak);
            assert!(used.peak < usual + COST_MAX_KIB, "{shell}: {what}");
            assert_eq!(stage.number("select count(*) from blog_store"), 0);
            let told = stage.number("select count(*) from ai.vectorizer_errors");
            assert!(told > 0, "{shell}: {what} is told");
        }
    }
}

#[test]
fn gzip_and_deflate_are_understood() {
    let zlib = |body: &[u8]| {
        let mut encoder = ZlibEncoder::new(vec![], Compression::fast());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    for shell in SHELLS {
        for encoding in ["gzip", "deflate"] {
            let mut stage = stage();
            let url = provider(Answer {
                status: 200,
                encoding: Some(encoding),
                body: Arc::new(move |texts| match encoding {
                    "gzip" => gzip(&honest(texts)),
                    _ => zlib(&honest(texts)),
                }),
            });
            let status = worker(&stage, shell, &url).wait(PATIENCE);
            assert_eq!(status.code(), Some(0), "{shell} {encoding}");
            assert_eq!(stage.number("select count(*) from blog_store"), 2);
        }
    }
}

#[test]
fn wrong_dimensions_are_told_although_the_answer_is_cut() {
    for shell in SHELLS {
        let mut stage = stage();
        let url = provider(Answer {
            status: 200,
            encoding: None,
            body: Arc::new(|_| {
                let vector = format!("[{}],", vec!["0.0123456789012345678"; 4096].join(","));
                repeated(&vector, 5_000_000)
            }),
        });
        let mut worker = worker(&stage, shell, &url);
        worker.wait(PATIENCE);
        let reason: String = stage
            .sql
            .query_one(
                "select details->>'error_reason' from ai.vectorizer_errors",
                &[],
            )
            .unwrap()
            .get(0);
        assert!(reason.contains("dimensions => 4096"), "{shell}: {reason}");
    }
}
