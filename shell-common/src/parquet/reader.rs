//! From Parquet to CSV.

use std::fs::File;

use parquet::basic::{Compression, ConvertedType, Repetition, Type as PhysicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;
use pgai_core::csv;

use super::{said, unreadable};

/// Rows that are read at a time.
const PIECE_ROWS: usize = 100;

/// Reads a Parquet file as a CSV file. Columns of types that no export has are left out.
pub(crate) struct Reader {
    file: SerializedFileReader<File>,
    columns: Vec<Column>,
    /// The group of rows that comes next.
    group: usize,
    /// Those of the group in progress, one for each of `columns`.
    readers: Vec<ColumnReader>,
    rows_left: usize,
    is_begun: bool,
}

struct Column {
    name: String,
    /// Among all columns of the file.
    at: usize,
    /// The level of definition of a value that is not null.
    is_given: i16,
}

impl Column {
    fn new(at: usize, column: &ColumnDescriptor) -> Option<Self> {
        let name = column.path().parts().first()?.clone();
        let is_list = column.max_rep_level() == 1;
        let is_read = match column.physical_type() {
            PhysicalType::FLOAT | PhysicalType::DOUBLE => is_list && name == csv::EMBEDDING,
            PhysicalType::INT32 | PhysicalType::INT64 => {
                column.path().parts().len() == 1 && is_integer(column)
            }
            PhysicalType::BYTE_ARRAY => {
                column.path().parts().len() == 1
                    && column.self_type().get_basic_info().repetition() != Repetition::REPEATED
            }
            PhysicalType::BOOLEAN | PhysicalType::FIXED_LEN_BYTE_ARRAY | PhysicalType::INT96 => {
                false
            }
        };
        is_read.then(|| Self {
            name,
            at,
            is_given: column.max_def_level(),
        })
    }
}

/// Not a date or a time, which integers stand for, too.
fn is_integer(column: &ColumnDescriptor) -> bool {
    !matches!(
        column.converted_type(),
        ConvertedType::DATE
            | ConvertedType::DECIMAL
            | ConvertedType::TIME_MICROS
            | ConvertedType::TIME_MILLIS
            | ConvertedType::TIMESTAMP_MICROS
            | ConvertedType::TIMESTAMP_MILLIS
    ) && column.max_rep_level() == 0
}

impl Reader {
    pub(crate) fn new(file: File) -> Result<Self, String> {
        let file = SerializedFileReader::new(file).map_err(|error| said(&error))?;
        let schema = file.metadata().file_metadata().schema_descr();
        let columns = schema.columns().iter().zip(0..);
        let columns = columns.filter_map(|(column, at)| Column::new(at, column));
        let columns: Vec<_> = columns.collect();
        check_compression(&file, &columns)?;
        Ok(Self {
            columns,
            file,
            group: 0,
            readers: vec![],
            rows_left: 0,
            is_begun: false,
        })
    }

    /// The next piece of the CSV file; an empty one is its end.
    pub(crate) fn read(&mut self) -> Result<Vec<u8>, String> {
        let text = if self.is_begun {
            self.rows()
        } else {
            self.is_begun = true;
            let mut header = String::new();
            let names = self.columns.iter().map(|column| column.name.as_str());
            csv::write_line(&mut header, names.map(Some));
            Ok(header)
        };
        text.map(String::into_bytes).map_err(|error| said(&error))
    }

    fn rows(&mut self) -> Result<String, ParquetError> {
        let mut text = String::new();
        while self.rows_left == 0 {
            if self.group >= self.file.num_row_groups() {
                return Ok(text);
            }
            self.open()?;
        }
        let count = self.rows_left.min(PIECE_ROWS);
        let mut fields = vec![];
        for (reader, column) in self.readers.iter_mut().zip(&self.columns) {
            let read = read_column(reader, column, count)?;
            if read.len() != count {
                return Err(unreadable(&column.name));
            }
            fields.push(read);
        }
        self.rows_left -= count;
        for at in 0..count {
            csv::write_line(&mut text, fields.iter().map(|column| column[at].as_deref()));
        }
        Ok(text)
    }

    fn open(&mut self) -> Result<(), ParquetError> {
        let group = self.file.get_row_group(self.group)?;
        self.rows_left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let columns = self.columns.iter();
        let readers = columns.map(|column| group.get_column_reader(column.at));
        self.readers = readers.collect::<Result<_, _>>()?;
        self.group += 1;
        Ok(())
    }
}

/// This program has one compression, the one that most tools use by default.
fn check_compression(file: &SerializedFileReader<File>, columns: &[Column]) -> Result<(), String> {
    for group in file.metadata().row_groups() {
        for column in columns {
            let compression = group.column(column.at).compression();
            if !matches!(compression, Compression::SNAPPY | Compression::UNCOMPRESSED) {
                return Err(format!(
                    "the column {} is compressed with {compression}: write the file with Snappy, or without compression",
                    column.name
                ));
            }
        }
    }
    Ok(())
}

/// The next fields of a column.
fn read_column(
    reader: &mut ColumnReader,
    column: &Column,
    count: usize,
) -> Result<Vec<Option<String>>, ParquetError> {
    match reader {
        ColumnReader::FloatColumnReader(reader) => vectors(reader, column, count),
        ColumnReader::DoubleColumnReader(reader) => vectors(reader, column, count),
        ColumnReader::Int32ColumnReader(reader) => {
            plain(reader, column, count, |it| it.to_string())
        }
        ColumnReader::Int64ColumnReader(reader) => {
            plain(reader, column, count, |it| it.to_string())
        }
        ColumnReader::ByteArrayColumnReader(reader) => {
            plain(reader, column, count, |it: &ByteArray| {
                String::from_utf8_lossy(it.data()).into_owned()
            })
        }
        ColumnReader::BoolColumnReader(_)
        | ColumnReader::FixedLenByteArrayColumnReader(_)
        | ColumnReader::Int96ColumnReader(_) => Err(unreadable(&column.name)),
    }
}

fn plain<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    column: &Column,
    count: usize,
    text: impl Fn(&T::T) -> String,
) -> Result<Vec<Option<String>>, ParquetError> {
    let (mut values, mut definitions) = (vec![], vec![]);
    reader.read_records(count, Some(&mut definitions), None, &mut values)?;
    // A column that may not be null has no levels.
    if column.is_given == 0 {
        return Ok(values.iter().map(|value| Some(text(value))).collect());
    }
    let mut values = values.iter();
    let fields = definitions.iter().map(|level| {
        let is_given = *level == column.is_given;
        is_given.then(|| values.next().map(&text)).flatten()
    });
    Ok(fields.collect())
}

