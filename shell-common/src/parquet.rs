//! Embeddings as Parquet: the records of [`pgai_core::csv`], with vectors as lists of numbers.
//!
//! A column is text, except [`csv::EMBEDDING`] (a list of 32-bit floats), [`csv::CHUNK_SEQ`] and
//! [`csv::DIMENSIONS`] (32-bit integers). What is read may have other widths of integers and floats.

mod reader;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

use parquet::errors::ParquetError;
use pgai_core::csv;

fn is_number(column: &str) -> bool {
    column == csv::CHUNK_SEQ || column == csv::DIMENSIONS
}

fn unreadable(column: &str) -> ParquetError {
    ParquetError::General(format!(
        "the column {column} is not as `export` writes it: see docs/changing-a-vectorizer.md"
    ))
}

/// The message without the crate's prefix for its kind.
fn said(error: &ParquetError) -> String {
    if let ParquetError::General(message) = error {
        return message.clone();
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::PathBuf;
    use std::process;

    use super::*;

    struct Place(PathBuf);

    impl Drop for Place {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).ok();
        }
    }

    fn place(name: &str) -> Place {
        Place(std::env::temp_dir().join(format!("pgai-{}-{name}.parquet", process::id())))
    }

    fn write(name: &str, text: &str, piece: usize) -> Place {
        let place = place(name);
        let mut writer = Writer::new(File::create(&place.0).unwrap());
        let bytes: Vec<char> = text.chars().collect();
        for piece in bytes.chunks(piece) {
            writer.write(&piece.iter().collect::<String>()).unwrap();
        }
        writer.finish().unwrap();
        place
    }

    fn read(place: &Place) -> String {
        let mut reader = Reader::new(File::open(&place.0).unwrap()).unwrap();
        let mut text = String::new();
        loop {
            let piece = reader.read().unwrap();
            if piece.is_empty() {
                return text;
            }
            text.push_str(&String::from_utf8(piece).unwrap());
        }
    }

    const HEADER: &str = "id,chunk_seq,chunk,embedding,location,embedding_provider,embedding_model,\
                          embedding_dimensions,embedding_made_by\n";

    #[test]
    fn what_is_written_is_read_again() {
        let mut text = HEADER.to_owned();
        for id in 0..1_234 {
            let chunk = format!("\"line one\nand \"\"two\"\", {id}\"");
            let vector = format!("\"[{id},-0.1,0.000012345,340000000000000000000]\"");
            let location = if id % 3 == 0 {
                ""
            } else {
                "\"{\"\"page\"\": 7}\""
            };
            text.push_str(&format!(
                "{id},{},{chunk},{vector},{location},ollama,é,4,d\n",
                id % 5
            ));
        }
        for piece in [7, text.len()] {
            let place = write(&format!("again-{piece}"), &text, piece);
            assert_eq!(read(&place), text);
        }
    }

    #[test]
    fn a_file_without_chunks_has_its_header() {
        assert_eq!(read(&write("empty", HEADER, 100)), HEADER);
    }

    #[test]
    fn what_is_no_vector_is_named() {
        let place = place("broken");
        let mut writer = Writer::new(File::create(&place.0).unwrap());
        let text = format!("{HEADER}1,0,a,\"[1,b]\",,p,m,2,d\n");
        writer.write(&text).unwrap();
        let error = writer.finish().unwrap_err();
        assert!(error.contains("the column embedding"), "{error}");
    }

    #[test]
    fn another_file_is_refused() {
        let place = place("other");
        std::fs::write(&place.0, HEADER).unwrap();
        let error = Reader::new(File::open(&place.0).unwrap()).err().unwrap();
        assert!(error.contains("Parquet"), "{error}");
    }
}
