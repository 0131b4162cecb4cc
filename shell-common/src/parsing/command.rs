//! `worker parse`.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use pgai_core::{Parse, log};
use serde_json::json;

use super::{Document, Hints, Options, Parsers};
use crate::program::Failure;

/// Prints each file; those that fail are named on stderr, and the exit code is 1.
pub(super) fn print(parse: &Parse) -> Result<ExitCode, Failure> {
    let mut options = Options {
        children_max: 1,
        memory: parse.memory as u64,
        wall: parse.timeout,
        ..Options::default()
    };
    options.cpu = options.cpu.max(parse.timeout);
    let input_max = options.input_max;
    let parsers = Parsers::new(options);
    let mut failed = 0;
    for file in &parse.files {
        let done = read(file, input_max).and_then(|bytes| {
            let name = Some(file.as_str()).filter(|name| *name != "-");
            let hints = Hints {
                name,
                content_type: parse.content_type.as_deref(),
            };
            parsers
                .parse(&bytes, &hints)
                .map_err(|failure| failure.reason)
        });
        match done {
            Ok(document) => write(&shown(file, &document, parse.json))?,
            Err(reason) => {
                failed += 1;
                let line = log::printable(&format!("error: {file}: {reason}"));
                // If stderr is closed, only the exit code reports the error.
                let _ = writeln!(io::stderr(), "{line}");
            }
        }
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read(file: &str, input_max: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let most = input_max as u64 + 1;
    let done = match file {
        "-" => io::stdin().lock().take(most).read_to_end(&mut bytes),
        path => std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)),
    };
    done.map(|_| bytes)
        .map_err(|error| format!("reading it: {error}"))
}

fn shown(file: &str, document: &Document, is_json: bool) -> String {
    if !is_json {
        return document.markdown.clone();
    }
    let pages = document
        .pages
        .iter()
        .map(|page| json!({"page": page.number, "start": page.start}));
    let line = json!({
        "file": file,
        "title": document.title,
        "pages": pages.collect::<Vec<_>>(),
        "markdown": document.markdown,
    });
    format!("{line}\n")
}

fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    // A file may hold what a terminal obeys.
    let shown = if stdout.is_terminal() {
        log::printable(text)
    } else {
        text.to_owned()
    };
    stdout
        .write_all(shown.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::Failed(format!("writing: {error}")))
}
