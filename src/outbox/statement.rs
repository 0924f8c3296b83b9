//! Long statements whose parts are left out where there is nothing for them. Statements are unnamed, so that they pass
//! transaction poolers, and are parsed and planned each time: for a single order that took as long as carrying them out.

/// The parts of `text` that are wanted, without its comments. A part stands between a line `--[ NAME` and a line `--]`.
/// All parameters stay, in their places: what no part mentions is an empty array.
pub(super) fn with_parts(text: &str, wanted: impl Fn(&str) -> bool) -> String {
    let (mut sql, mut within) = (String::with_capacity(text.len()), true);
    for line in text.lines() {
        let line = line.trim_start();
        if let Some(name) = line.strip_prefix("--[ ") {
            within = wanted(name);
        } else if line == "--]" {
            within = true;
        } else if within && !line.starts_with("--") {
            sql.push_str(line);
            sql.push('\n');
        }
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_left_out() {
        let text = "-- why\nselect 1\n--[ a\n  -- more\n  , 2\n--]\n--[ b b\n, 3\n--]\nfrom t";
        assert_eq!(with_parts(text, |name| name == "b b"), "select 1\n, 3\nfrom t\n");
        assert_eq!(with_parts(text, |_| true), "select 1\n, 2\n, 3\nfrom t\n");
    }
}
