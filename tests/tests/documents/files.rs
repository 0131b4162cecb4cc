//! Files that the tests make.

use std::fmt::Write as _;

/// A PDF with one page, which these operators draw.
pub(crate) fn pdf(content: &str) -> Vec<u8> {
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

/// A PDF of two lines.
pub(crate) fn small_pdf() -> Vec<u8> {
    pdf(
        "BT /F1 24 Tf 1 0 0 1 72 740 Tm (Ducks) Tj ET\nBT /F1 10 Tf 1 0 0 1 72 700 Tm (They quack in the first place.) Tj ET\n",
    )
}

/// A PDF that takes minutes: every text is compared with many others.
pub(crate) fn slow_pdf() -> Vec<u8> {
    let mut content = String::from("BT /F1 1 Tf\n");
    for number in 0_u64..150_000 {
        let (x, y) = (number * 7919 % 599, number * 104_729 % 797);
        let _ = writeln!(content, "1 0 0 1 {x} {y} Tm (w{number}) Tj");
    }
    content.push_str("ET\n");
    pdf(&content)
}

/// A CSV file of one line, whose cells take much more memory than the file.
pub(crate) fn wide_csv() -> Vec<u8> {
    "a,".repeat(10 << 20).into_bytes()
}
