//! The nearest known word, for messages about unknown ones. Pure.

/// The candidate that differs least from `word`; `None` when nothing is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1) + 1;
    known.into_iter().map(|name| (distance(word, name), name)).filter(|(far, _)| *far <= limit).min().map(|(_, name)| name)
}

/// ` (did you mean "x"?)`, or nothing.
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |name| format!(" (did you mean {name:?}?)"))
}

/// Insertions, deletions and replacements between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_are_near_and_strangers_are_not() {
        let known = ["url", "method", "headers", "success_pattern"];
        assert_eq!(nearest("sucess_patern", known), Some("success_pattern"));
        assert_eq!(nearest("header", known), Some("headers"));
        assert_eq!(nearest("zebra", known), None);
    }
}
