//! From the application's COMMIT to the vector in the store, with the worker idle:
//! `cargo bench -p tests --bench latency`. Median and 99th percentile of both workers, with a
//! provider that answers at once.

use std::thread;
use std::time::{Duration, Instant};

use tests::postgres::Server;
use tests::process::Process;
use tests::stub::Stub;

const CHANGES: usize = 100;
/// Between two changes, so that the worker has gone to sleep.
const PAUSE: Duration = Duration::from_millis(400);

#[expect(clippy::print_stdout, reason = "a bench prints what it measures")]
fn main() {
    println!(
        "{:<18} {:>10} {:>10} {:>10}",
        "commit to visible", "median ms", "p99 ms", "max ms"
    );
    for binary in ["worker", "worker-blocking"] {
        let mut times = measure(binary);
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        println!(
            "{binary:<18} {:>10.1} {:>10.1} {:>10.1}",
            at(50),
            at(99),
            at(100)
        );
    }
}

fn measure(binary: &str) -> Vec<Duration> {
    let database = Server::shared().database();
    database.install();
    let stub = Stub::start_with(768);
    let mut sql = database.client();
    sql.batch_execute(
        "create table t (id int primary key, body text); insert into t values (1, 'start');
         select ai.create_vectorizer('t', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 768), destination => ai.destination_table(target_table => 't_store'))",
    )
    .expect("a vectorizer is created");
    let (url, ollama) = (database.url().to_owned(), stub.url());
    let environment = [("DB_URL", url.as_str()), ("OLLAMA_HOST", ollama.as_str())];
    let _worker = Process::worker(binary, &["--poll-interval", "60"], &environment);
    database.wait_until(
        "(select count(*) = 1 from t_store)",
        Duration::from_secs(60),
    );
    let visible = sql
        .prepare("select exists (select from t_store where chunk = $1)")
        .expect("a statement");
    (0..CHANGES)
        .map(|change| {
            thread::sleep(PAUSE);
            let text = format!("change {change}");
            sql.execute("update t set body = $1", &[&text])
                .expect("an update");
            let committed = Instant::now();
            while !sql
                .query_one(&visible, &[&text])
                .expect("a look at the store")
                .get::<_, bool>(0)
            {
                assert!(
                    committed.elapsed() < Duration::from_secs(60),
                    "the change is never embedded"
                );
                thread::sleep(Duration::from_micros(500));
            }
            committed.elapsed()
        })
        .collect()
}
