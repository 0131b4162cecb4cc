//! A new table of objects for a PDF whose own is lost, as of a file that is cut off.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The objects that are looked for: a table of more would be larger than the file.
const OBJECTS_MAX: usize = 1 << 20;

/// The file with a new table of its objects. `None` if there is no catalog of pages in it.
pub(super) fn rebuilt(bytes: &[u8]) -> Option<Vec<u8>> {
    let objects = objects(bytes);
    let root = objects.iter().rev().find(|(_, place)| {
        let begin = &bytes[place.at..bytes.len().min(place.at + 4096)];
        let end = find(begin, b"endobj").unwrap_or(begin.len());
        let object = &begin[..end];
        find(object, b"/Catalog").is_some() && find(object, b"/Pages").is_some()
    })?;
    let mut tail = String::from("\nxref\n");
    for (number, place) in &objects {
        let _ = write!(
            tail,
            "{number} 1\n{:010} {:05} n \n",
            place.at, place.generation
        );
    }
    let size = objects.keys().next_back().map_or(1, |last| last + 1);
    let _ = write!(
        tail,
        "trailer\n<< /Size {size} /Root {} {} R >>\nstartxref\n{}\n%%EOF\n",
        root.0,
        root.1.generation,
        bytes.len() + 1
    );
    let mut whole = bytes.to_vec();
    // An object that is cut off would swallow the table.
    whole.extend_from_slice(tail.as_bytes());
    Some(whole)
}

struct Place {
    at: usize,
    generation: u32,
}

/// Where objects begin: `12 0 obj` at the beginning of a line. The last of a number is the one
/// that counts.
fn objects(bytes: &[u8]) -> BTreeMap<u32, Place> {
    let mut objects = BTreeMap::new();
    let mut from = 0;
    while let Some(found) = find(&bytes[from..], b" obj") {
        let end = from + found;
        from = end + 4;
        let begin = end.saturating_sub(20);
        let before = &bytes[begin..end];
        let digits = |text: &[u8]| text.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let generation = digits(before);
        let rest = &before[..before.len() - generation];
        let Some(rest) = rest.strip_suffix(b" ") else {
            continue;
        };
        let number = digits(rest);
        let parse = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u32>().ok();
        let Some(generation) = parse(&before[before.len() - generation..]) else {
            continue;
        };
        let Some(value) = parse(&rest[rest.len() - number..]) else {
            continue;
        };
        let at = begin + rest.len() - number;
        objects.insert(value, Place { at, generation });
        if objects.len() > OBJECTS_MAX {
            break;
        }
    }
    objects
}

/// Where a word begins.
pub(super) fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word)
}
