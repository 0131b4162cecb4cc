//! Files that are made to harm, and files that are damaged. What would end the process is tested
//! with the processes that parse (`tests/tests/documents`).

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod made;

use std::time::Instant;

use documents::{Error, Hints, parse};
use made::{W, docx, docx_of, lines, pdf, pdf_of, xlsx, zipped};

/// The seconds that each of these files may take; a build for tests is slow.
const SECONDS_MAX: u64 = 30;

#[track_caller]
fn ends(bytes: &[u8], name: &str) -> Result<String, Error> {
    let began = Instant::now();
    let done = parse(
        bytes,
        &Hints {
            name: Some(name),
            content_type: None,
        },
    );
    assert!(
        began.elapsed().as_secs() < SECONDS_MAX,
        "{:?}",
        began.elapsed()
    );
    done.map(|document| document.markdown)
}

#[test]
fn a_zip_bomb_is_too_large() {
    let mut body = format!("<w:document xmlns:w=\"{W}\"><w:body><w:p><w:r><w:t>").into_bytes();
    body.resize(140 << 20, b'a');
    let file = docx_of(&body);
    assert!(file.len() < 1 << 20);
    let error = ends(&file, "a.docx").unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn entities_are_not_expanded() {
    let mut entities = String::from("<!ENTITY a \"aaaaaaaaaa\">");
    for (name, of) in ('b'..='k').zip('a'..) {
        entities += &format!("<!ENTITY {name} \"{}\">", format!("&{of};").repeat(10));
    }
    let document = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE x [{entities}]><w:document xmlns:w=\"{W}\"><w:body><w:p><w:r><w:t>x&k;</w:t></w:r></w:p></w:body></w:document>"
    );
    let text = ends(&docx_of(document.as_bytes()), "a.docx").unwrap_or_default();
    assert!(text.len() < 1000, "{} bytes", text.len());
    let xml = format!("<?xml version=\"1.0\"?><!DOCTYPE x [{entities}]><x>&k;</x>");
    assert!(ends(xml.as_bytes(), "a.xml").unwrap().len() < xml.len() + 20);
}

#[test]
fn deep_nesting_ends() {
    let deep =
        |open: &str, close: &str, times| format!("{}x{}", open.repeat(times), close.repeat(times));
    let table = docx(&deep(
        "<w:tbl><w:tr><w:tc>",
        "</w:tc></w:tr></w:tbl>",
        50_000,
    ));
    assert!(matches!(
        ends(&table, "a.docx"),
        Err(Error::TooLarge { .. })
    ));
    let _ = ends(deep("<div>", "</div>", 3_000).as_bytes(), "a.html");
    let _ = ends(deep("{\\rtf1 ", "}", 20_000).as_bytes(), "a.rtf");
    let adoc: String = (4..400).map(|n| format!("{}\n", "=".repeat(n))).collect();
    let _ = ends(adoc.as_bytes(), "a.adoc");
    let _ = ends("*_".repeat(20_000).as_bytes(), "a.adoc");
}

#[test]
fn a_sheet_with_a_cell_in_the_farthest_corner_ends() {
    let _ = ends(&xlsx(&[("A1", "x"), ("XFD1048576", "y")], ""), "a.xlsx");
    let merged = "<mergeCells count=\"1\"><mergeCell ref=\"A1:XFD1048576\"/></mergeCells>";
    let _ = ends(&xlsx(&[("A1", "x")], merged), "a.xlsx");
}

#[test]
fn pdfs_with_loops_and_very_many_objects_end() {
    let loops = pdf_of(&[
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 1000000000>>".to_vec(),
    ]);
    assert!(ends(&loops, "a.pdf").is_err());
    let mut objects = vec![
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Kids[]/Count 0>>".to_vec(),
    ];
    objects.resize(100_000, b"<</A 1>>".to_vec());
    let many = pdf_of(&objects);
    assert!(ends(&many, "a.pdf").is_err());
    // The same where the table is lost and must be made.
    assert!(ends(&many[..many.len() / 2], "a.pdf").is_err());
}

#[test]
fn files_that_are_cut_off_anywhere_end() {
    let text = lines(&[(24, "Ducks"), (10, "They quack in the first place.")]);
    let paragraph = "<w:p><w:r><w:t>They quack</w:t></w:r></w:p>";
    let files = [
        (pdf(&[text]), "a.pdf"),
        (docx(paragraph), "a.docx"),
        (xlsx(&[("A1", "x")], ""), "a.xlsx"),
    ];
    for (file, name) in files {
        assert!(ends(&file, name).is_ok());
        for end in (0..file.len()).step_by(file.len() / 40) {
            let _ = ends(&file[..end], name);
        }
    }
}

#[test]
fn an_encrypted_file_says_so() {
    let manifest = "<manifest:manifest xmlns:manifest=\"urn:oasis:names:tc:opendocument:xmlns:manifest:1.0\"><manifest:file-entry manifest:full-path=\"/\" manifest:media-type=\"application/vnd.oasis.opendocument.text\"/><manifest:file-entry manifest:full-path=\"content.xml\" manifest:media-type=\"text/xml\"><manifest:encryption-data/></manifest:file-entry></manifest:manifest>";
    let odt = zipped(&[
        ("mimetype", b"application/vnd.oasis.opendocument.text"),
        ("META-INF/manifest.xml", manifest.as_bytes()),
        ("content.xml", b"\x01\x02\x03"),
    ]);
    let error = ends(&odt, "a.odt").unwrap_err();
    assert!(error.to_string().contains("without a password"), "{error}");
    let page = lines(&[(10, "x")]);
    let pdf = String::from_utf8(pdf(&[page])).unwrap();
    let encrypted = pdf.replace(
        "/Root 1 0 R",
        "/Root 1 0 R/ID[<00><00>]/Encrypt<</Filter/Nobody/V 2/R 3/Length 128/P -44/O(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)/U(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)>>",
    );
    let error = ends(encrypted.as_bytes(), "a.pdf").unwrap_err();
    assert!(matches!(error, Error::Encrypted { .. }), "{error}");
}
