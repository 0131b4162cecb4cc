//! S3 with the credentials of a user, of a profile, and of a role.

use tests::pdf::lines;
use tests::python;
use tests::stage::Stage;
use tests::stub::Stub;

use crate::{PAGE, Store, assert_outcomes, assert_unchanged, gzip, once, stage_of};

const DUCKS: &str = "# Ducks\n\nA mallard is a duck.";

fn server() -> Store {
    Store::start(
        "s3_server",
        &[
            ("docs", "a.html", PAGE.as_bytes()),
            ("docs", "deep er/ü+%20&?.txt", b"odd"),
            ("docs", "a.html.gz", &gzip(PAGE)),
            ("docs", "bomb.txt.GZ", &gzip(&"0".repeat(200_000))),
            ("docs", "broken.txt.gz", &gzip(PAGE)[..40]),
            ("docs", "large.txt", "0".repeat(10_001).as_bytes()),
            ("other", "b.txt", b"bbb"),
        ],
    )
}

fn environment<'a>(store: &'a Store, who: &str) -> [(&'static str, &'a str); 3] {
    [
        ("AWS_ENDPOINT_URL", store.said("/url")),
        ("AWS_ACCESS_KEY_ID", store.said(&format!("/{who}/id"))),
        (
            "AWS_SECRET_ACCESS_KEY",
            store.said(&format!("/{who}/secret")),
        ),
    ]
}

#[test]
fn objects_are_loaded_with_signed_requests() {
    let store = server();
    let mut stage = stage_of(
        &[
            "s3://docs/a.html",
            "s3://docs/deep er/ü+%20&?.txt",
            "s3a://other/b.txt",
            "s3://docs/none.txt",
            "s3://nowhere/a.txt",
            "s3://docs/a.html.gz",
            "s3://docs/bomb.txt.GZ",
            "s3://docs/broken.txt.gz",
            "s3://docs/large.txt",
            "s3://docs/../other/b.txt",
        ],
        "",
    );
    let limit = ["--max-document-size", "10000"];
    once(&stage, &limit, &environment(&store, "reader"));
    assert_outcomes(
        &mut stage,
        &[
            Ok(DUCKS),
            Ok("odd"),
            Ok("bbb"),
            Err("s3://docs: 404 NoSuchKey: there is no such object"),
            Err("404 NoSuchBucket: there is no such bucket"),
            Ok(DUCKS),
            Err("--max-document-size"),
            Err("cannot be unpacked"),
            Err("--max-document-size"),
            Err(".. between slashes"),
        ],
    );
}

#[test]
fn refusals_of_credentials_are_told_apart() {
    let store = server();
    let address = ["s3://docs/a.html"];
    let mut wrong = environment(&store, "reader");
    wrong[2].1 = "another secret";
    let mut unknown = environment(&store, "reader");
    unknown[1].1 = "AKIAUNKNOWNUNKNOWN00";
    for (environment, words) in [
        (
            &environment(&store, "nobody")[..],
            "403 AccessDenied: the worker's credentials may not read it",
        ),
        (
            &wrong,
            "SignatureDoesNotMatch: the secret key does not belong to the id",
        ),
        (&unknown, "InvalidAccessKeyId: the store does not know"),
        (&[], "this worker has no credentials for S3"),
    ] {
        let mut stage = stage_of(&address, "");
        once(&stage, &[], environment);
        assert_outcomes(&mut stage, &[Err(words)]);
    }
}

#[test]
fn patterns_of_the_operator_narrow_the_store() {
    let store = server();
    let mut stage = stage_of(
        &["s3://docs/a.html", "s3://other/b.txt", "s3n://other/b.txt"],
        "",
    );
    let allow = ["--allow-uri", "s3://docs/*.html"];
    once(&stage, &allow, &environment(&store, "reader"));
    let refused = Err("its --allow-uri names others of s3://");
    assert_outcomes(&mut stage, &[Ok(DUCKS), refused, refused]);
}

#[test]
fn a_profile_has_the_keys() {
    let store = server();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("credentials");
    let keys = format!(
        "[papers]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        store.said("/reader/id"),
        store.said("/reader/secret")
    );
    std::fs::write(&file, keys).unwrap();
    let mut stage = stage_of(&["s3://docs/a.html"], "");
    let environment = [
        ("AWS_ENDPOINT_URL_S3", store.said("/url")),
        ("AWS_PROFILE", "papers"),
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
    ];
    once(&stage, &[], &environment);
    assert_outcomes(&mut stage, &[Ok(DUCKS)]);
}

#[test]
fn an_instance_of_ec2_has_a_role() {
    let store = server();
    let environment = [
        ("AWS_ENDPOINT_URL", store.said("/url")),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", store.said("/instance")),
    ];
    // (Two rows would ask for keys at the same time.)
    let mut stage = stage_of(&["s3://docs/a.html"], "");
    once(&stage, &[], &environment);
    assert_outcomes(&mut stage, &[Ok(DUCKS)]);
    let lines = store.process.lines();
    let asked = lines.iter().filter(|line| line.starts_with("instance"));
    assert_eq!(asked.count(), 3, "{lines:?}");
}

