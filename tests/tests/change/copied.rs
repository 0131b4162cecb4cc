//! Vectors are copied to another database, as docs/changing-a-vectorizer.md says, and nothing is paid twice.

use std::io::{Read as _, Write as _};

use tests::stage::Stage;

use super::stage;

pub(super) const CREATE: &str = "select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
    embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_character_text_splitter(40, 0, E'\\n\\n'),
    formatting => ai.formatting_python_template('$title: $chunk'),
    destination => ai.destination_table(target_table => 'blog_store'), enqueue_existing => false)";

/// The rows of a table, as COPY writes them.
pub(super) fn copied_out(from: &mut Stage, table: &str) -> Vec<u8> {
    let mut rows = vec![];
    let copy = format!("copy {table} to stdout with (format csv, header)");
    let mut reader = from.sql.copy_out(&copy).unwrap();
    reader.read_to_end(&mut rows).unwrap();
    rows
}

pub(super) fn copied_in(to: &mut Stage, table: &str, rows: &[u8]) {
    let copy = format!("copy {table} from stdin with (format csv, header match)");
    let mut writer = to.sql.copy_in(&copy).unwrap();
    writer.write_all(rows).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_copied_store_is_compared_and_only_what_differs_is_embedded() {
    let mut production = stage(5);
    let mut copy = Stage::new();
    copy.run("create table blog (id int primary key, title text, body text, views int default 0)");
    let rows = copied_out(&mut production, "blog");
    copied_in(&mut copy, "blog", &rows);
    // The store was copied a moment earlier.
    copy.run("update blog set title = 'newer' where id = 2; delete from blog where id = 3");
    copy.run(CREATE);
    let chunks = copied_out(&mut production, "blog_store");
    copied_in(&mut copy, "blog_store", &chunks);
    copy.run("select ai.resync_vectorizer('blog', verify_text => true)");
    copy.once("worker");
    copy.assert_true();
    let mut inputs = copy.stub.inputs();
    inputs.sort_unstable();
    assert_eq!(inputs.len(), 2, "{inputs:?}");
    assert!(
        inputs.iter().all(|input| input.starts_with("newer: 2")),
        "{inputs:?}"
    );
}
