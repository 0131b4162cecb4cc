//! A database with a table of texts, a stub provider, and workers on them.

use std::time::Duration;

use postgres::Client;
use tests::postgres::{Database, Server};
use tests::process::Process;
use tests::stub::{Stub, vector_of};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const DIMENSIONS: usize = 8;

pub(crate) struct Stage {
    pub(crate) database: Database,
    pub(crate) sql: Client,
    pub(crate) stub: Stub,
}

impl Stage {
    /// An installed database and a provider.
    pub(crate) fn new() -> Self {
        let database = Server::shared().database();
        database.install();
        let sql = database.client();
        Self {
            database,
            sql,
            stub: Stub::start_with(DIMENSIONS),
        }
    }

    /// With the table `blog (id, title, body, views)` and a vectorizer that makes a chunk of every
    /// paragraph, into `blog_store`.
    pub(crate) fn with_blog() -> Self {
        let mut stage = Self::new();
        stage.run(
            "create table blog (id int primary key, title text, body text, views int default 0)",
        );
        stage.run(&format!(
            "select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
               chunking => ai.chunking_character_text_splitter(40, 0, E'\\n\\n'),
               formatting => ai.formatting_python_template('$title: $chunk'),
               destination => ai.destination_table(target_table => 'blog_store'))"
        ));
        stage
    }

    #[track_caller]
    pub(crate) fn run(&mut self, sql: &str) {
        if let Err(error) = self.sql.batch_execute(sql) {
            panic!("{sql}: {error:?}");
        }
    }

    #[track_caller]
    pub(crate) fn number(&mut self, sql: &str) -> i64 {
        self.sql
            .query_one(sql, &[])
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get(0)
    }

    /// Starts a worker on this database.
    pub(crate) fn worker(&self, shell: &str, arguments: &[&str]) -> Process {
        self.worker_with(shell, arguments, &[])
    }

    pub(crate) fn worker_with(
        &self,
        shell: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Process {
        let url = self.stub.url();
        let mut all = vec![
            ("DB_URL", self.database.url()),
            ("OLLAMA_HOST", url.as_str()),
        ];
        all.extend(environment);
        Process::worker(shell, arguments, &all)
    }

    /// Runs a worker with `--once` to its end, which must be a good one.
    #[track_caller]
    pub(crate) fn once(&self, shell: &str) -> Process {
        let mut worker = self.worker(shell, &["--once"]);
        let status = worker.wait(PATIENCE);
        assert_eq!(status.code(), Some(0));
        worker
    }

    /// Waits until nothing is queued.
    #[track_caller]
    pub(crate) fn wait_until_done(&self) {
        self.database.wait_until(
            "(select bool_and(ai.vectorizer_queue_pending(id, true) = 0) from ai.vectorizer)",
            PATIENCE,
        );
    }

    /// The rows of the store in order: key, place, text.
    #[track_caller]
    pub(crate) fn store(&mut self) -> Vec<(i32, i32, String)> {
        let rows = self
            .sql
            .query(
                "select id, chunk_seq, chunk, embedding::real[] from blog_store order by 1, 2",
                &[],
            )
            .unwrap();
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
    pub(crate) fn wanted(&mut self) -> Vec<(i32, i32, String)> {
        let rows = self
            .sql
            .query(
                "select id, (piece.place - 1)::int, coalesce(title, 'None') || ': ' || piece.text
                 from blog, string_to_table(body, E'\\n\\n') with ordinality as piece(text, place)
                 where piece.text <> '' order by 1, 2",
                &[],
            )
            .unwrap();
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    }

    #[track_caller]
    pub(crate) fn assert_true(&mut self) {
        assert_eq!(self.store(), self.wanted());
        assert_eq!(self.stub.complaints(), Vec::<String>::new());
    }
}

/// Thirty characters, so that two never share a chunk.
pub(crate) fn paragraph(of: &str) -> String {
    format!("{of:.<30}")
}
