//! Maximum bipartite matching (Kuhn's augmenting paths) and longest in-order matching.
//!
//! Both maximise the number of pairs; the first is used where order does not matter, the second where it does.

/// A compatibility matrix, row by row.
pub(super) struct Compatible {
    columns: usize,
    cells: Vec<bool>,
}

impl Compatible {
    /// Fills the matrix from a predicate.
    pub fn new(rows: usize, columns: usize, mut fits: impl FnMut(usize, usize) -> bool) -> Self {
        let cells = (0..rows * columns).map(|at| fits(at / columns, at % columns)).collect();
        Compatible { columns, cells }
    }

    fn rows(&self) -> usize {
        self.cells.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Whether there is such a column.
    pub fn has_column(&self, column: usize) -> bool {
        column < self.columns
    }

    /// Whether a row and a column fit.
    pub fn fits(&self, row: usize, column: usize) -> bool {
        self.cells[row * self.columns + column]
    }
}

/// The column of each row in a matching with as many pairs as possible. O(rows² · columns).
pub(super) fn maximum(rows: usize, compatible: &Compatible) -> Vec<Option<usize>> {
    let mut row_of: Vec<Option<usize>> = vec![None; compatible.columns];
    for row in 0..compatible.rows() {
        let mut seen = vec![false; compatible.columns];
        augment(row, compatible, &mut seen, &mut row_of);
    }
    let mut column_of = vec![None; rows];
    for (column, row) in row_of.into_iter().enumerate() {
        if let Some(row) = row {
            column_of[row] = Some(column);
        }
    }
    column_of
}

/// Finds a column for a row, moving earlier rows if need be. Recursion is as deep as there are rows.
fn augment(row: usize, compatible: &Compatible, seen: &mut [bool], row_of: &mut [Option<usize>]) -> bool {
    for column in 0..compatible.columns {
        if !compatible.fits(row, column) || seen[column] {
            continue;
        }
        seen[column] = true;
        if row_of[column].is_none_or(|other| augment(other, compatible, seen, row_of)) {
            row_of[column] = Some(row);
            return true;
        }
    }
    false
}

/// The column of each row in a matching with as many pairs as possible whose columns increase with the rows.
pub(super) fn in_order(rows: usize, compatible: &Compatible) -> Vec<Option<usize>> {
    let columns = compatible.columns;
    let width = columns + 1;
    // best[i][j]: pairs among rows i.. and columns j..
    let mut best = vec![0_usize; (rows + 1) * width];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            let skip = best[(i + 1) * width + j].max(best[i * width + j + 1]);
            let take = if compatible.fits(i, j) { best[(i + 1) * width + j + 1] + 1 } else { 0 };
            best[i * width + j] = skip.max(take);
        }
    }
    let mut column_of = vec![None; rows];
    let (mut i, mut j) = (0, 0);
    while i < rows && j < columns {
        if compatible.fits(i, j) && best[i * width + j] == best[(i + 1) * width + j + 1] + 1 {
            column_of[i] = Some(j);
            (i, j) = (i + 1, j + 1);
        } else if best[(i + 1) * width + j] >= best[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    column_of
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Most pairs by trying everything.
    fn brute(row: usize, used: u32, last: Option<usize>, m: &Compatible, rows: usize, ordered: bool) -> usize {
        if row == rows {
            return 0;
        }
        let mut best = brute(row + 1, used, last, m, rows, ordered);
        for column in 0..m.columns {
            let allowed = if ordered { last.is_none_or(|l| column > l) } else { used & (1 << column) == 0 };
            if allowed && m.fits(row, column) {
                best = best.max(1 + brute(row + 1, used | (1 << column), Some(column), m, rows, ordered));
            }
        }
        best
    }

    proptest! {
        #[test]
        fn no_matching_has_more_pairs(rows in 0..6_usize, columns in 0..6_usize, bits in any::<u64>()) {
            let m = Compatible::new(rows, columns, |r, c| bits >> (r * 6 + c) & 1 == 1);
            for ordered in [false, true] {
                let found = if ordered { in_order(rows, &m) } else { maximum(rows, &m) };
                let pairs: Vec<(usize, usize)> = found.iter().enumerate().filter_map(|(r, c)| c.map(|c| (r, c))).collect();
                prop_assert!(pairs.iter().all(|(r, c)| m.fits(*r, *c)));
                let mut taken: Vec<usize> = pairs.iter().map(|(_, c)| *c).collect();
                if ordered {
                    prop_assert!(taken.windows(2).all(|w| w[0] < w[1]));
                }
                taken.sort_unstable();
                taken.dedup();
                prop_assert_eq!(taken.len(), pairs.len());
                prop_assert_eq!(pairs.len(), brute(0, 0, None, &m, rows, ordered));
            }
        }
    }

    #[test]
    fn an_early_greedy_choice_is_undone() {
        // Row 0 fits both columns, row 1 only the first.
        let m = Compatible::new(2, 2, |r, c| r == 0 || c == 0);
        assert_eq!(maximum(2, &m), vec![Some(1), Some(0)]);
    }
}
