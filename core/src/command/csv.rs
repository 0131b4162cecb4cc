//! Embeddings as CSV (RFC 4180): a header, and a line for each chunk. The last columns say what made the vector, so
//! that no line depends on another, and `copy … with (format csv, header)` reads the file as it is.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::vectorizer::Maker;

/// The number of the chunk in its row: the first column after the key.
pub const CHUNK_SEQ: &str = "chunk_seq";
pub(super) const CHUNK: &str = "chunk";
/// The vector, as pgvector writes it.
pub const EMBEDDING: &str = "embedding";
/// Where the chunk is in its document, or nothing. Not all stores have it.
pub const LOCATION: &str = "location";
pub(super) const PROVIDER: &str = "embedding_provider";
pub(super) const MODEL: &str = "embedding_model";
/// Of the vector.
pub const DIMENSIONS: &str = "embedding_dimensions";
pub(super) const MADE_BY: &str = "embedding_made_by";

/// The largest line that is read.
const RECORD_MAX: usize = 256 * 1024 * 1024;

/// The header.
pub(super) fn header<'a>(key: impl Iterator<Item = &'a str>, has_location: bool) -> String {
    let location = has_location.then_some(LOCATION);
    let fields = key
        .chain([CHUNK_SEQ, CHUNK, EMBEDDING])
        .chain(location)
        .chain([PROVIDER, MODEL, DIMENSIONS, MADE_BY]);
    let mut line = String::new();
    write_line(&mut line, fields.map(Some));
    line
}

/// Adds the line of a chunk.
pub(super) fn add(text: &mut String, row: &[Option<String>], maker: &Maker) {
    let dimensions = maker.dimensions.to_string();
    let made_by = [&maker.provider, &maker.model, &dimensions, &maker.digest];
    let fields = row.iter().map(Option::as_deref);
    write_line(text, fields.chain(made_by.map(|it| Some(it.as_str()))));
}

/// Adds a line of these fields. `None` is NULL: nothing, as COPY has it. An empty text is `""`.
pub fn write_line<'a>(line: &mut String, fields: impl Iterator<Item = Option<&'a str>>) {
    for (field, at) in fields.zip(0..) {
        if at > 0 {
            line.push(',');
        }
        let Some(field) = field else {
            continue;
        };
        let is_quoted = field.is_empty()
            || field.contains([',', '"', '\n', '\r'])
            || field.starts_with(' ')
            || field.ends_with(' ')
            || field == "\\.";
        if is_quoted {
            line.push('"');
            line.push_str(&field.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(field);
        }
    }
    line.push('\n');
}

/// Reads records from pieces of a file.
#[derive(Debug)]
pub struct Records {
    reader: Reader,
    /// The fields of the record in progress, one after the other.
    text: Vec<u8>,
    length: usize,
    ends: Vec<usize>,
    fields: usize,
}

impl Default for Records {
    fn default() -> Self {
        Self::new()
    }
}

impl Records {
    /// At the beginning of a file.
    #[must_use]
    pub fn new() -> Self {
        Self {
            reader: ReaderBuilder::new().build(),
            text: vec![0; 64 * 1024],
            length: 0,
            ends: vec![0; 16],
            fields: 0,
        }
    }

    /// The records that this piece completes. An empty piece is the end of the file.
    ///
    /// # Errors
    /// If a record is not in UTF-8, or larger than 256 MB.
    pub fn read(&mut self, mut piece: &[u8]) -> Result<Vec<Vec<String>>, String> {
        let is_end = piece.is_empty();
        let mut records = vec![];
        loop {
            let (result, read, written, ended) = self.reader.read_record(
                piece,
                &mut self.text[self.length..],
                &mut self.ends[self.fields..],
            );
            piece = &piece[read..];
            self.length += written;
            self.fields += ended;
            match result {
                ReadRecordResult::InputEmpty if is_end => {}
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return Ok(records),
                ReadRecordResult::OutputFull if self.text.len() >= RECORD_MAX => {
                    return Err(format!("it has more than {} MB", RECORD_MAX >> 20));
                }
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => records.push(self.record()?),
            }
        }
    }

    fn record(&mut self) -> Result<Vec<String>, String> {
        let mut fields = Vec::with_capacity(self.fields);
        let mut start = 0;
        for end in &self.ends[..self.fields] {
            let text = std::str::from_utf8(&self.text[start..*end]);
            fields.push(text.map_err(|_| "it is not in UTF-8")?.to_owned());
            start = *end;
        }
        (self.length, self.fields) = (0, 0);
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maker() -> Maker {
        Maker {
            provider: "ollama".to_owned(),
            model: "a, \"b\"".to_owned(),
            dimensions: 2,
            digest: "d".to_owned(),
        }
    }

    fn read(text: &str, piece: usize) -> Vec<Vec<String>> {
        let mut records = Records::new();
        let mut all = vec![];
        for piece in text.as_bytes().chunks(piece) {
            all.extend(records.read(piece).unwrap());
        }
        all.extend(records.read(&[]).unwrap());
        all
    }

    #[test]
    fn what_is_written_is_read_whatever_the_pieces_are() {
        let mut text = header(["id", "a b"].into_iter(), true);
        let chunk = "two\r\nlines, and \"quotes\", and ä ";
        let row = ["1", "", "0", chunk, "[1,2]"].map(|field| Some(field.to_owned()));
        let mut row = row.to_vec();
        row.push(None);
        add(&mut text, &row, &maker());
        for piece in [1, 2, 3, 7, 1000] {
            let records = read(&text, piece);
            assert_eq!(
                records[0],
                [
                    "id", "a b", CHUNK_SEQ, CHUNK, EMBEDDING, LOCATION, PROVIDER, MODEL,
                    DIMENSIONS, MADE_BY
                ]
            );
            assert_eq!(
                records[1],
                [
                    "1", "", "0", chunk, "[1,2]", "", "ollama", "a, \"b\"", "2", "d"
                ]
            );
            assert_eq!(records.len(), 2);
        }
    }

    #[test]
    fn long_fields_and_many_fields_are_read() {
        let long = "x".repeat(300_000);
        let many = vec!["1"; 100].join(",");
        let records = read(&format!("{long},2\n{many}"), 10_000);
        assert_eq!(records[0], [long.as_str(), "2"]);
        assert_eq!(records[1].len(), 100);
        let mut records = Records::new();
        assert!(records.read(b"\xff\n").is_err());
    }
}
