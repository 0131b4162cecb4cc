//! Messages, as mail servers store them.

use mail_parser::{Address, MessageParser, MimeHeaders as _, PartType};

use crate::error::Error;
use crate::kind::Kind;
use crate::{Document, html};

/// Reads a message: its subject as the title, who wrote it to whom and when, its text, and the
/// names of what is attached. Attachments are not read.
pub(crate) fn parse(bytes: &[u8]) -> Result<Document, Error> {
    let message = MessageParser::default()
        .parse(bytes)
        .ok_or_else(|| Error::Broken {
            kind: Kind::Mail,
            reason: "it has no header".to_owned(),
        })?;
    let mut parts = Vec::new();
    let title = message.subject().map(one_line);
    parts.extend(title.as_ref().map(|subject| format!("# {subject}")));
    let mut fields = Vec::new();
    for (name, address) in [
        ("From", message.from()),
        ("To", message.to()),
        ("Cc", message.cc()),
    ] {
        fields.extend(address.map(|address| format!("{name}: {}", people(address))));
    }
    fields.extend(
        message
            .date()
            .map(|date| format!("Date: {}", date.to_rfc3339())),
    );
    if !fields.is_empty() {
        parts.push(fields.join("\n"));
    }
    // Of a message in two forms the HTML one has the structure.
    let is_html = |part: &&mail_parser::MessagePart<'_>| matches!(part.body, PartType::Html(_));
    let bodies: Vec<_> = message.html_bodies().filter(is_html).collect();
    if bodies.is_empty() {
        let texts = (0..message.text_body.len()).filter_map(|at| message.body_text(at));
        parts.extend(texts.map(|text| text.replace("\r\n", "\n").trim().to_owned()));
    }
    for body in bodies {
        let PartType::Html(body) = &body.body else {
            continue;
        };
        parts.push(html::parse(body)?.markdown.trim().to_owned());
    }
    let names = message
        .attachments()
        .filter_map(|part| part.attachment_name());
    let names: Vec<_> = names.map(|name| format!("- {}", one_line(name))).collect();
    if !names.is_empty() {
        parts.push(format!("Attachments (not read):\n\n{}", names.join("\n")));
    }
    parts.retain(|part| !part.is_empty());
    let mut document = Document::from(parts.join("\n\n"));
    document.title = title;
    Ok(document)
}

fn people(address: &Address<'_>) -> String {
    let people = address.iter().map(|one| match (one.name(), one.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => String::new(),
    });
    one_line(&people.collect::<Vec<_>>().join(", "))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
