//! Column tables in memory, written as Parquet (and CSV twins) and read back. Every column may hold nulls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::column::reader::ColumnReader;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use crate::failure::Classify;
use crate::fsx::{self, FsError};

/// Rows per Parquet row group: bounds what a reader must hold at once.
const ROW_GROUP_ROWS: usize = 65_536;

/// Why a table cannot be read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Not a readable Parquet file.
    #[error("`{}`: not a Parquet table that can be read", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        source: ParquetError,
    },
    /// A column is missing or of another type.
    #[error("column `{column}` is {found}, expected {expected}")]
    Column {
        /// The column.
        column: String,
        /// What is there.
        found: &'static str,
        /// What was needed.
        expected: &'static str,
    },
    /// A value that must be known is null.
    #[error("column `{column}` is null in row {row}")]
    Null {
        /// The column.
        column: String,
        /// 0-based row.
        row: usize,
    },
}

impl Classify for TableError {}

/// The values of one column; `None` is unknown.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// UTF-8 text.
    Text(Vec<Option<String>>),
    /// Counts and indices.
    Int32(Vec<Option<i32>>),
    /// Sizes in bytes.
    Int64(Vec<Option<i64>>),
    /// Logits and probabilities.
    Float32(Vec<Option<f32>>),
    /// Physical quantities.
    Float64(Vec<Option<f64>>),
    /// Flags.
    Bool(Vec<Option<bool>>),
    /// Lists of indices.
    Int32List(Vec<Option<Vec<i32>>>),
}

/// Runs `$body` with `$values` bound to the vector of whichever variant `$column` is.
macro_rules! each_variant {
    ($column:expr, $values:ident => $body:expr) => {
        match $column {
            Column::Text($values) => $body,
            Column::Int32($values) => $body,
            Column::Int64($values) => $body,
            Column::Float32($values) => $body,
            Column::Float64($values) => $body,
            Column::Bool($values) => $body,
            Column::Int32List($values) => $body,
        }
    };
}

impl Column {
    fn len(&self) -> usize {
        each_variant!(self, values => values.len())
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Int32(_) => "int32",
            Self::Int64(_) => "int64",
            Self::Float32(_) => "float32",
            Self::Float64(_) => "float64",
            Self::Bool(_) => "bool",
            Self::Int32List(_) => "list<int32>",
        }
    }

    /// The value as CSV text; null is empty, a list is joined by spaces.
    fn csv_cell(&self, row: usize) -> String {
        fn shown<T: ToString>(value: Option<&T>) -> String {
            value.map(T::to_string).unwrap_or_default()
        }
        match self {
            Self::Text(values) => values[row].clone().unwrap_or_default(),
            Self::Int32List(values) => values[row]
                .as_ref()
                .map_or(String::new(), |list| list.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")),
            Self::Int32(values) => shown(values[row].as_ref()),
            Self::Int64(values) => shown(values[row].as_ref()),
            Self::Float32(values) => shown(values[row].as_ref()),
            Self::Float64(values) => shown(values[row].as_ref()),
            Self::Bool(values) => shown(values[row].as_ref()),
        }
    }

    fn parquet_type(&self, name: &str) -> Result<Type, ParquetError> {
        let physical = match self {
            Self::Text(_) => Physical::BYTE_ARRAY,
            Self::Int32(_) => Physical::INT32,
            Self::Int64(_) => Physical::INT64,
            Self::Float32(_) => Physical::FLOAT,
            Self::Float64(_) => Physical::DOUBLE,
            Self::Bool(_) => Physical::BOOLEAN,
            Self::Int32List(_) => return list_type(name),
        };
        let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
        if matches!(self, Self::Text(_)) { builder.with_logical_type(Some(LogicalType::String)) } else { builder }
            .build()
    }
}

/// The three-level list of the Parquet format specification ("Lists"): optional list of required int32.
fn list_type(name: &str) -> Result<Type, ParquetError> {
    let element =
        Type::primitive_type_builder("element", Physical::INT32).with_repetition(Repetition::REQUIRED).build()?;
    let list = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![Arc::new(element)])
        .build()?;
    Type::group_type_builder(name)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(Some(LogicalType::List))
        .with_converted_type(ConvertedType::LIST)
        .with_fields(vec![Arc::new(list)])
        .build()
}

/// Named columns of equal length, in file order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    columns: Vec<(String, Column)>,
}