/// Lists of numbers, as pgvector writes them. A list begins where the level of repetition is 0.
fn vectors<T: DataType<T: ToString>>(
    reader: &mut ColumnReaderImpl<T>,
    column: &Column,
    count: usize,
) -> Result<Vec<Option<String>>, ParquetError> {
    let (mut values, mut definitions, mut repetitions) = (vec![], vec![], vec![]);
    let levels = (Some(&mut definitions), Some(&mut repetitions));
    reader.read_records(count, levels.0, levels.1, &mut values)?;
    let mut values = values.iter();
    let mut lists: Vec<Option<String>> = vec![];
    for (definition, repetition) in definitions.iter().zip(&repetitions) {
        let value = (*definition == column.is_given).then(|| values.next());
        let value = value.flatten().map(ToString::to_string);
        match (value, lists.last_mut().filter(|_| *repetition > 0)) {
            (Some(value), None) => lists.push(Some(format!("[{value}"))),
            (Some(value), Some(Some(list))) => {
                list.push(',');
                list.push_str(&value);
            }
            // A list that is null, or empty.
            (None, None) => lists.push(None),
            (_, Some(_)) => return Err(unreadable(&column.name)),
        }
    }
    for list in lists.iter_mut().flatten() {
        list.push(']');
    }
    Ok(lists)
}
