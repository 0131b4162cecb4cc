//! Marks within a line of AsciiDoc.

use std::collections::BTreeMap;

/// The bytes from a mark to its end.
const MARK_MAX: usize = 2000;

/// A line with Markdown's marks in the place of AsciiDoc's, and the attributes put in.
pub(super) fn marked(line: &str, names: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let before = out.chars().next_back();
        // Marks end soon, or are none: without a limit a long line takes the square of its length.
        let near = &rest[..rest.floor_char_boundary(MARK_MAX)];
        let found = attribute(near, names)
            .or_else(|| link(near))
            .or_else(|| pair(near, before, names));
        match found {
            Some((text, length)) => {
                out.push_str(&text);
                rest = &rest[length..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    // A line break.
    match out.strip_suffix(" +") {
        Some(text) => text.to_owned(),
        None => out,
    }
}

/// `{name}`, if it is known.
fn attribute(rest: &str, names: &BTreeMap<String, String>) -> Option<(String, usize)> {
    let inner = rest.strip_prefix('{')?;
    let (name, _) = inner.split_once('}')?;
    let value = match name {
        "nbsp" | "sp" => " ",
        "empty" | "blank" => "",
        name => names.get(name)?,
    };
    Some((value.to_owned(), name.len() + 2))
}

/// `https://host[text]`, `link:target[text]`, `<<target,text>>`, `xref:target[text]`, `image:x[alt]`.
fn link(rest: &str) -> Option<(String, usize)> {
    if let Some(inner) = rest.strip_prefix("<<") {
        let (target, _) = inner.split_once(">>")?;
        let text = target
            .split_once(',')
            .map_or(target, |(_, text)| text.trim());
        return Some((text.to_owned(), target.len() + 4));
    }
    let macros = ["footnote:", "image:", "link:", "mailto:", "xref:"];
    let name = macros.into_iter().find(|name| rest.starts_with(name));
    if name.is_none() && !rest.starts_with("http://") && !rest.starts_with("https://") {
        return None;
    }
    let target = &rest[name.map_or(0, str::len)..];
    let open = target.find(|c: char| c == '[' || c.is_whitespace())?;
    let text = target[open..].strip_prefix('[')?;
    let close = text.find(']')?;
    let (target, text) = (&target[..open], text[..close].trim());
    // What follows the text are attributes: `window=_blank`.
    let text = match text.split_once(',') {
        Some((text, rest)) if rest.contains('=') => text,
        _ => text,
    };
    let text = text.trim_end_matches('^').trim_matches('"');
    let shown = match name {
        Some("footnote:") => format!(" ({text})"),
        Some("image:" | "xref:") => text.to_owned(),
        Some(_) | None if text.is_empty() => target.to_owned(),
        Some(_) | None => format!("[{text}]({target})"),
    };
    Some((shown, name.map_or(0, str::len) + open + close + 2))
}

/// `*bold*`, `_italic_`, `` `code` ``, and the same with two marks; `^up^`, `~down~`, `#marked#`.
fn pair(
    rest: &str,
    before: Option<char>,
    names: &BTreeMap<String, String>,
) -> Option<(String, usize)> {
    let mark = rest.chars().next().filter(|c| "*_`^~#".contains(*c))?;
    let double = rest.chars().nth(1) == Some(mark);
    let width = if double { 2 } else { 1 };
    let is_inside = |c: char| c.is_alphanumeric() || c == mark;
    // One mark stands at the edge of a word; two may stand anywhere.
    if !double && !"^~".contains(mark) && before.is_some_and(is_inside) {
        return None;
    }
    let inner = &rest[width..];
    let end = inner.find(&rest[..width])?;
    let (text, after) = (&inner[..end], &inner[end + width..]);
    let is_word = !text.is_empty() && text.trim() == text;
    if !is_word || (!double && after.starts_with(is_inside)) {
        return None;
    }
    let markdown = match mark {
        '*' => "**",
        '_' => "*",
        '`' => "`",
        _ => "",
    };
    let text = if mark == '`' {
        text.to_owned()
    } else {
        marked(text, names)
    };
    Some((format!("{markdown}{text}{markdown}"), 2 * width + end))
}