macro_rules! getters {
    ($($(#[$doc:meta])* $get:ident, $required:ident, $variant:ident, $element:ty, $expected:literal;)*) => { $(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`TableError::Column`] when the column is missing or of another type.
        pub fn $get(&self, name: &str) -> Result<&[Option<$element>], TableError> {
            match self.column(name) {
                Some(Column::$variant(values)) => Ok(values),
                other => Err(TableError::Column {
                    column: name.to_owned(),
                    found: other.map_or("missing", Column::type_name),
                    expected: $expected,
                }),
            }
        }

        /// The same column where every value must be known.
        ///
        /// # Errors
        /// As the nullable getter, and [`TableError::Null`] with the first null row.
        pub fn $required(&self, name: &str) -> Result<Vec<$element>, TableError> {
            let known = |(row, value): (usize, &Option<$element>)| {
                value.clone().ok_or_else(|| TableError::Null { column: name.to_owned(), row })
            };
            self.$get(name)?.iter().enumerate().map(known).collect()
        }
    )* };
}

impl Table {
    /// An empty table without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column.
    ///
    /// # Panics
    /// When its length differs from the columns before it, or the name is taken: a caller's bug.
    #[must_use]
    pub fn with(mut self, name: &str, column: Column) -> Self {
        assert!(self.columns.is_empty() || column.len() == self.rows(), "column `{name}` has another length");
        assert!(self.column(name).is_none(), "column `{name}` is there twice");
        self.columns.push((name.to_owned(), column));
        self
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.len())
    }

    /// Column names in file order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|(found, _)| found == name).map(|(_, column)| column)
    }

    getters! {
        /// A text column.
        text, required_text, Text, String, "text";
        /// An int32 column.
        int32, required_int32, Int32, i32, "int32";
        /// An int64 column.
        int64, required_int64, Int64, i64, "int64";
        /// A float32 column.
        float32, required_float32, Float32, f32, "float32";
        /// A float64 column.
        float64, required_float64, Float64, f64, "float64";
        /// A boolean column.
        boolean, required_boolean, Bool, bool, "bool";
        /// A column of int32 lists.
        int32_list, required_int32_list, Int32List, Vec<i32>, "list<int32>";
    }

    /// The value of a column (by position) and row as CSV text; null is empty.
    ///
    /// # Panics
    /// When there is no such column or row: a caller's bug.
    pub fn cell(&self, column: usize, row: usize) -> String {
        self.columns[column].1.csv_cell(row)
    }

    /// Writes the table as Parquet, atomically; equal tables give equal bytes.
    pub fn write_parquet(&self, path: &Path) -> Result<(), TableError> {
        let parquet = |source| TableError::Parquet { path: path.to_path_buf(), source };
        let bytes = self.parquet_bytes().map_err(parquet)?;
        Ok(fsx::write_atomic(path, &bytes)?)
    }

    fn parquet_bytes(&self) -> Result<Vec<u8>, ParquetError> {
        let fields = self.columns.iter().map(|(name, column)| column.parquet_type(name).map(Arc::new));
        let schema = Type::group_type_builder("schema").with_fields(fields.collect::<Result<_, _>>()?).build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("groupdistil".to_owned())
            .build();
        let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
        let mut start = 0;
        while start < self.rows() {
            let end = self.rows().min(start + ROW_GROUP_ROWS);
            let mut group = writer.next_row_group()?;
            let mut columns = self.columns.iter();
            while let Some(mut target) = group.next_column()? {
                let (_, column) = columns.next().expect("the schema was made from these columns");
                write_values(target.untyped(), column, start..end)?;
                target.close()?;
            }
            group.close()?;
            start = end;
        }
        writer.into_inner()
    }

    /// Reads a Parquet table that has only the column types of [`Column`].
    pub fn read_parquet(path: &Path) -> Result<Self, TableError> {
        let file = fsx::open(path)?;
        let parquet = |source| TableError::Parquet { path: path.to_path_buf(), source };
        // parquet asserts on some malformed files; a bad file must not end the program.
        let read =
            std::panic::catch_unwind(|| SerializedFileReader::new(file).and_then(|reader| read_columns(&reader)));
        let columns = read.unwrap_or_else(|_| Err(ParquetError::General("malformed file".into()))).map_err(parquet)?;
        Ok(Self { columns })
    }

    /// Writes the table as CSV (RFC 4180, UTF-8, `\n`); null is empty.
    pub fn write_csv(&self, path: &Path) -> Result<(), TableError> {
        Ok(fsx::write_atomic_with(path, |file| {
            let mut writer = csv::Writer::from_writer(std::io::BufWriter::new(file));
            writer.write_record(self.names())?;
            for row in 0..self.rows() {
                writer.write_record(self.columns.iter().map(|(_, column)| column.csv_cell(row)))?;
            }
            writer.flush()
        })?)
    }
}

