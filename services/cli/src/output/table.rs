//! Aligned columns, and aligned facts.

use crate::output::tone::{Palette, Tone};

const GAP: &str = "  ";

/// Which side of a column is straight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A text in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text with a meaning.
    pub(crate) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self {
            text: one_line(text.as_ref()),
            tone,
        }
    }
}

impl Cell {
    /// The text in its colour, for places outside of a table.
    pub(crate) fn render(&self, palette: Palette) -> String {
        palette.paint(self.tone, &self.text)
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::new(text, Tone::Plain)
    }
}

/// The text on one line and without control characters: names and titles come from elsewhere, and must neither break
/// the layout nor steer the terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A column.
struct Column {
    heading: String,
    align: Align,
    /// Shown only where all is.
    is_extra: bool,
}

impl Column {
    fn new(text: &str) -> Self {
        let (text, is_extra) = match text.strip_prefix('+') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (text, align) = match text.strip_prefix('>') {
            Some(text) => (text, Align::Right),
            None => (text, Align::Left),
        };
        Self {
            heading: one_line(text),
            align,
            is_extra,
        }
    }
}

/// Rows of cells under headings. An empty cell shows as `-`, so that columns can be counted.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// A column that gives way so that lines have at most this width.
    fit: Option<(usize, usize)>,
}

impl Table {
    /// A table with these headings; one that begins with `>` aligns its column to the right, and one that begins with `+`
    /// is of a column that is shown only where all columns are.
    pub(crate) fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            columns: headings.into_iter().map(Column::new).collect(),
            rows: Vec::new(),
            fit: None,
        }
    }

    /// Shortens the given column's texts until lines fit into the width, but not below 8 characters.
    #[must_use]
    pub(crate) fn fit(mut self, column: usize, width: usize) -> Self {
        self.fit = Some((column, width));
        self
    }

    /// Adds a row. Cells that are missing are empty; cells without a heading are dropped.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let mut cells: Vec<Cell> = cells.into_iter().collect();
        cells.resize(self.columns.len(), Cell::from(""));
        for cell in cells.iter_mut().filter(|cell| cell.text.is_empty()) {
            *cell = Cell::from("-");
        }
        self.rows.push(cells);
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, without spaces at the ends of lines.
    pub(crate) fn render(&self, palette: Palette) -> String {
        let headings: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| Cell::new(&column.heading, Tone::Heading))
            .collect();
        let rows: Vec<&Vec<Cell>> = std::iter::once(&headings).chain(&self.rows).collect();
        let widths = self.widths(&rows, palette);
        let mut text = String::new();
        for row in rows {
            text.push_str(&self.line(row, &widths, palette));
            text.push('\n');
        }
        text
    }

    /// How wide each column is; `None` for one that is not shown.
    fn widths(&self, rows: &[&Vec<Cell>], palette: Palette) -> Vec<Option<usize>> {
        let widest = |place: usize| {
            let texts = rows.iter().filter_map(|row| row.get(place));
            texts.map(|cell| width(&cell.text)).max().unwrap_or(0)
        };
        let mut widths: Vec<Option<usize>> = self
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| (!column.is_extra || palette.is_wide()).then(|| widest(place)))
            .collect();
        let shown: Vec<usize> = widths.iter().copied().flatten().collect();
        if let Some((column, limit)) = self.fit
            && !palette.is_wide()
            && let Some(Some(natural)) = widths.get(column).copied()
        {
            let total = shown.iter().sum::<usize>() + GAP.len() * shown.len().saturating_sub(1);
            let fitting = natural
                .saturating_sub(total.saturating_sub(limit))
                .max(natural.min(8));
            widths[column] = Some(fitting);
        }
        widths
    }

    fn line(&self, cells: &[Cell], widths: &[Option<usize>], palette: Palette) -> String {
        let mut line = String::new();
        // Spaces are held back until something follows them.
        let mut owed = 0;
        for (place, cell) in cells.iter().enumerate() {
            let Some(wanted) = widths[place] else {
                continue;
            };
            let text = shorten(&cell.text, wanted);
            let padding = wanted - width(&text);
            let (before, after) = match self.columns[place].align {
                Align::Left => (0, padding),
                Align::Right => (padding, 0),
            };
            line.extend(std::iter::repeat_n(' ', owed + before));
            line.push_str(&palette.paint(cell.tone, &text));
            owed = after + GAP.len();
        }
        line
    }
}

