//! Files that the tests make: each has a heading, a paragraph and a table where its format can.

#![allow(dead_code, reason = "each test program uses some of them")]

use std::io::{Cursor, Write as _};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub(crate) const W: &str = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";
const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006/relationships";

/// A ZIP file of these parts.
pub(crate) fn zipped(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        let method = if *name == "mimetype" {
            CompressionMethod::Stored
        } else {
            CompressionMethod::Deflated
        };
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A package of Office Open XML with this main part.
fn package(target: &str, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let root = format!(
        "<Relationships xmlns=\"{PACKAGE}\"><Relationship Id=\"r1\" Type=\"{OFFICE}/officeDocument\" Target=\"{target}\"/></Relationships>"
    );
    let mut all: Vec<(&str, &[u8])> = vec![("_rels/.rels", root.as_bytes())];
    all.extend_from_slice(parts);
    zipped(&all)
}

/// A DOCX file with this body.
pub(crate) fn docx(body: &str) -> Vec<u8> {
    let document = format!("<w:document xmlns:w=\"{W}\"><w:body>{body}</w:body></w:document>");
    docx_of(document.as_bytes())
}

/// A DOCX file with this main part.
pub(crate) fn docx_of(document: &[u8]) -> Vec<u8> {
    let styles = format!(
        "<w:styles xmlns:w=\"{W}\"><w:style w:type=\"paragraph\" w:styleId=\"Heading1\"><w:name w:val=\"heading 1\"/><w:pPr><w:outlineLvl w:val=\"0\"/></w:pPr></w:style></w:styles>"
    );
    let core = "<cp:coreProperties xmlns:cp=\"c\" xmlns:dc=\"http://purl.org/dc/elements/1.1/\"><dc:title>Ducks &amp; Co.</dc:title></cp:coreProperties>";
    let relations = format!(
        "<Relationships xmlns=\"{PACKAGE}\"><Relationship Id=\"r1\" Type=\"{OFFICE}/styles\" Target=\"styles.xml\"/></Relationships>"
    );
    package(
        "word/document.xml",
        &[
            ("word/document.xml", document),
            ("word/styles.xml", styles.as_bytes()),
            ("word/_rels/document.xml.rels", relations.as_bytes()),
            ("docProps/core.xml", core.as_bytes()),
        ],
    )
}

/// A workbook of one sheet with these rows of cells, each `(reference, text)`, and this after them.
pub(crate) fn xlsx(cells: &[(&str, &str)], after: &str) -> Vec<u8> {
    let mut rows = String::new();
    for (reference, text) in cells {
        let row = reference.trim_start_matches(char::is_alphabetic);
        rows += &format!(
            "<row r=\"{row}\"><c r=\"{reference}\" t=\"inlineStr\"><is><t>{text}</t></is></c></row>"
        );
    }
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let sheet =
        format!("<worksheet xmlns=\"{main}\"><sheetData>{rows}</sheetData>{after}</worksheet>");
    let book = format!(
        "<workbook xmlns=\"{main}\" xmlns:r=\"{OFFICE}\"><sheets><sheet name=\"Counts\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"
    );
    let relations = format!(
        "<Relationships xmlns=\"{PACKAGE}\"><Relationship Id=\"r1\" Type=\"{OFFICE}/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>"
    );
    let of_sheet = format!(
        "<Relationships xmlns=\"{PACKAGE}\"><Relationship Id=\"r1\" Type=\"{OFFICE}/comments\" Target=\"../comments1.xml\"/></Relationships>"
    );
    let comments = format!(
        "<comments xmlns=\"{main}\"><authors><author>Ann</author></authors><commentList><comment ref=\"B2\" authorId=\"0\"><text><r><t>so few?</t></r></text></comment></commentList></comments>"
    );
    package(
        "xl/workbook.xml",
        &[
            ("xl/workbook.xml", book.as_bytes()),
            ("xl/_rels/workbook.xml.rels", relations.as_bytes()),
            ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
            ("xl/worksheets/_rels/sheet1.xml.rels", of_sheet.as_bytes()),
            ("xl/comments1.xml", comments.as_bytes()),
        ],
    )
}

/// A presentation of one slide with a title and a text.
pub(crate) fn pptx(title: &str, text: &str) -> Vec<u8> {
    let p = "http://schemas.openxmlformats.org/presentationml/2006/main";
    let a = "http://schemas.openxmlformats.org/drawingml/2006/main";
    let shape = |kind: &str, text: &str| {
        format!(
            "<p:sp><p:nvSpPr><p:cNvPr id=\"2\" name=\"n\"/><p:cNvSpPr/><p:nvPr><p:ph type=\"{kind}\"/></p:nvPr></p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
        )
    };
    let slide = format!(
        "<p:sld xmlns:p=\"{p}\" xmlns:a=\"{a}\"><p:cSld><p:spTree>{}{}</p:spTree></p:cSld></p:sld>",
        shape("title", title),
        shape("body", text)
    );
    let show = format!(
        "<p:presentation xmlns:p=\"{p}\" xmlns:r=\"{OFFICE}\"><p:sldIdLst><p:sldId id=\"256\" r:id=\"r1\"/></p:sldIdLst></p:presentation>"
    );
    let relations = format!(
        "<Relationships xmlns=\"{PACKAGE}\"><Relationship Id=\"r1\" Type=\"{OFFICE}/slide\" Target=\"slides/slide1.xml\"/></Relationships>"
    );
    package(
        "ppt/presentation.xml",
        &[
            ("ppt/presentation.xml", show.as_bytes()),
            ("ppt/_rels/presentation.xml.rels", relations.as_bytes()),
            ("ppt/slides/slide1.xml", slide.as_bytes()),
        ],
    )
}

/// A file of OpenDocument: `text`, `spreadsheet` or `presentation`, with this body.
pub(crate) fn open_document(kind: &str, body: &str) -> Vec<u8> {
    let space = |name: &str, of: &str| {
        format!("xmlns:{name}=\"urn:oasis:names:tc:opendocument:xmlns:{of}:1.0\"")
    };
    let content = format!(
        "<office:document-content {} {} {} {} {}><office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>",
        space("office", "office"),
        space("text", "text"),
        space("table", "table"),
        space("draw", "drawing"),
        space("presentation", "presentation"),
    );
    let mime = format!("application/vnd.oasis.opendocument.{kind}");
    zipped(&[
        ("mimetype", mime.as_bytes()),
        ("content.xml", content.as_bytes()),
    ])
}

/// A book of one chapter.
pub(crate) fn epub(chapter: &str) -> Vec<u8> {
    let container = "<container xmlns=\"urn:oasis:names:tc:opendocument:xmlns:container\"><rootfiles><rootfile full-path=\"b.opf\" media-type=\"application/oebps-package+xml\"/></rootfiles></container>";
    let book = "<package xmlns=\"http://www.idpf.org/2007/opf\" version=\"3.0\"><metadata/><manifest><item id=\"c\" href=\"c.xhtml\" media-type=\"application/xhtml+xml\"/></manifest><spine><itemref idref=\"c\"/></spine></package>";
    let page =
        format!("<html xmlns=\"http://www.w3.org/1999/xhtml\"><body>{chapter}</body></html>");
    zipped(&[
        ("mimetype", b"application/epub+zip"),
        ("META-INF/container.xml", container.as_bytes()),
        ("b.opf", book.as_bytes()),
        ("c.xhtml", page.as_bytes()),
    ])
}

/// A PDF of these objects; the first is the catalog.
pub(crate) fn pdf_of(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut pdf = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (object, number) in objects.iter().zip(1..) {
        places.push(pdf.len());
        pdf.extend(format!("{number} 0 obj\n").bytes());
        pdf.extend(object);
        pdf.extend(b"\nendobj\n");
    }
    let table = pdf.len();
    let size = objects.len() + 1;
    pdf.extend(format!("xref\n0 {size}\n0000000000 65535 f \n").bytes());
    for place in places {
        pdf.extend(format!("{place:010} 00000 n \n").bytes());
    }
    pdf.extend(format!("trailer <</Size {size}/Root 1 0 R>>\nstartxref\n{table}\n%%EOF\n").bytes());
    pdf
}

/// A PDF with a page for each of these streams of operators.
pub(crate) fn pdf(pages: &[String]) -> Vec<u8> {
    let kids: String = (0..pages.len())
        .map(|at| format!("{} 0 R ", 4 + 2 * at))
        .collect();
    let mut objects = vec![
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        format!("<</Type/Pages/Kids[{kids}]/Count {}>>", pages.len()).into_bytes(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>".to_vec(),
    ];
    for (content, at) in pages.iter().zip(0..) {
        let number = 5 + 2 * at;
        objects.push(
            format!("<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents {number} 0 R/Resources<</Font<</F1 3 0 R>>>>>>")
                .into_bytes(),
        );
        objects.push(
            format!("<</Length {}>>stream\n{content}\nendstream", content.len()).into_bytes(),
        );
    }
    pdf_of(&objects)
}

/// Operators that write lines of text, each `(size, text)`.
pub(crate) fn lines(lines: &[(u32, &str)]) -> String {
    let mut y = 740;
    let mut content = String::new();
    for (size, text) in lines {
        content += &format!("BT /F1 {size} Tf 1 0 0 1 72 {y} Tm ({text}) Tj ET\n");
        y -= 2 * size;
    }
    content
}
