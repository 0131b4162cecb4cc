//! What anydoc leaves in a package of Office Open XML: the title, the name of the only sheet of a
//! workbook, and comments on cells.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use zip::ZipArchive;

/// The bytes of a part that are read, unpacked. Larger ones are left out.
const PART_MAX: u64 = 16 << 20;

/// The comments that are read.
const COMMENTS_MAX: usize = 10_000;

/// The sheets whose comments are looked for.
const SHEETS_MAX: usize = 200;

/// A package.
pub(super) struct Package<'a>(ZipArchive<Cursor<&'a [u8]>>);

/// An element: its name without its namespace, its attributes, and the text within.
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    text: String,
}

impl<'a> Package<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        ZipArchive::new(Cursor::new(bytes)).ok().map(Self)
    }

    /// The title in the document's properties.
    pub(super) fn title(&mut self) -> Option<String> {
        let elements = self.elements("docProps/core.xml", &["title"]);
        let title = elements.into_iter().next()?.text.trim().to_owned();
        (!title.is_empty()).then_some(title)
    }

    /// The name of the only sheet; `None` if there are several.
    pub(super) fn only_sheet(&mut self) -> Option<String> {
        let mut sheets = self.elements("xl/workbook.xml", &["sheet"]);
        let first = sheets.pop()?;
        sheets
            .is_empty()
            .then(|| first.attributes.get("name").cloned())?
    }

    /// The comments on cells, sheet by sheet, as paragraphs.
    pub(super) fn comments(&mut self) -> Vec<String> {
        let people = self.elements("xl/persons/person.xml", &["person"]);
        let people: BTreeMap<_, _> = people
            .into_iter()
            .filter_map(|person| {
                let of = |name| person.attributes.get(name).cloned();
                Some((of("id")?, of("displayName")?))
            })
            .collect();
        let mut comments = Vec::new();
        for sheet in 1..=SHEETS_MAX {
            let relations = format!("xl/worksheets/_rels/sheet{sheet}.xml.rels");
            for relation in self.elements(&relations, &["Relationship"]) {
                let of = |name: &str| relation.attributes.get(name).map_or("", String::as_str);
                let part = of("Target").trim_start_matches('/');
                let part = part
                    .strip_prefix("../")
                    .map_or_else(|| part.to_owned(), |within| format!("xl/{within}"));
                if of("Type").ends_with("/threadedComment") {
                    comments.extend(self.threads(&part, &people));
                } else if of("Type").ends_with("/comments") {
                    comments.extend(self.notes(&part));
                }
            }
        }
        comments.truncate(COMMENTS_MAX);
        comments
    }

    /// Comments with answers, as Excel writes them today.
    fn threads(&mut self, part: &str, people: &BTreeMap<String, String>) -> Vec<String> {
        let elements = self.elements(part, &["threadedComment"]);
        let comments = elements.into_iter().map(|element| {
            let of = |name: &str| element.attributes.get(name).map_or("", String::as_str);
            comment(
                of("ref"),
                people.get(of("personId")).map_or("", String::as_str),
                &element.text,
            )
        });
        comments.collect()
    }

    /// Comments without answers. Those that only stand for one with answers are left out.
    fn notes(&mut self, part: &str) -> Vec<String> {
        let authors = self.elements(part, &["author"]);
        let authors: Vec<_> = authors.into_iter().map(|author| author.text).collect();
        let mut comments = Vec::new();
        for element in self.elements(part, &["comment"]) {
            let of = |name: &str| element.attributes.get(name).map_or("", String::as_str);
            let author = of("authorId")
                .parse()
                .ok()
                .and_then(|at: usize| authors.get(at));
            let author = author.map_or("", String::as_str);
            if !author.starts_with("tc={") {
                comments.push(comment(of("ref"), author, &element.text));
            }
        }
        comments
    }

    /// The elements of a part with one of these names. A part that is missing or damaged has none.
    fn elements(&mut self, part: &str, names: &[&str]) -> Vec<Element> {
        let Ok(file) = self.0.by_name(part) else {
            return Vec::new();
        };
        let mut text = String::new();
        let read = file.take(PART_MAX + 1).read_to_string(&mut text);
        if read.is_err() || text.len() as u64 > PART_MAX {
            return Vec::new();
        }
        elements(&text, names)
    }
}

fn comment(cell: &str, author: &str, text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let by = if author.is_empty() {
        String::new()
    } else {
        format!(" by {author}")
    };
    format!("Comment on {cell}{by}: {text}")
}

fn elements(text: &str, names: &[&str]) -> Vec<Element> {
    let mut reader = Reader::from_str(text);
    let mut found = Vec::new();
    let mut open: Option<Element> = None;
    while found.len() < COMMENTS_MAX {
        match reader.read_event() {
            Err(_) | Ok(Event::Eof) => break,
            Ok(Event::Start(start)) => {
                if open.is_none() {
                    open = element(&start, names);
                }
            }
            Ok(Event::Empty(start)) => {
                if open.is_none() {
                    found.extend(element(&start, names));
                }
            }
            Ok(Event::End(end)) => {
                let name = end.local_name();
                if let Some(done) = open.take_if(|open| open.name.as_bytes() == name.as_ref()) {
                    found.push(done);
                }
            }
            Ok(Event::Text(words)) => {
                if let (Some(open), Ok(words)) = (&mut open, words.decode()) {
                    open.text.push_str(&words);
                }
            }
            Ok(Event::GeneralRef(reference)) => {
                if let (Some(open), Ok(name)) = (&mut open, reference.decode()) {
                    // Only those of XML itself: an entity that the file declares is not put in.
                    let whole = format!("&{name};");
                    let plain = quick_xml::escape::unescape(&whole);
                    open.text.push_str(plain.as_deref().unwrap_or_default());
                }
            }
            Ok(_) => {}
        }
    }
    found
}

fn element(start: &BytesStart<'_>, names: &[&str]) -> Option<Element> {
    let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
    if !names.contains(&name.as_str()) {
        return None;
    }
    let attributes = start.attributes().flatten().filter_map(|attribute| {
        let name = String::from_utf8_lossy(attribute.key.local_name().as_ref()).into_owned();
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
        Some((name, value.into_owned()))
    });
    Some(Element {
        attributes: attributes.collect(),
        name,
        text: String::new(),
    })
}
