//! Each format, as a small file that the test makes.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod made;

use documents::{Document, Error, Hints, Page, parse};
use made::{docx, epub, lines, open_document, pdf, pptx, xlsx};

#[track_caller]
fn read(bytes: &[u8], name: &str) -> Document {
    parse(
        bytes,
        &Hints {
            name: Some(name),
            content_type: None,
        },
    )
    .unwrap()
}

#[track_caller]
fn check(bytes: &[u8], name: &str, expect: &str) {
    assert_eq!(read(bytes, name).markdown, expect);
}

const TABLE: &str = "| Year | Ducks |\n| --- | --- |\n| 2019 | 120 |";

#[test]
fn docx_has_headings_styles_and_tables_with_merged_cells() {
    let cell = |text: &str, extra: &str| {
        format!("<w:tc><w:tcPr>{extra}</w:tcPr><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>")
    };
    let file = docx(&format!(
        "<w:p><w:pPr><w:pStyle w:val=\"Heading1\"/></w:pPr><w:r><w:t>Ducks</w:t></w:r></w:p>\
         <w:p><w:r><w:t xml:space=\"preserve\">They </w:t></w:r><w:r><w:rPr><w:b/></w:rPr><w:t>quack</w:t></w:r></w:p>\
         <w:tbl><w:tr>{}{}</w:tr><w:tr>{}</w:tr></w:tbl>",
        cell("A", ""),
        cell("B", ""),
        cell("both", "<w:gridSpan w:val=\"2\"/>"),
    ));
    let document = read(&file, "a.docx");
    assert_eq!(
        document.markdown,
        "# Ducks\n\nThey **quack**\n\n| A | B |\n| --- | --- |\n| both | both |\n"
    );
    assert_eq!(document.title.as_deref(), Some("Ducks & Co."));
}

#[test]
fn a_sheet_is_divided_into_its_tables_and_has_its_comments() {
    let cells = [
        ("A1", "Counts of ducks"),
        ("A3", "Year"),
        ("B3", "Ducks"),
        ("A4", "2019"),
        ("B4", "120"),
        ("D4", "alone"),
    ];
    check(
        &xlsx(&cells, ""),
        "a.xlsx",
        &format!(
            "## Counts\n\n| Counts of ducks |\n| --- |\n\n{TABLE}\n\n| alone |\n| --- |\n\nComment on B2 by Ann: so few?\n"
        ),
    );
}

#[test]
fn presentations_have_titles() {
    check(
        &pptx("Ducks", "They quack"),
        "a.pptx",
        "## Ducks\n\nThey quack\n",
    );
    let slide = "<draw:page><draw:frame presentation:class=\"title\"><draw:text-box><text:p>Ducks</text:p></draw:text-box></draw:frame><draw:frame><draw:text-box><text:p>They quack</text:p></draw:text-box></draw:frame></draw:page>";
    let document = read(&open_document("presentation", slide), "a.odp");
    assert!(
        document.markdown.contains("# Ducks\n\nThey quack\n"),
        "{document:?}"
    );
}

#[test]
fn open_documents_have_headings_and_tables() {
    let table = "<table:table><table:table-row><table:table-cell><text:p>Year</text:p></table:table-cell><table:table-cell><text:p>Ducks</text:p></table:table-cell></table:table-row><table:table-row><table:table-cell><text:p>2019</text:p></table:table-cell><table:table-cell><text:p>120</text:p></table:table-cell></table:table-row></table:table>";
    let text = format!(
        "<text:h text:outline-level=\"1\">Ducks</text:h><text:p>They quack</text:p>{table}"
    );
    check(
        &open_document("text", &text),
        "a.odt",
        &format!("# Ducks\n\nThey quack\n\n{TABLE}\n"),
    );
    let sheet = open_document("spreadsheet", table);
    assert!(read(&sheet, "a.ods").markdown.contains(TABLE));
}

#[test]
fn books_web_pages_and_rich_text() {
    check(
        &epub("<h1>Ducks</h1><p>They quack</p>"),
        "a.epub",
        "# Ducks\n\nThey quack\n",
    );
    let page = b"<!doctype html><html><head><title>All ducks</title><script>x()</script></head><body><h1>Ducks</h1><p>They <b>quack</b></p><table><tr><th>Year</th><th>Ducks</th></tr><tr><td>2019</td><td>120</td></tr></table></body></html>";
    let document = read(page, "a");
    assert_eq!(document.title.as_deref(), Some("All ducks"));
    assert_eq!(
        document.markdown.trim(),
        format!("# Ducks\n\nThey **quack**\n\n{TABLE}")
    );
    let text = b"{\\rtf1\\ansi They {\\b quack}\\par}";
    check(text, "a.rtf", "They **quack**\n");
}

