//! docs/reference.md and docs/troubleshooting.md say what the program knows.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use pgai_core::Command;

fn page(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name)
}

/// A text of an option as a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

/// The options of a command as a table.
fn options(command: &clap::Command, with_variables: bool) -> String {
    let mut text = String::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        if matches!(id, "help" | "version") {
            continue;
        }
        let values = argument.get_value_names().unwrap_or_default();
        let takes_value = argument.get_action().takes_values();
        let value = values.first().filter(|_| takes_value);
        let value = value.map_or_else(String::new, |value| format!(" {value}"));
        let name = match (argument.get_short(), argument.get_long()) {
            (Some(short), Some(long)) => format!("`-{short}`, `--{long}{value}`"),
            (None, Some(long)) => format!("`--{long}{value}`"),
            (Some(short), None) => format!("`-{short}{value}`"),
            (None, None) => format!("`{}`", value.trim()),
        };
        let help = argument
            .get_help()
            .map_or_else(String::new, ToString::to_string);
        let defaults = argument.get_default_values().iter();
        let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
        let default = defaults.join(",");
        let default = match default.as_str() {
            _ if !takes_value => String::new(),
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let variable = Command::variable(id).filter(|_| with_variables);
        let variable = variable.map_or_else(String::new, |name| format!("`{name}`"));
        if with_variables {
            writeln!(
                text,
                "| {name} | {} | {default} | {variable} |",
                cell(&help)
            )
            .unwrap();
        } else {
            writeln!(text, "| {name} | {} | {default} |", cell(&help)).unwrap();
        }
    }
    text
}

/// The part of the page that is made from the options.
fn expected() -> String {
    let command = Command::definition("worker", "1");
    let mut text = String::from("| option | | default | variable |\n|---|---|---|---|\n");
    text += &options(&command, true);
    text += "\n## Commands\n\nEvery command takes `--db-url` and the options that concern it.\n";
    for command in command.get_subcommands() {
        let name = command.get_name();
        let about = command
            .get_about()
            .map_or_else(String::new, ToString::to_string);
        writeln!(text, "\n### `worker {name}`\n\n{}.", cell(&about)).unwrap();
        let own = options(command, false);
        if !own.is_empty() {
            write!(text, "\n| argument | | default |\n|---|---|---|\n{own}").unwrap();
        }
    }
    text
}

#[test]
fn the_reference_has_every_option_command_and_variable() {
    let path = page("reference.md");
    let text = fs::read_to_string(&path).unwrap();
    let begin = text.find("## Options\n\n").unwrap() + "## Options\n\n".len();
    let end = text.find("\n## Other variables").unwrap_or(text.len());
    let expected = expected();
    if std::env::var_os("PGAI_WRITE_DOCS").is_some() {
        fs::write(
            &path,
            format!("{}{expected}{}", &text[..begin], &text[end..]),
        )
        .unwrap();
        return;
    }
    let wrong = expected
        .lines()
        .find(|line| !text[begin..end].contains(line));
    assert!(
        text[begin..end] == expected,
        "docs/reference.md is not up to date ({wrong:?}): PGAI_WRITE_DOCS=1 cargo test -p tests --test reference"
    );
}

/// Headings of a page as the anchors of links to them, by GitHub's rule.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    headings
        .map(|heading| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    for entry in fs::read_dir(page("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.starts_with("http") || link.contains(' ') {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.with_file_name("").join(file)
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                assert!(
                    anchors(&text).iter().any(|one| one == anchor),
                    "{}: {link}",
                    path.display()
                );
            }
        }
    }
}
