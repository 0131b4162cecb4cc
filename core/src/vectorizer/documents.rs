//! Where the texts of a vectorizer's rows come from: a column, or documents.

use super::definition::{Column, Config};
use crate::cut::cut;
use crate::document::{DoclingServe, Source};
use crate::settings::Settings;
use crate::sql::TemplateColumn;

/// The column that is loaded, where documents come from if it does not hold texts, and the server that parses them if
/// this worker does not.
pub(super) fn texts_of(
    config: &Config,
    columns: &[Column],
    source: &str,
    settings: &Settings,
) -> Result<(TemplateColumn, Option<Source>, Option<DoclingServe>), String> {
    let docling = docling(config, settings)?;
    let (column, documents) = loading(config, columns, source)?;
    if documents.is_some() && docling.is_none() {
        can_parse(&column.name, settings)?;
    }
    Ok((column, documents, docling))
}

fn loading(
    config: &Config,
    columns: &[Column],
    source: &str,
) -> Result<(TemplateColumn, Option<Source>), String> {
    let loading = &config.loading;
    let name = &cut(&loading.column_name);
    let column = columns
        .iter()
        .find(|column| column.name == *name)
        .ok_or_else(|| {
            format!(
                "the column {name:?} of {source} was renamed or dropped: rename it back, \
             or drop the vectorizer and create it anew"
            )
        })?;
    let is_bytea = column.base == "bytea";
    let parsing = config.parsing.as_ref();
    let parsing = parsing.map_or("auto", |parsing| &parsing.implementation);
    let documents = match (loading.implementation.as_str(), parsing) {
        ("column", "auto" | "none") if !is_bytea => None,
        ("column", "auto" | "docling" | "docling_serve" | "pymupdf") if is_bytea => {
            Some(Source::Bytes)
        }
        ("uri", "auto" | "docling" | "docling_serve" | "pymupdf") if !is_bytea => {
            Some(Source::Address {
                role: loading.aws_role_arn.clone(),
            })
        }
        ("column" | "uri", _) => {
            return Err(format!(
                "parsing is {parsing}, and the column {name:?} is {base}, loaded with ai.loading_{loading}: texts \
                 take ai.parsing_auto() or ai.parsing_none(), documents ai.parsing_auto()",
                base = column.base,
                loading = loading.implementation,
                parsing = cut(parsing)
            ));
        }
        (other, _) => {
            return Err(format!(
                "this worker does not know the loading implementation {:?}: it knows column and uri",
                cut(other)
            ));
        }
    };
    let column = TemplateColumn {
        name: name.clone(),
        base_type: column.base.clone(),
    };
    Ok((column, documents))
}

/// Whether this worker can parse documents itself.
fn can_parse(column: &str, settings: &Settings) -> Result<(), String> {
    match settings.documents.can_parse {
        true => Ok(()),
        false => Err(format!(
            "this worker was built without documents, and the column {column:?} has some: run one with the cargo \
             feature documents, such as the released worker"
        )),
    }
}

/// The server that parses the documents.
fn docling(config: &Config, settings: &Settings) -> Result<Option<DoclingServe>, String> {
    let Some(parsing) = &config.parsing else {
        return Ok(None);
    };
    if parsing.implementation != "docling_serve" {
        return Ok(None);
    }
    let url = parsing.url.as_deref();
    let url = url.ok_or("parsing config: url: ai.parsing_docling_serve needs one")?;
    let key = parsing.api_key_name.as_deref();
    DoclingServe::new(url, key, settings).map(Some)
}

/// How often documents are checked again, in seconds.
pub(super) fn refresh(config: &Config, documents: Option<&Source>) -> Option<u64> {
    let is_address = matches!(documents, Some(Source::Address { .. }));
    let seconds = config.loading.refresh.filter(|_| is_address);
    seconds.map(|seconds| seconds.max(1))
}