/// Known values and definition levels (1 = known) of one flat column.
fn split<T: Clone, U>(values: &[Option<T>], convert: impl Fn(T) -> U) -> (Vec<U>, Vec<i16>) {
    let levels = values.iter().map(|value| i16::from(value.is_some())).collect();
    (values.iter().flatten().cloned().map(convert).collect(), levels)
}

fn write_values(
    writer: &mut ColumnWriter<'_>,
    column: &Column,
    rows: std::ops::Range<usize>,
) -> Result<(), ParquetError> {
    macro_rules! flat {
        ($target:expr, $values:expr, $convert:expr) => {{
            let (known, levels) = split(&$values[rows], $convert);
            $target.write_batch(&known, Some(&levels), None)?
        }};
    }
    match (writer, column) {
        (ColumnWriter::ByteArrayColumnWriter(target), Column::Text(values)) => {
            flat!(target, values, |text: String| ByteArray::from(text.into_bytes()))
        }
        (ColumnWriter::Int32ColumnWriter(target), Column::Int32(values)) => flat!(target, values, |v| v),
        (ColumnWriter::Int64ColumnWriter(target), Column::Int64(values)) => flat!(target, values, |v| v),
        (ColumnWriter::FloatColumnWriter(target), Column::Float32(values)) => flat!(target, values, |v| v),
        (ColumnWriter::DoubleColumnWriter(target), Column::Float64(values)) => flat!(target, values, |v| v),
        (ColumnWriter::BoolColumnWriter(target), Column::Bool(values)) => flat!(target, values, |v| v),
        (ColumnWriter::Int32ColumnWriter(target), Column::Int32List(values)) => {
            let (known, definition, repetition) = list_levels(&values[rows]);
            target.write_batch(&known, Some(&definition), Some(&repetition))?
        }
        _ => return Err(ParquetError::General("column writer of another type".into())),
    };
    Ok(())
}

/// Definition levels: 0 null, 1 empty list, 2 an element; repetition level 1 continues a list.
fn list_levels(lists: &[Option<Vec<i32>>]) -> (Vec<i32>, Vec<i16>, Vec<i16>) {
    let (mut known, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
    for list in lists {
        match list.as_deref() {
            None | Some([]) => {
                definition.push(i16::from(list.is_some()));
                repetition.push(0);
            }
            Some(elements) => {
                known.extend_from_slice(elements);
                definition.extend(std::iter::repeat_n(2, elements.len()));
                repetition.extend((0..elements.len()).map(|index| i16::from(index > 0)));
            }
        }
    }
    (known, definition, repetition)
}

fn read_columns(reader: &SerializedFileReader<std::fs::File>) -> Result<Vec<(String, Column)>, ParquetError> {
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let mut columns: Vec<(String, Column)> = Vec::with_capacity(schema.num_columns());
    for index in 0..schema.num_columns() {
        let descriptor = schema.column(index);
        let name = descriptor.path().parts().first().cloned().unwrap_or_default();
        let column = match descriptor.physical_type() {
            Physical::BYTE_ARRAY => Column::Text(Vec::new()),
            Physical::INT32 if descriptor.max_rep_level() == 1 => Column::Int32List(Vec::new()),
            Physical::INT32 => Column::Int32(Vec::new()),
            Physical::INT64 => Column::Int64(Vec::new()),
            Physical::FLOAT => Column::Float32(Vec::new()),
            Physical::DOUBLE => Column::Float64(Vec::new()),
            Physical::BOOLEAN => Column::Bool(Vec::new()),
            other => return Err(ParquetError::General(format!("column `{name}` is of type {other}"))),
        };
        let list = matches!(column, Column::Int32List(_));
        if descriptor.max_rep_level() > i16::from(list) || descriptor.max_def_level() > 1 + i16::from(list) * 2 {
            return Err(ParquetError::General(format!("column `{name}` is nested")));
        }
        columns.push((name, column));
    }
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        for (index, (_, column)) in columns.iter_mut().enumerate() {
            read_values(group.as_ref(), index, column)?;
        }
    }
    Ok(columns)
}

