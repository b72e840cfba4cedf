//! Maximum mean discrepancy with the Hamming kernel: a fingerprint of sampled completions (statistics, 9).

/// Share of equal positions among the first `length`. A position beyond the end of a sequence holds a pad, which
/// equals a pad only. 1 for `length` 0.
#[must_use]
pub fn hamming_kernel<T: PartialEq>(x: &[T], y: &[T], length: usize) -> f64 {
    if length == 0 {
        return 1.0;
    }
    let equal = (0..length).filter(|&i| x.get(i) == y.get(i)).count();
    equal as f64 / length as f64
}

fn mean_within<T: PartialEq>(xs: &[Vec<T>], length: usize) -> f64 {
    let n = xs.len();
    let pairs = (0..n).flat_map(|i| (0..n).filter(move |&j| j != i).map(move |j| (i, j)));
    pairs.map(|(i, j)| hamming_kernel(&xs[i], &xs[j], length)).sum::<f64>() / (n * (n - 1)) as f64
}

/// Unbiased squared maximum mean discrepancy; `None` with fewer than two sequences on a side. May be negative.
#[must_use]
pub fn mmd2_hamming<T: PartialEq>(xs: &[Vec<T>], ys: &[Vec<T>], length: usize) -> Option<f64> {
    if xs.len() < 2 || ys.len() < 2 {
        return None;
    }
    let across: f64 = xs.iter().flat_map(|x| ys.iter().map(move |y| hamming_kernel(x, y, length))).sum();
    let cross = across / (xs.len() * ys.len()) as f64;
    Some(mean_within(xs, length) + mean_within(ys, length) - 2.0 * cross)
}
