//! `worker parse`, as it is shipped.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tests::process::worker_path;

use crate::files::{slow_pdf, small_pdf, wide_csv};

fn parse(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(worker_path("worker"))
        .arg("parse")
        .args(arguments)
        .env("PGAI_NO_ENV_FILE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It need not read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn it_prints_files_and_names_those_that_fail() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("a.pdf"), small_pdf()).unwrap();
    fs::write(path("b.csv"), "Year,Ducks\n2019,120\n").unwrap();
    fs::write(path("c.png"), "\u{89}PNG").unwrap();
    fs::write(path("d.gif"), "GIF89a").unwrap();
    let table = "| Year | Ducks |\n| --- | --- |\n| 2019 | 120 |\n";
    let output = parse(
        &[
            &path("a.pdf"),
            &path("d.gif"),
            &path("nowhere"),
            &path("b.csv"),
        ],
        b"",
    );
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(out.starts_with("# Ducks\n"), "{out}");
    assert!(out.ends_with(table), "{out}");
    assert!(errors.contains("d.gif: the file is an image"), "{errors}");
    assert!(
        errors.contains("nowhere: reading it: No such file"),
        "{errors}"
    );
    assert_eq!(output.status.code(), Some(1));
    let output = parse(&["--json", &path("a.pdf")], b"");
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["title"], "Ducks");
    assert_eq!(line["pages"], json!([{"page": 1, "start": 0}]));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn it_reads_its_input_with_a_content_type() {
    let output = parse(&["-", "--content-type", "text/csv"], b"a,b\n1,2\n");
    assert_eq!(
        text(&output.stdout),
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
    );
    let output = parse(
        &["-", "--content-type", "text/asciidoc; charset=iso-8859-1"],
        b"= Gr\xfc\xdfe",
    );
    assert_eq!(text(&output.stdout), "# Grüße\n");
}

#[test]
fn its_limits_are_options() {
    let output = parse(&["-", "--timeout", "500ms"], &slow_pdf());
    assert!(
        text(&output.stderr).contains("longer than 500ms"),
        "{output:?}"
    );
    let csv = ["-", "--memory", "300MB", "--content-type", "text/csv"];
    let output = parse(&csv, &wide_csv());
    assert!(
        text(&output.stderr).contains("parsing needs more than"),
        "{output:?}"
    );
}
