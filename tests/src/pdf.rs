//! PDFs that tests and benches make.

use std::fmt::Write as _;

/// A PDF with one page, which these operators draw.
pub fn page(content: &str) -> Vec<u8> {
    let objects = [
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>".to_owned(),
        format!("<</Length {}>>stream\n{content}\nendstream", content.len()),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>".to_owned(),
    ];
    let mut pdf = "%PDF-1.7\n".to_owned();
    let mut table = String::new();
    for (object, number) in objects.iter().zip(1..) {
        let _ = writeln!(table, "{:010} 00000 n ", pdf.len());
        let _ = write!(pdf, "{number} 0 obj\n{object}\nendobj\n");
    }
    let at = pdf.len();
    let _ = write!(
        pdf,
        "xref\n0 6\n0000000000 65535 f \n{table}trailer <</Size 6/Root 1 0 R>>\nstartxref\n{at}\n%%EOF\n"
    );
    pdf.into_bytes()
}

/// A PDF with one page of these lines.
pub fn lines(text: &str) -> Vec<u8> {
    let mut content = "BT /F1 10 Tf 12 TL 72 760 Td".to_owned();
    for line in text.lines() {
        let line = line.replace(['(', ')', '\\'], " ");
        let _ = write!(content, " ({line}) Tj T*");
    }
    page(&(content + " ET"))
}