#[test]
fn a_role_reads_what_the_user_may_not() {
    let store = server();
    let role = format!(", aws_role_arn => '{}'", store.said("/role"));
    let external = |id| {
        let [endpoint, key, secret] = environment(&store, "nobody");
        [endpoint, key, secret, ("AWS_ASSUME_ROLE_EXTERNAL_ID", id)]
    };
    let mut stage = stage_of(&["s3://docs/a.html", "s3://other/b.txt"], &role);
    once(&stage, &[], &external("another-id"));
    let refused = Err("is not taken on: 403 AccessDenied");
    assert_outcomes(&mut stage, &[refused, refused]);
    let mut stage = stage_of(&["s3://docs/a.html", "s3://other/b.txt"], &role);
    once(&stage, &[], &external("an-id/1"));
    assert_outcomes(&mut stage, &[Ok(DUCKS), Ok("bbb")]);
}

/// The block of docs/documents.md that creates this table.
fn block_of_manual() -> &'static str {
    let manual = include_str!("../../../docs/documents.md");
    let mut all = python::blocks(manual).into_iter();
    let found = all.find(|(_, block)| block.starts_with("create table paper"));
    found.unwrap().1
}

#[test]
fn the_example_of_the_manual_runs_as_written() {
    let store = Store::start(
        "s3_server",
        &[
            ("papers", "2024/ducks.pdf", &lines("A mallard is a duck")),
            ("papers", "2024/geese.txt.gz", &gzip("A goose is no duck.")),
        ],
    );
    let mut stage = Stage::new();
    stage.stub = Stub::start_with(768);
    stage.run(block_of_manual());
    let allow = ["--allow-uri", "s3://papers/*"];
    once(&stage, &allow, &environment(&store, "reader"));
    let statement = "select chunk from paper_embeddings order by id";
    let rows = stage.sql.query(statement, &[]).unwrap();
    let chunks: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(chunks.len(), 2, "{chunks:?}");
    assert!(chunks[0].contains("A mallard is a duck"), "{chunks:?}");
    assert_eq!(chunks[1].trim(), "A goose is no duck.");
}

/// The example of pgai's page on embedding documents.
#[test]
fn the_documented_example_of_pgai_runs_as_written() {
    let manual = "# Manual\n\nTurn it on.\n";
    let store = Store::start(
        "s3_server",
        &[
            (
                "my-bucket",
                "documents/product-manual.pdf",
                &lines("How to turn it on"),
            ),
            ("my-bucket", "documents/api-reference.md", manual.as_bytes()),
        ],
    );
    let mut stage = Stage::new();
    stage.stub = Stub::start_with(768);
    stage.run(
        "CREATE TABLE document (
             id SERIAL PRIMARY KEY,
             title TEXT NOT NULL,
             uri TEXT NOT NULL,
             content_type TEXT,
             created_at TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP,
             updated_at TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP,
             owner_id INTEGER,
             access_level TEXT,
             tags TEXT[]
         );
         INSERT INTO document (title, uri, content_type, owner_id, access_level, tags) VALUES
             ('Product Manual', 's3://my-bucket/documents/product-manual.pdf', 'application/pdf', 12, 'internal', ARRAY['product', 'reference']),
             ('API Reference', 's3://my-bucket/documents/api-reference.md', 'text/markdown', 8, 'public', ARRAY['api', 'developer']);
         SELECT ai.create_vectorizer(
             'document'::regclass,
             loading => ai.loading_uri(column_name => 'uri'),
             parsing => ai.parsing_auto(),
             chunking => ai.chunking_recursive_character_text_splitter(
                 chunk_size => 700,
                 separators => array[E'\\n## ', E'\\n### ', E'\\n#### ', E'\\n- ', E'\\n1. ', E'\\n\\n', E'\\n', '.', '?', '!', ' ', '', '|']
             ),
             embedding => ai.embedding_openai('text-embedding-3-small', 768),
             destination => ai.destination_table('document_embeddings')
         );",
    );
    let openai = stage.stub.openai_url();
    let mut all = environment(&store, "reader").to_vec();
    all.extend([
        ("OPENAI_BASE_URL", openai.as_str()),
        ("OPENAI_API_KEY", "sk-test"),
    ]);
    once(&stage, &[], &all);
    let rows = stage
        .sql
        .query(
            "SELECT title, chunk FROM document_embeddings ORDER BY title",
            &[],
        )
        .unwrap();
    let rows: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(
        rows[0],
        ("API Reference".to_owned(), manual.trim().to_owned())
    );
    assert!(rows[1].1.contains("How to turn it on"), "{rows:?}");
}

#[test]
fn unchanged_objects_are_not_loaded_again() {
    let store = server();
    let addresses = [
        "s3://docs/a.html",
        "s3://docs/a.html.gz",
        "s3://other/b.txt",
    ];
    let mut stage = stage_of(&addresses, ", refresh => '1 hour'");
    let environment = environment(&store, "reader");
    once(&stage, &[], &environment);
    assert_outcomes(&mut stage, &[Ok(DUCKS), Ok(DUCKS), Ok("bbb")]);
    assert_unchanged(&mut stage, &environment);
}
