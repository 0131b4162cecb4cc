//! The expressions that read columns of the source.

use super::{PlanInput, TemplateColumn, quoted};

/// A column's value in the form of its type's output function, which drivers see. (A cast to
/// text strips the padding of `char(n)` and adds a mask to `inet`.)
pub(in crate::sql) fn as_text(column: &TemplateColumn) -> String {
    let name = quoted(&column.name);
    match column.base_type.as_str() {
        "text" | "character varying" => format!("s.{name}::text"),
        // (A row with a null in it is not "not null".)
        _ => format!("case when s.{name} is distinct from null then concat(s.{name}) end"),
    }
}

/// A value of another type than text, such as json, is parsed into a tree for a template, which takes
/// many times its bytes. So its limit is this fraction of a text's limit.
pub(crate) const RENDERED_FACTOR: usize = 32;

/// The expression that reads a column's text: null if the row is too long. The length of a value of
/// another type is known only after conversion: it is truncated, one character after the limit.
pub(super) fn read(column: &TemplateColumn, row_bytes: usize) -> String {
    let text = as_text(column);
    let text = if column.is_text() {
        text
    } else {
        format!("left({text}, {})", row_bytes / RENDERED_FACTOR + 1)
    };
    format!("case when not z.long then {text} end")
}

/// The same for the column that is loaded: a document, whose length is known, is encoded in base64.
pub(super) fn read_loading(column: &TemplateColumn, row_bytes: usize) -> String {
    if column.base_type == "bytea" {
        let name = quoted(&column.name);
        return format!("case when not z.long then encode(s.{name}, 'base64') end");
    }
    read(column, row_bytes)
}

/// The bytes of the row's columns whose type is text.
pub(super) fn size(input: &PlanInput<'_>) -> String {
    let texts = input.columns.iter().filter(|column| column.is_text());
    let names = std::iter::once(&input.loading.name).chain(texts.map(|column| &column.name));
    let terms = names.map(|name| format!("coalesce(octet_length(s.{}), 0)::bigint", quoted(name)));
    format!("({})", terms.collect::<Vec<_>>().join(" + "))
}
