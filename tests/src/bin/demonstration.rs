//! The README's demonstration: search by meaning over a live table, without a server of yours and
//! without a key. `./demo.sh` builds what it needs and runs it.

use std::io::{self, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use postgres::Client;
use tests::minilm;
use tests::postgres::Server;

/// PostgreSQL's own functions, with what its catalog says of them.
const TABLE: &str = "\
create table functions (signature text primary key, description text not null);
insert into functions
select distinct on (1) format('%s(%s)', p.proname, pg_get_function_arguments(p.oid)), d.description
from pg_proc p
join pg_description d on d.objoid = p.oid and d.classoid = 'pg_proc'::regclass
where p.pronamespace = 'pg_catalog'::regnamespace
order by 1, p.oid";

const QUESTIONS: [&str; 3] = [
    "turn text into upper case",
    "how big is a table on disk",
    "stop another session's query",
];

/// What the row of the last step says, before and after.
const CHANGED: (&str, &str) = ("upper(text)", "bakes a loaf of sourdough bread");

fn main() -> Result<()> {
    let worker = std::env::args()
        .nth(1)
        .context("usage: demonstration PATH_OF_THE_WORKER")?;
    say("PostgreSQL 18 with pgvector, of its own, and the model all-MiniLM-L6-v2 (fetched once)");
    let server = Server::start(18);
    let models = minilm::models_dir()?;
    let mut sql = server.client();
    let worker = Worker {
        path: worker,
        url: server.url().to_owned(),
        models: models.to_str().context("a path in UTF-8")?.to_owned(),
    };

    say("The schema ai");
    worker.run(&["install"])?;

    say("A table: PostgreSQL's own functions and their descriptions");
    sql.batch_execute(TABLE)?;
    let rows: i64 = sql.query_one("select count(*) from functions", &[])?.get(0);
    tell(&format!("{rows} rows"))?;

    let vectorizer = vectorizer();
    say("A vectorizer on it");
    tell(&vectorizer)?;
    sql.batch_execute(&vectorizer)?;

    say("The worker embeds what is there");
    worker.run(&["--once", "--log-level", "warning"])?;
    worker.run(&["status"])?;

    for question in QUESTIONS {
        say(&format!("{question:?}"));
        worker.run(&["search", "functions", question, "-k", "3"])?;
    }

    follow_a_change(&worker, &mut sql)
}

fn vectorizer() -> String {
    format!(
        "select ai.create_vectorizer('functions', name => 'functions',
  loading => ai.loading_column('description'),
  formatting => ai.formatting_python_template('$signature: $chunk'),
  embedding => ai.embedding_sentence_transformers('{}', {}))",
        minilm::NAME,
        minilm::DIMENSIONS
    )
}

/// The worker runs, a row changes, and its vector follows.
fn follow_a_change(worker: &Worker, sql: &mut Client) -> Result<()> {
    let (signature, description) = CHANGED;
    say(&format!(
        "The worker runs on. Now {signature} {description}:"
    ));
    let running = worker.start(&["--poll-interval", "60", "--log-level", "error"])?;
    // Until it has the model in memory and looks at the queue, a change would wait for that.
    sql.execute(
        "update functions set description = description || '.' where signature = $1",
        &[&signature],
    )?;
    wait(sql, "select count(*) = 0 from ai._vectorizer_q_1")?;
    sql.execute(
        "update functions set description = $2 where signature = $1",
        &[&signature, &description],
    )?;
    let began = Instant::now();
    wait(
        sql,
        &format!(
            "select exists (select from functions_embedding_store where chunk like '%{description}')"
        ),
    )?;
    tell(&format!(
        "its vector is there {:.0} ms after the change\n",
        began.elapsed().as_secs_f64() * 1000.0
    ))?;
    worker.run(&["search", "functions", "fresh bread", "-k", "1"])?;
    worker.run(&["search", "functions", QUESTIONS[0], "-k", "1"])?;
    drop(running);
    Ok(())
}

fn wait(sql: &mut Client, condition: &str) -> Result<()> {
    let began = Instant::now();
    while !sql.query_one(condition, &[])?.get::<_, bool>(0) {
        ensure!(
            began.elapsed() < Duration::from_secs(60),
            "not so after a minute: {condition}"
        );
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

struct Worker {
    path: String,
    url: String,
    models: String,
}

/// A worker that runs until this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has nothing in flight any more, and its database goes, too.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Worker {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env("DB_URL", &self.url)
            .env("PGAI_MODELS_DIR", &self.models);
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let shown: Vec<String> = arguments
            .iter()
            .map(|argument| match argument.contains(' ') {
                true => format!("{argument:?}"),
                false => (*argument).to_owned(),
            })
            .collect();
        tell(&format!("$ worker {}", shown.join(" ")))?;
        let status = self
            .command(arguments)
            .status()
            .with_context(|| format!("starting {}", self.path))?;
        if !status.success() {
            bail!("worker {}: {status}", shown.join(" "));
        }
        Ok(())
    }

    fn start(&self, arguments: &[&str]) -> Result<Running> {
        Ok(Running(self.command(arguments).spawn()?))
    }
}

fn say(step: &str) {
    // Where nobody reads, there is nobody to tell.
    let _ = tell(&format!("\n== {step}"));
}

fn tell(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}
