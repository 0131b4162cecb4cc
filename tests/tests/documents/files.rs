//! Files that the tests make.

use std::fmt::Write as _;

use tests::pdf::page;

/// A PDF of two lines.
pub(crate) fn small_pdf() -> Vec<u8> {
    page(
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
    page(&content)
}

/// A CSV file of one line, whose cells take much more memory than the file.
pub(crate) fn wide_csv() -> Vec<u8> {
    "a,".repeat(10 << 20).into_bytes()
}