/// Facts about one thing: a label and a value a line.
#[derive(Default)]
pub(crate) struct Facts(Vec<(&'static str, Cell)>);

impl Facts {
    /// Adds a fact.
    #[must_use]
    pub(crate) fn with(mut self, label: &'static str, value: impl Into<Cell>) -> Self {
        self.0.push((label, value.into()));
        self
    }

    /// Adds a fact, unless there is nothing to say.
    #[must_use]
    pub(crate) fn with_some(self, label: &'static str, value: &str) -> Self {
        if value.is_empty() {
            self
        } else {
            self.with(label, value)
        }
    }

    /// The facts as text.
    pub(crate) fn render(&self, palette: Palette) -> String {
        let widest = self
            .0
            .iter()
            .map(|(label, _)| width(label))
            .max()
            .unwrap_or(0);
        let mut text = String::new();
        for (label, value) in &self.0 {
            let padding = " ".repeat(widest - width(label) + GAP.len());
            let line = format!(
                "{}{padding}{}",
                palette.paint(Tone::Heading, label),
                palette.paint(value.tone, &value.text)
            );
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Every character counts as one column, which holds for all but a few scripts.
fn width(text: &str) -> usize {
    text.chars().count()
}

fn shorten(text: &str, limit: usize) -> String {
    if width(text) <= limit {
        return text.to_owned();
    }
    let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(rows: &[[&str; 3]]) -> Table {
        let mut table = Table::new(["NAME", ">VALUE", "NOTE"]);
        for row in rows {
            table.row(row.map(Cell::from));
        }
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        let text =
            table(&[["a", "1", ""], ["longer", "1000000", "élan"]]).render(Palette::new(false));
        assert_eq!(
            text,
            "NAME      VALUE  NOTE\na             1  -\nlonger  1000000  élan\n"
        );
    }

    #[test]
    fn an_empty_table_has_its_headings() {
        assert_eq!(
            table(&[]).render(Palette::new(false)),
            "NAME  VALUE  NOTE\n"
        );
    }

    #[test]
    fn one_column_gives_way() {
        let text = table(&[["a-very-long-name-indeed", "1", "x"]])
            .fit(0, 25)
            .render(Palette::new(false));
        assert_eq!(text, "NAME          VALUE  NOTE\na-very-long…      1  x\n");
        assert!(text.lines().all(|line| width(line) <= 25), "{text}");
    }

    #[test]
    fn what_is_extra_shows_only_where_all_does() {
        let mut table = Table::new(["NAME", "+>BYTES", "NOTE"]).fit(0, 10);
        table.row(["a-long-name", "7", "x"].map(Cell::from));
        let narrow = Palette::new(false);
        assert_eq!(table.render(narrow), "NAME      NOTE\na-long-…  x\n");
        assert_eq!(
            table.render(narrow.wide()),
            "NAME         BYTES  NOTE\na-long-name      7  x\n"
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut table = Table::new(["A", "B"]);
        table.row([Cell::new("x", Tone::Good), Cell::from("y")]);
        assert_eq!(
            table.render(Palette::new(true)),
            "\x1b[1mA\x1b[0m  \x1b[1mB\x1b[0m\n\x1b[32mx\x1b[0m  y\n"
        );
    }

    #[test]
    fn foreign_text_cannot_steer_the_terminal() {
        assert_eq!(one_line("a\nb\x1b[31m\tc"), "a b [31m c");
    }

    #[test]
    fn facts_are_aligned() {
        let facts = Facts::default()
            .with("model", "movies")
            .with_some("error", "")
            .with("id", "7");
        assert_eq!(
            facts.render(Palette::new(false)),
            "model  movies\nid     7\n"
        );
    }

    proptest! {
        #[test]
        fn every_row_is_one_line_and_starts_its_last_column_at_the_same_place(
            rows in prop::collection::vec(("[^x]{0,12}", "[^x]{0,12}"), 0..8),
        ) {
            let mut table = Table::new(["FIRST", ">SECOND", "LAST"]);
            for (first, second) in &rows {
                table.row([Cell::from(first), Cell::from(second), Cell::from("x")]);
            }
            let text = table.render(Palette::new(false));
            let lines: Vec<&str> = text.lines().collect();
            prop_assert_eq!(lines.len(), rows.len() + 1);
            let place = |line: &str| line.chars().position(|c| c == 'x');
            let places: Vec<_> = lines[1..].iter().map(|line| place(line)).collect();
            prop_assert!(places.windows(2).all(|pair| pair[0] == pair[1]), "{}", text);
        }
    }
}
