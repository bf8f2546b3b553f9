//! How results are shown: as Markdown that also reads well on a terminal, and in sections of
//! doc/benchmarks.md that a run replaces while the text around them stays.

use std::fmt::Write as _;

/// A table in the making.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub(super) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self::with_head(head.map(str::to_owned).to_vec())
    }

    /// A table with these column heads.
    pub(super) fn with_head(head: Vec<String>) -> Self {
        Self { rows: vec![head] }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table in Markdown, its columns aligned.
    pub(super) fn markdown(&self) -> String {
        let n_columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                .max(3)
        };
        let widths: Vec<_> = (0..n_columns).map(width).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                let padding = " ".repeat(width - cell.chars().count());
                if column == 0 {
                    text = text + "| " + cell + &padding + " |";
                } else {
                    text = text + " " + &padding + cell + " |";
                }
            }
            text.push('\n');
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width - 1);
                    // Writing to a String cannot fail.
                    match column {
                        0 => write!(text, "| {dashes}- |").ok(),
                        _ => write!(text, " {dashes}: |").ok(),
                    };
                }
                text.push('\n');
            }
        }
        text
    }
}

/// Puts a new text into the section of that name, between its two marks.
pub(super) fn replace_section(document: &str, name: &str, text: &str) -> Result<String, String> {
    let begin = format!("<!-- begin {name} -->\n");
    let end = format!("<!-- end {name} -->");
    let missing = || format!("doc/benchmarks.md has no section `{name}`");
    let (before, rest) = document.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    let text = text.trim_end();
    Ok(format!("{before}{begin}{text}\n{end}{after}"))
}

/// Seconds as the tables show them: to three digits, as far as they mean anything.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.01 => format!("{s:.4}"),
        s if s < 1.0 => format!("{s:.3}"),
        s if s < 100.0 => format!("{s:.2}"),
        s => format!("{s:.0}"),
    }
}

/// How many times as much.
pub(super) fn ratio(of: f64, to: f64) -> String {
    if to > 0.0 {
        format!("{:.2} ×", of / to)
    } else {
        "–".to_owned()
    }
}

/// Memory in MiB.
pub(super) fn mib(kib: f64) -> String {
    format!("{:.1}", kib / 1024.0)
}

/// A number with its thousands set apart.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown_with_aligned_columns() {
        let mut table = Table::new(["", "seconds"]);
        table.row(["mpop".to_owned(), "1.01".to_owned()]);
        let expected = "|      | seconds |\n| ---- | ------: |\n| mpop |    1.01 |\n";
        assert_eq!(table.markdown(), expected);
    }

    #[test]
    fn a_section_is_replaced_and_the_rest_stays() {
        let document = "one\n<!-- begin a -->\nold\n<!-- end a -->\ntwo\n";
        let new = replace_section(document, "a", "new\n").unwrap();
        assert_eq!(new, document.replace("old", "new"));
        assert!(replace_section(document, "b", "new").is_err());
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1_234_567), "1 234 567");
    }
}