#[test]
fn mail_has_its_subject_and_its_people() {
    let mail = "From: Ann <ann@h.example>\r\nTo: bob@h.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Thu, 26 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nDas B=FCro\r\n--x\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=\"duck.png\"\r\n\r\nx\r\n--x--\r\n";
    let document = read(mail.as_bytes(), "");
    assert_eq!(document.title.as_deref(), Some("Grüße"));
    assert_eq!(
        document.markdown.trim(),
        "# Grüße\n\nFrom: Ann <ann@h.example>\nTo: bob@h.example\nDate: 2026-11-26T10:00:00+01:00\n\nDas Büro\n\nAttachments (not read):\n\n- duck.png"
    );
}

#[test]
fn text_and_data() {
    check(b"Year,Ducks\n2019,120\n", "a.csv", &format!("{TABLE}\n"));
    check(
        "Jahr;Größe\n2019;\"a;b\"\n".as_bytes(),
        "a.csv",
        "| Jahr | Größe |\n| --- | --- |\n| 2019 | a;b |\n",
    );
    check(b"{\"a\": [1]}", "a.json", "```json\n{\"a\": [1]}\n```\n");
    check(
        b"<?xml version=\"1.0\"?><a>b</a>",
        "a.xml",
        "```xml\n<?xml version=\"1.0\"?><a>b</a>\n```\n",
    );
    check(
        b"= Ducks\n\nThey *quack*",
        "a.adoc",
        "# Ducks\n\nThey **quack**\n",
    );
    check(b"# Ducks\r\n\r\nquack", "a.md", "# Ducks\n\nquack");
    check(
        b"Gr\xfc\xdfe aus K\xf6ln, sch\xf6ne Gr\xfc\xdfe",
        "a.txt",
        "Grüße aus Köln, schöne Grüße",
    );
    check(b"a\x1b[31mb\x0cc", "a.txt", "a[31mbc");
}

#[test]
fn a_pdf_has_pages_that_begin_where_it_says() {
    let first = lines(&[
        (24, "Ducks"),
        (10, "They quack in the first place."),
        (10, "And they swim."),
    ]);
    let second = lines(&[
        (10, "The second page is about geese,"),
        (10, "Geese are larger than ducks are."),
    ]);
    let document = read(&pdf(&[first, second]), "a");
    assert!(document.markdown.starts_with("# Ducks\n"), "{document:?}");
    let [one, two] = document.pages.as_slice() else {
        panic!("{document:?}")
    };
    assert_eq!(
        *one,
        Page {
            number: 1,
            start: 0
        }
    );
    assert_eq!(two.number, 2);
    let rest = &document.markdown[two.start..];
    assert!(
        rest.starts_with("The second page is about geese"),
        "{document:?}"
    );
    assert!(
        !document.markdown[..two.start].contains("geese"),
        "{document:?}"
    );
}

#[test]
fn a_pdf_without_its_table_of_objects_is_read() {
    let text = lines(&[(
        10,
        "They quack in the first place, and then they swim away.",
    )]);
    let whole = pdf(&[text]);
    let cut = whole.windows(4).position(|four| four == b"xref").unwrap();
    let document = read(&whole[..cut], "a.pdf");
    assert!(
        document.markdown.contains("They quack in the first place"),
        "{document:?}"
    );
}

#[test]
fn what_cannot_be_read_says_what_to_do() {
    let fails = |bytes: &[u8], name: &str| {
        let failed = parse(
            bytes,
            &Hints {
                name: Some(name),
                content_type: None,
            },
        );
        failed.unwrap_err().to_string()
    };
    assert!(fails(b"\x89PNG\r\n\x1a\n", "a.png").contains("OCR"));
    assert!(fails(b"ID3\x03", "a.mp3").contains("speech recognition"));
    assert!(fails(b"\x1f\x8b\x08", "a.gz").contains("unpack"));
    assert!(fails(b"\x01\x02\0\x03\x04", "a.bin").contains("not known"));
    assert!(fails(b"  \n", "a.txt").contains("no text"));
    assert!(fails(&docx(""), "a.docx").contains("no text"));
    let empty = parse(&pdf(&[String::new()]), &Hints::default());
    assert_eq!(empty, Err(Error::NoText { pages: 1 }));
}
