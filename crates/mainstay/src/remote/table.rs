//! Columns of text as Argo CD's tables have them: as wide as their longest cell, two spaces apart.

/// Rows under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

/// What keeps columns apart.
const GAP: usize = 2;

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Rows without a heading, for a summary.
    pub(crate) fn plain() -> Self {
        Self { rows: Vec::new() }
    }

    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(|cell| clean(cell.into())).collect());
    }
}

/// One line, and nothing that would move a terminal's cursor.
fn clean(cell: String) -> String {
    if cell.chars().any(char::is_control) {
        cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    } else {
        cell
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            // The last cell of a row has nothing beside it.
            for (width, cell) in widths.iter_mut().zip(row.iter().take(row.len().saturating_sub(1))) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            let last = row.len().saturating_sub(1);
            for (at, cell) in row.iter().enumerate() {
                if at == last {
                    writeln!(f, "{cell}")?;
                } else {
                    write!(f, "{cell:<width$}", width = widths[at] + GAP)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(&["NAME", "STATUS", "MESSAGE"]);
        table.row(["a", "OutOfSync", "one\ntwo \u{1b}[2J"]);
        table.row(["gateway", "", ""]);
        assert_eq!(
            table.to_string(),
            "NAME     STATUS     MESSAGE\na        OutOfSync  one two  [2J\ngateway             \n"
        );
    }
}
