//! Rows as files: JSON lines, or Parquet with the same fields.
//!
//! Both are written row by row, so that a sweep of any length needs little memory. The same rows give the same bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::str::FromStr;
use std::sync::Arc;

use arrow_json::reader::Decoder;
use arrow_json::{LineDelimitedWriter, ReaderBuilder};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::row::SeedRow;

/// Rows that are encoded together; also how many a reader of Parquet gets at a time.
const BATCH_ROWS: usize = 256;
/// Rows of a row group: enough for columns to be worth their overhead, few enough to be held in memory.
const GROUP_ROWS: usize = 4096;
/// The longest line of JSON that is read; a row of 1,000 routes is a tenth of it.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line: `.jsonl`, `.ndjson` or `.json`.
    JsonLines,
    /// Apache Parquet: `.parquet`.
    Parquet,
}

/// Rows cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read or written.
    #[error("{0}")]
    File(#[from] io::Error),
    /// A line is no row.
    #[error("line {line}: this is no row of a sweep: {why}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The file is no Parquet file with the columns of a sweep.
    #[error("this is no Parquet file of a sweep: {0}")]
    Parquet(#[from] ParquetError),
    /// Rows do not fit the columns.
    #[error("the rows do not fit the columns of a sweep: {0}")]
    Arrow(#[from] ArrowError),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(extension: &str) -> Result<Format, String> {
        match extension {
            "jsonl" | "ndjson" | "json" => Ok(Format::JsonLines),
            "parquet" => Ok(Format::Parquet),
            other => Err(format!("`.{other}` is no format of results; expected `.parquet` or `.jsonl`")),
        }
    }
}

/// Writes rows one after the other.
pub(super) enum TableWriter {
    JsonLines(BufWriter<File>),
    Parquet(Box<ParquetRows>),
}

/// Rows on their way into a Parquet file.
pub(super) struct ParquetRows {
    decoder: Decoder,
    writer: ArrowWriter<File>,
}

impl TableWriter {
    /// Writes to `file`.
    ///
    /// # Errors
    /// If the head of the file cannot be written.
    pub fn new(format: Format, file: File) -> Result<TableWriter, TableError> {
        Ok(match format {
            Format::JsonLines => TableWriter::JsonLines(BufWriter::new(file)),
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(file, schema(), Some(properties))?;
                let decoder = ReaderBuilder::new(schema())
                    .with_batch_size(BATCH_ROWS)
                    .with_strict_mode(true)
                    .build_decoder()?;
                TableWriter::Parquet(Box::new(ParquetRows { decoder, writer }))
            }
        })
    }

    /// Writes a row.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, row: &SeedRow) -> Result<(), TableError> {
        match self {
            TableWriter::JsonLines(file) => {
                serde_json::to_writer(&mut *file, row).map_err(io::Error::from)?;
                file.write_all(b"\n")?;
            }
            TableWriter::Parquet(rows) => {
                rows.decoder.serialize(std::slice::from_ref(row))?;
                if rows.decoder.len() >= BATCH_ROWS {
                    rows.flush()?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is left and the end of the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> Result<(), TableError> {
        match self {
            TableWriter::JsonLines(mut file) => file.flush()?,
            TableWriter::Parquet(mut rows) => {
                rows.flush()?;
                rows.writer.close()?;
            }
        }
        Ok(())
    }
}

impl ParquetRows {
    fn flush(&mut self) -> Result<(), TableError> {
        if let Some(batch) = self.decoder.flush()? {
            self.writer.write(&batch)?;
        }
        Ok(())
    }
}

/// The rows of a file, in its order.
///
/// # Errors
/// If it is no file of that format. Rows that are none are errors in their place.
pub(super) fn read(
    format: Format,
    file: File,
) -> Result<Box<dyn Iterator<Item = Result<SeedRow, TableError>>>, TableError> {
    Ok(match format {
        Format::JsonLines => Box::new(rows_of(BufReader::new(file))),
        Format::Parquet => {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
            let batches = builder.with_batch_size(BATCH_ROWS).build()?;
            Box::new(batches.flat_map(|batch| {
                let lines = batch.and_then(|batch| {
                    let mut writer = LineDelimitedWriter::new(Vec::new());
                    writer.write(&batch)?;
                    writer.finish()?;
                    Ok(writer.into_inner())
                });
                match lines {
                    Ok(lines) => rows_of(io::Cursor::new(lines)).collect(),
                    Err(error) => vec![Err(TableError::Arrow(error))],
                }
            }))
        }
    })
}

/// The rows of JSON lines.
fn rows_of(mut lines: impl BufRead) -> impl Iterator<Item = Result<SeedRow, TableError>> {
    let mut number = 0;
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        number += 1;
        match io::Read::take(&mut lines, LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(parse(&line).map_err(|why| TableError::Line { line: number, why })),
            Err(error) => Some(Err(TableError::File(error))),
        }
    })
}

/// The row of one line.
pub(super) fn parse(line: &[u8]) -> Result<SeedRow, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

/// The columns, in the order of a row's fields.
fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let number = |name: &str| Field::new(name, DataType::UInt64, false);
    let numbers = |names: &[&str]| names.iter().map(|name| number(name)).collect::<Vec<_>>();
    let object = |fields: Vec<Field>| DataType::Struct(Fields::from(fields));
    let list = |name: &str, fields: Vec<Field>| {
        Field::new(name, DataType::List(Arc::new(Field::new("item", object(fields), false))), false)
    };
    let latency_numbers =
        ["count", "min_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"].map(number).to_vec();
    let mut latency = vec![text("route"), text("operation")];
    latency.extend(latency_numbers);
    latency.insert(3, Field::new("hops", DataType::UInt32, false));
    let counts =
        ["requests", "misrouted", "retried", "failed", "acknowledged", "lost", "duplicated", "reordered"];
    let outage =
        vec![text("route"), number("longest_ns"), Field::new("recovered_ns", DataType::UInt64, true)];
    Arc::new(Schema::new(vec![
        number("seed"),
        text("verdict"),
        text("trace_hash"),
        number("simulated_ns"),
        number("wall_ns"),
        number("checks"),
        list("failed_checks", vec![text("name"), text("detail")]),
        Field::new("counts", object(numbers(&counts)), false),
        list("latency", latency),
        list("outages", outage),
        list("faults", vec![number("at_ns"), Field::new("for_ns", DataType::UInt64, true), text("fault")]),
        text("scenario"),
        Field::new("sweep", object(vec![text("inputs_hash"), text("version"), text("seeds")]), false),
    ]))
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;
    use crate::sweep::fixture::row;

    fn written(format: Format, rows: &[SeedRow]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        let mut writer = TableWriter::new(format, file.try_clone().expect("a handle")).expect("a writer");
        for row in rows {
            writer.write(row).expect("written");
        }
        writer.finish().expect("finished");
        file.rewind().expect("rewound");
        file
    }

    #[test]
    fn rows_come_back_from_both_formats_as_they_were() {
        let mut rows: Vec<SeedRow> = (0..600).map(row).collect();
        rows[1].simulated_ns = u64::MAX;
        rows[2].outages[0].recovered_ns = None;
        rows[3].failed_checks.clear();
        for format in [Format::JsonLines, Format::Parquet] {
            let read: Vec<SeedRow> = read(format, written(format, &rows))
                .expect("opened")
                .collect::<Result<_, _>>()
                .expect("rows");
            assert_eq!(read.len(), rows.len());
            assert!(read == rows, "{format:?}");
        }
    }

    #[test]
    fn the_same_rows_give_the_same_bytes() {
        let rows: Vec<SeedRow> = (0..10).map(row).collect();
        for format in [Format::JsonLines, Format::Parquet] {
            let [first, second] = [(), ()].map(|()| {
                let mut bytes = Vec::new();
                io::Read::read_to_end(&mut written(format, &rows), &mut bytes).expect("read");
                bytes
            });
            assert!(first == second && !first.is_empty(), "{format:?}");
        }
    }

    #[test]
    fn what_is_no_row_is_told_with_its_line() {
        let text = format!("{}\n{{\"seed\": 1}}\n", serde_json::to_string(&row(0)).expect("plain data"));
        let rows: Vec<_> = rows_of(text.as_bytes()).collect();
        assert_eq!(rows[0].as_ref().expect("a row").seed, 0);
        let error = rows[1].as_ref().expect_err("no row").to_string();
        assert!(error.starts_with("line 2: this is no row of a sweep: missing field `verdict`"), "{error}");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"PAR1 but not really PAR1").expect("written");
        assert!(matches!(read(Format::Parquet, file), Err(TableError::Parquet(_))));
    }
}
