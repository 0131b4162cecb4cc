//! A database with a table of texts, a stub provider, and workers on them.

use std::time::Duration;

use postgres::Client;

use crate::postgres::{Database, Server};
use crate::process::Process;
use crate::stub::{Stub, vector_of};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How many numbers the stub's vectors have.
pub const DIMENSIONS: usize = 8;

/// The role of the workers. Roles belong to the whole server: all tests have the same one.
const WORKER_ROLE: &str = "embedder";

const CREATE_WORKER_ROLE: &str = "do $$ begin create role embedder login; \
    exception when duplicate_object or unique_violation then null; end $$";

/// A database, a connection to it, and a provider.
pub struct Stage {
    /// The database, dropped with the stage.
    pub database: Database,
    /// A superuser's connection to it.
    pub sql: Client,
    /// The URL for the workers, whose role may do what `ai.grant_worker_usage` grants and nothing else.
    pub worker_url: String,
    /// The provider.
    pub stub: Stub,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// An installed database and a provider.
    pub fn new() -> Self {
        Self::on_server(Server::shared())
    }

    /// The same on this server.
    pub fn on_server(server: &Server) -> Self {
        let database = server.database();
        database.install();
        Self::on(database)
    }

    /// A provider for a database that is installed already.
    pub fn on(database: Database) -> Self {
        let mut sql = database.client();
        let grant = format!("select ai.grant_worker_usage('{WORKER_ROLE}')");
        sql.batch_execute(&format!("{CREATE_WORKER_ROLE}; {grant}"))
            .expect("granting what a worker needs");
        let worker_url = database
            .url()
            .replace("postgres@", &format!("{WORKER_ROLE}@"));
        assert_ne!(worker_url, database.url());
        Self {
            database,
            sql,
            worker_url,
            stub: Stub::start_with(DIMENSIONS),
        }
    }

    /// With the table `blog (id, title, body, views)` and a vectorizer that makes a chunk of every
    /// paragraph, into `blog_store`.
    pub fn with_blog() -> Self {
        Self::with_blog_on(Server::shared())
    }

    /// The same on this server.
    pub fn with_blog_on(server: &Server) -> Self {
        let mut stage = Self::on_server(server);
        stage.run(
            "create table blog (id int primary key, title text, body text, views int default 0)",
        );
        stage.create_blog();
        stage
    }

    /// Gives the table `blog` its vectorizer.
    #[track_caller]
    pub fn create_blog(&mut self) {
        self.run(&format!(
            "select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
               chunking => ai.chunking_character_text_splitter(40, 0, E'\\n\\n'),
               formatting => ai.formatting_python_template('$title: $chunk'),
               destination => ai.destination_table(target_table => 'blog_store'))"
        ));
    }

    /// Runs statements.
    #[track_caller]
    pub fn run(&mut self, sql: &str) {
        if let Err(error) = self.sql.batch_execute(sql) {
            panic!("{sql}: {error:?}");
        }
    }

    /// The one number that a query returns.
    #[track_caller]
    pub fn number(&mut self, sql: &str) -> i64 {
        self.sql
            .query_one(sql, &[])
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get(0)
    }

    /// Starts a worker on this database, with the worker's role.
    pub fn worker(&self, shell: &str, arguments: &[&str]) -> Process {
        self.worker_with(shell, arguments, &[])
    }

    /// The same with further environment variables.
    pub fn worker_with(
        &self,
        shell: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Process {
        let url = self.stub.url();
        let mut all = vec![
            ("DB_URL", self.worker_url.as_str()),
            ("OLLAMA_HOST", url.as_str()),
        ];
        all.extend(environment);
        Process::worker(shell, arguments, &all)
    }

    /// Runs a worker with `--once` to its end, which must be a good one.
    #[track_caller]
    pub fn once(&self, shell: &str) -> Process {
        let mut worker = self.worker(shell, &["--once"]);
        let status = worker.wait(PATIENCE);
        assert_eq!(status.code(), Some(0));
        worker
    }

    /// Waits until nothing is queued.
    #[track_caller]
    pub fn wait_until_done(&self) {
        self.database.wait_until(
            "(select bool_and(ai.vectorizer_queue_pending(id, true) = 0) from ai.vectorizer)",
            PATIENCE,
        );
    }

    /// The rows of the store in order: key, place, text.
    #[track_caller]
    pub fn store(&mut self) -> Vec<(i32, i32, String)> {
        let rows = self
            .sql
            .query(
                "select id, chunk_seq, chunk, embedding::real[] from blog_store order by 1, 2",
                &[],
            )
            .expect("a row");
        rows.iter()
            .map(|row| {
                let text: String = row.get(2);
                let vector: Vec<f32> = row.get(3);
                assert_eq!(
                    vector,
                    vector_of(&text, DIMENSIONS),
                    "the vector of {text:?}"
                );
                (row.get(0), row.get(1), text)
            })
            .collect()
    }

    /// The chunks that the table should have.
    pub fn wanted(&mut self) -> Vec<(i32, i32, String)> {
        let rows = self
            .sql
            .query(
                "select id, (piece.place - 1)::int, coalesce(title, 'None') || ': ' || piece.text
                 from blog, string_to_table(body, E'\\n\\n') with ordinality as piece(text, place)
                 where piece.text <> '' order by 1, 2",
                &[],
            )
            .expect("a row");
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    }

    /// The store holds what it should, and the provider had no reason to complain.
    #[track_caller]
    pub fn assert_true(&mut self) {
        assert_eq!(self.store(), self.wanted());
        assert_eq!(self.stub.complaints(), Vec::<String>::new());
    }
}

/// Thirty characters, so that two never share a chunk.
pub fn paragraph(of: &str) -> String {
    format!("{of:.<30}")
}