fn read_values(group: &dyn RowGroupReader, index: usize, column: &mut Column) -> Result<(), ParquetError> {
    let rows = usize::try_from(group.metadata().num_rows()).map_err(|_| ParquetError::General("row count".into()))?;
    let max_definition = group.metadata().column(index).column_descr().max_def_level();
    macro_rules! flat {
        ($source:expr, $values:expr, $convert:expr) => {{
            let (mut known, mut levels) = (Vec::new(), Vec::new());
            let (read, ..) = $source.read_records(rows, Some(&mut levels), None, &mut known)?;
            check_rows(read, rows)?;
            let mut known = known.into_iter();
            if max_definition == 0 {
                for value in known {
                    $values.push(Some($convert(value)?));
                }
            } else {
                for level in levels {
                    let value = if level == 1 { known.next().map($convert).transpose()? } else { None };
                    $values.push(value);
                }
            }
        }};
    }
    match (group.get_column_reader(index)?, column) {
        (ColumnReader::ByteArrayColumnReader(mut source), Column::Text(values)) => {
            flat!(source, values, |bytes: ByteArray| bytes.as_utf8().map(str::to_owned))
        }
        (ColumnReader::Int32ColumnReader(mut source), Column::Int32(values)) => {
            flat!(source, values, Ok::<_, ParquetError>)
        }
        (ColumnReader::Int64ColumnReader(mut source), Column::Int64(values)) => {
            flat!(source, values, Ok::<_, ParquetError>)
        }
        (ColumnReader::FloatColumnReader(mut source), Column::Float32(values)) => {
            flat!(source, values, Ok::<_, ParquetError>)
        }
        (ColumnReader::DoubleColumnReader(mut source), Column::Float64(values)) => {
            flat!(source, values, Ok::<_, ParquetError>)
        }
        (ColumnReader::BoolColumnReader(mut source), Column::Bool(values)) => {
            flat!(source, values, Ok::<_, ParquetError>)
        }
        (ColumnReader::Int32ColumnReader(mut source), Column::Int32List(values)) => {
            let (mut known, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
            let (read, ..) = source.read_records(rows, Some(&mut definition), Some(&mut repetition), &mut known)?;
            check_rows(read, rows)?;
            let mut known = known.into_iter();
            for (level, repeated) in definition.into_iter().zip(repetition) {
                if repeated == 0 {
                    values.push(if level == 0 { None } else { Some(Vec::new()) });
                }
                if level == max_definition
                    && let (Some(value), Some(Some(list))) = (known.next(), values.last_mut())
                {
                    list.push(value);
                }
            }
        }
        _ => return Err(ParquetError::General("column of another type".into())),
    }
    Ok(())
}

fn check_rows(read: usize, rows: usize) -> Result<(), ParquetError> {
    if read == rows { Ok(()) } else { Err(ParquetError::General(format!("{read} of {rows} rows could be read"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parquet_gives_back_what_was_written(rows in prop::collection::vec(
            (any::<Option<String>>(), any::<Option<i32>>(), any::<Option<i64>>(), any::<Option<bool>>(),
             prop::option::of(-1e300..1e300f64), prop::option::of(-1e30..1e30f32),
             prop::option::of(prop::collection::vec(any::<i32>(), 0..4))), 0..40)) {
            let mut parts = (vec![], vec![], vec![], vec![], vec![], vec![], vec![]);
            for row in rows {
                parts.0.push(row.0); parts.1.push(row.1); parts.2.push(row.2); parts.3.push(row.3);
                parts.4.push(row.4); parts.5.push(row.5); parts.6.push(row.6);
            }
            let table = Table::new()
                .with("text", Column::Text(parts.0)).with("int32", Column::Int32(parts.1))
                .with("int64", Column::Int64(parts.2)).with("bool", Column::Bool(parts.3))
                .with("float64", Column::Float64(parts.4)).with("float32", Column::Float32(parts.5))
                .with("list", Column::Int32List(parts.6));
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("t.parquet");
            table.write_parquet(&path).unwrap();
            prop_assert_eq!(Table::read_parquet(&path).unwrap(), table);
        }
    }

    #[test]
    fn a_missing_column_and_a_null_are_named() {
        let table = Table::new().with("a", Column::Int32(vec![Some(1), None]));
        assert_eq!(table.text("a").unwrap_err().to_string(), "column `a` is int32, expected text");
        assert_eq!(table.required_int32("a").unwrap_err().to_string(), "column `a` is null in row 1");
    }

    #[test]
    fn a_truncated_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        Table::new().with("a", Column::Int32(vec![Some(1)])).write_parquet(&path).unwrap();
        let bytes = fsx::read(&path, 1 << 20).unwrap();
        fsx::write_atomic(&path, &bytes[..bytes.len() - 9]).unwrap();
        assert!(matches!(Table::read_parquet(&path), Err(TableError::Parquet { .. })));
    }
}
