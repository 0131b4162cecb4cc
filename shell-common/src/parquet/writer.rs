//! From CSV to Parquet.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as PhysicalType};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};
use pgai_core::csv::{self, Records};

use super::{is_number, said, unreadable};

/// A group of rows is held in memory until it has about this many bytes of text.
const GROUP_BYTES: usize = 16_000_000;

/// Writes a CSV file as a Parquet file.
pub(crate) struct Writer<W: Write + Send> {
    records: Records,
    /// Until the header is there.
    output: Option<W>,
    file: Option<SerializedFileWriter<W>>,
    columns: Vec<String>,
    /// Not written yet.
    rows: Vec<Vec<String>>,
    bytes: usize,
}

impl<W: Write + Send> Writer<W> {
    pub(crate) fn new(output: W) -> Self {
        Self {
            records: Records::new(),
            output: Some(output),
            file: None,
            columns: vec![],
            rows: vec![],
            bytes: 0,
        }
    }

    /// Takes the next piece of the CSV file.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), String> {
        // To the reader an empty piece is the end.
        if text.is_empty() {
            return Ok(());
        }
        let mut records = self.records.read(text.as_bytes())?.into_iter();
        if self.file.is_none()
            && let Some(header) = records.next()
        {
            self.begin(header).map_err(|error| said(&error))?;
        }
        self.rows.extend(records);
        self.bytes += text.len();
        if self.bytes >= GROUP_BYTES {
            self.flush().map_err(|error| said(&error))?;
        }
        Ok(())
    }

    /// Writes what is left, and the end of the file.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        let end = self.flush().and_then(|()| match self.file {
            Some(file) => file.close().map(|_| ()),
            None => Ok(()),
        });
        end.map_err(|error| said(&error))
    }

    fn begin(&mut self, header: Vec<String>) -> Result<(), ParquetError> {
        let columns = header.iter().map(|name| column(name).map(Arc::new));
        let columns: Vec<TypePtr> = columns.collect::<Result<_, _>>()?;
        let schema = Type::group_type_builder("chunks").with_fields(columns);
        let schema = Arc::new(schema.build()?);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
        if let Some(output) = self.output.take() {
            let properties = Arc::new(properties.build());
            self.file = Some(SerializedFileWriter::new(output, schema, properties)?);
        }
        self.columns = header;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        let Some(file) = self.file.as_mut().filter(|_| !self.rows.is_empty()) else {
            return Ok(());
        };
        let mut group = file.next_row_group()?;
        for (name, at) in self.columns.iter().zip(0..) {
            let mut column = group.next_column()?.ok_or_else(|| unreadable(name))?;
            let fields = self.rows.iter().map(|row| row.get(at));
            let fields = fields.map(|field| field.map_or("", String::as_str));
            write_column(column.untyped(), name, fields)?;
            column.close()?;
        }
        group.close()?;
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// The type of a column. Only the location may be null.
fn column(name: &str) -> Result<Type, ParquetError> {
    if name == csv::EMBEDDING {
        let element = Type::primitive_type_builder("element", PhysicalType::FLOAT)
            .with_repetition(Repetition::REQUIRED);
        let list = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![Arc::new(element.build()?)]);
        return Type::group_type_builder(name)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(list.build()?)])
            .build();
    }
    let repetition = match name {
        csv::LOCATION => Repetition::OPTIONAL,
        _ => Repetition::REQUIRED,
    };
    let (physical, logical) = match is_number(name) {
        true => (PhysicalType::INT32, None),
        false => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
    };
    Type::primitive_type_builder(name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical)
        .build()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`column` makes no columns of other types"
)]
fn write_column<'a>(
    writer: &mut ColumnWriter<'_>,
    name: &str,
    fields: impl Iterator<Item = &'a str>,
) -> Result<(), ParquetError> {
    match writer {
        ColumnWriter::FloatColumnWriter(writer) => {
            let (mut values, mut repetitions) = (vec![], vec![]);
            for field in fields {
                let inside = field.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
                let inside = inside.ok_or_else(|| unreadable(name))?;
                for (component, nth) in inside.split(',').zip(0..) {
                    values.push(component.parse().map_err(|_| unreadable(name))?);
                    // 0 begins a list.
                    repetitions.push(i16::from(nth > 0));
                }
            }
            let definitions = vec![1; values.len()];
            writer.write_batch(&values, Some(&definitions), Some(&repetitions))?;
        }
        ColumnWriter::Int32ColumnWriter(writer) => {
            let values = fields.map(|field| field.parse().map_err(|_| unreadable(name)));
            writer.write_batch(&values.collect::<Result<Vec<_>, _>>()?, None, None)?;
        }
        ColumnWriter::ByteArrayColumnWriter(writer) if name == csv::LOCATION => {
            let fields: Vec<&str> = fields.collect();
            let definitions = fields.iter().map(|field| i16::from(!field.is_empty()));
            let definitions: Vec<i16> = definitions.collect();
            let values = fields.into_iter().filter(|field| !field.is_empty());
            let values: Vec<_> = values.map(ByteArray::from).collect();
            writer.write_batch(&values, Some(&definitions), None)?;
        }
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            let values: Vec<_> = fields.map(ByteArray::from).collect();
            writer.write_batch(&values, None, None)?;
        }
        _ => return Err(unreadable(name)),
    }
    Ok(())
}
