//! What docs/applications.md shows, word for word: SQL, a question over HTTP, and an application with Django.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs;
use std::process::Command;

use tests::postgres::{Database, Server};
use tests::process::Process;
use tests::python;
use tests::stub::{Stub, vector_of};

const MANUAL: &str = include_str!("../../docs/applications.md");
const DIMENSIONS: usize = 768;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// What the application had before.
const INITIAL: &str = "
from django.db import migrations

class Migration(migrations.Migration):
    operations = [migrations.RunSQL('''
        create table blog (id bigint generated always as identity primary key, title text, body text);
        insert into blog (title, body) values ('Bread', 'Knead the dough.'), ('Tides', 'The moon pulls the sea.')''')]
";

const SETTINGS: &str = "
import os
from urllib.parse import urlparse
url = urlparse(os.environ['TEST_DATABASE_URL'])
DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql', 'NAME': url.path[1:], 'USER': url.username,
    'HOST': url.hostname, 'PORT': url.port}}
INSTALLED_APPS = ['blog']
";

const SEARCH: &str = "
import json, sys, django
django.setup()
from blog.models import nearest
for chunk in nearest(json.loads(sys.argv[1]), 1):
    print(chunk.title, chunk.chunk, chunk.id, sep=' | ')
";

fn embed(database: &Database, stub: &Stub) {
    let environment = [("DB_URL", database.url()), ("OLLAMA_HOST", &stub.url())];
    let mut worker = Process::worker("worker", &["--once"], &environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
}

#[test]
fn an_application_with_django_migrates_and_searches() {
    let database = Server::shared().database();
    let stub = Stub::start_with(DIMENSIONS);
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let of_manual = |name: &str| python::block(MANUAL, name).unwrap();
    let setup = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/setup.sql");
    write("settings.py", SETTINGS);
    write("search.py", SEARCH);
    write("blog/__init__.py", "");
    write("blog/models.py", &of_manual("models.py"));
    write("blog/migrations/__init__.py", "");
    write("blog/migrations/0001_initial.py", INITIAL);
    write(
        "blog/migrations/0002_vectors.py",
        &of_manual("0002_vectors.py"),
    );
    write(
        "blog/migrations/setup.sql",
        &fs::read_to_string(setup).unwrap(),
    );
    let packages = [python::DRIVERS, &["Django==5.2.19"]].concat();
    let interpreter = python::with(&packages).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(&interpreter)
            .args(arguments)
            .current_dir(directory.path())
            .env("PYTHONPATH", directory.path())
            .env("DJANGO_SETTINGS_MODULE", "settings")
            .env("TEST_DATABASE_URL", database.url())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["-m", "django", "migrate"]);
    embed(&database, &stub);
    let question = serde_json::json!(vector_of("The moon pulls the sea.", DIMENSIONS)).to_string();
    let found = run(&["search.py", &question]);
    assert_eq!(found.trim_end(), "Tides | The moon pulls the sea. | 2");
    // Django notes the model in a migration, which changes nothing in the database.
    run(&["-m", "django", "makemigrations", "blog"]);
    run(&["-m", "django", "migrate"]);
    assert_eq!(run(&["search.py", &question]), found);
    run(&["-m", "django", "migrate", "blog", "0001"]);
    let gone = "select to_regclass('blog_embeddings') is null";
    assert!(
        database
            .client()
            .query_one(gone, &[])
            .unwrap()
            .get::<_, bool>(0)
    );
}

#[test]
fn a_question_over_http_finds_each_row_once() {
    let database = Server::shared().database();
    database.install();
    let stub = Stub::start_with(DIMENSIONS);
    let mut client = database.client();
    client
        .batch_execute(
            "create table blog (id bigint generated always as identity primary key, title text, body text);
             insert into blog (title, body) values ('Bread', 'Knead the dough.'),
               ('Tides', E'The moon pulls.\\n\\nThe sea follows.');
             select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', 768),
               chunking => ai.chunking_character_text_splitter(15, 0, E'\\n\\n'),
               destination => ai.destination_table('blog_embeddings'))",
        )
        .unwrap();
    embed(&database, &stub);
    let done = python::block(MANUAL, "done.sql").unwrap();
    assert!(client.query_one(&done, &[]).unwrap().get::<_, bool>(0));

    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("question.py");
    fs::write(&script, python::block(MANUAL, "question.py").unwrap()).unwrap();
    let output = Command::new("python3")
        .arg(&script)
        .arg("The sea follows.")
        .env("OLLAMA_HOST", stub.url())
        .env("MODEL", "stub")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let question = String::from_utf8(output.stdout).unwrap();
    let question = question.trim();
    assert_eq!(
        client
            .query_one("select count(*) from blog_embeddings", &[])
            .unwrap()
            .get::<_, i64>(0),
        3
    );
    for (name, first) in [("search.sql", "Tides"), ("nearest.sql", "Bread")] {
        let sql = python::block(MANUAL, name).unwrap();
        // As a client that sends text: the parameter is a vector.
        let sql = sql.replace("$1::vector", &format!("'{question}'::vector"));
        let rows = client.query(&sql, &[]).unwrap();
        let titles: Vec<String> = rows.iter().map(|row| row.get("title")).collect();
        assert_eq!(
            (titles.len(), titles[0].as_str()),
            (2, first),
            "{name}: {titles:?}"
        );
    }
}
