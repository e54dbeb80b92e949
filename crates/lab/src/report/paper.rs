//! What a report is written on: a width, and whether colour is wanted.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

/// Where a text report goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    /// Columns. Tables and paragraphs fit in them as far as words do.
    pub width: u16,
    /// Whether to colour words (ANSI escape sequences).
    pub colour: bool,
}

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Doubtful,
    Quiet,
    Strong,
}

impl Default for Paper {
    fn default() -> Self {
        Paper { width: 100, colour: false }
    }
}

impl Paper {
    /// `text` in the colour of `tone`, if colour is wanted.
    pub(super) fn paint(self, text: &str, tone: Tone) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Doubtful => "33",
            Tone::Quiet => "2",
            Tone::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// A heading on a line of its own, with an empty line before it.
    pub(super) fn heading(self, out: &mut String, text: &str) {
        let _ = writeln!(out, "\n{}", self.paint(text, Tone::Strong));
    }

    /// `text` in lines that fit, the first after `first`, the others indented as far.
    pub(super) fn paragraph(self, out: &mut String, first: &str, text: &str) {
        let indent = first.chars().count();
        let width = usize::from(self.width).max(indent + 20);
        let mut line = first.to_owned();
        let mut length = indent;
        for word in text.split_whitespace() {
            let word_length = word.chars().count();
            if length > indent && length + 1 + word_length > width {
                let _ = writeln!(out, "{}", line.trim_end());
                line = " ".repeat(indent);
                length = indent;
            }
            if length > indent {
                line.push(' ');
                length += 1;
            }
            line.push_str(word);
            length += word_length;
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }

    /// A table; the columns in `right` hold numbers and are aligned to the right.
    pub(super) fn table(self, out: &mut String, header: &[&str], right: &[usize], rows: Vec<Vec<Cell>>) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(self.width);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(header.to_vec());
        table.add_rows(rows);
        for index in right {
            if let Some(column) = table.column_mut(*index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let _ = writeln!(out, "{table}");
    }
}

/// A cell whose colour, if any is wanted, says whether the word in it is good.
pub(super) fn cell(text: &str, tone: Tone) -> Cell {
    let cell = Cell::new(text);
    match tone {
        Tone::Good => cell.fg(Color::Green),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Doubtful => cell.fg(Color::Yellow),
        Tone::Quiet | Tone::Strong => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_fit_and_keep_their_indent() {
        let mut out = String::new();
        let paper = Paper { width: 30, colour: false };
        paper.paragraph(&mut out, "  why: ", "one two three four five six seven");
        assert_eq!(out, "  why: one two three four five\n       six seven\n");
    }

    #[test]
    fn colour_is_used_only_when_asked() {
        assert_eq!(Paper::default().paint("pass", Tone::Good), "pass");
        assert_eq!(Paper { width: 80, colour: true }.paint("pass", Tone::Good), "\u{1b}[32mpass\u{1b}[0m");
    }
}
