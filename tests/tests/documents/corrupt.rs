//! Files with wrong bytes: each ends with a text or with a reason.

use shell_common::parsing::{Fault, Hints};

use crate::files::small_pdf;
use crate::parsers;

#[test]
fn two_hundred_corrupt_files_each_have_a_text_or_a_reason() {
    let parsers = parsers();
    let mut seed = 1_u64;
    let mut next = |below: usize| {
        // A linear congruential generator, with Knuth's constants for MMIX.
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let rich = b"{\\rtf1\\ansi{\\fonttbl{\\f0 Arial;}}\\f0 They {\\b quack}\\par\\trowd\\cellx100 a\\cell\\row}".to_vec();
    let page = b"<html><body><h1>Ducks</h1><table><tr><td rowspan=2>a<td>b</table></body>".to_vec();
    let files = [(small_pdf(), "a.pdf"), (rich, "a.rtf"), (page, "a.html")];
    let (mut read, mut refused) = (0, 0);
    for round in 0..200 {
        let (file, name) = &files[round % files.len()];
        let mut file = file.clone();
        for _ in 0..=next(20) {
            let at = next(file.len());
            file[at] = u8::try_from(next(256)).unwrap();
        }
        if next(4) == 0 {
            file.truncate(next(file.len()));
        }
        match parsers.parse(
            &file,
            &Hints {
                name: Some(name),
                content_type: None,
            },
        ) {
            Ok(document) => {
                assert!(!document.markdown.trim().is_empty());
                read += 1;
            }
            Err(failed) => {
                assert_eq!(failed.fault, Fault::File, "{failed}");
                assert!(!failed.reason.is_empty());
                refused += 1;
            }
        }
    }
    assert!(read > 20 && refused > 20, "{read} read, {refused} refused");
}
