//! What a template may say, checked at startup: known filters and tests, no functions, no calculation, no captured blocks.

use super::{CLOSE, OPEN, filters};
use crate::words::hint;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Text,
    Number,
    Sign(char),
}

const STATEMENTS: [&str; 7] = ["if", "elif", "else", "endif", "for", "endfor", "set"];

/// Walks the tags of `source`.
pub fn check(source: &str) -> Result<(), String> {
    if source.contains([OPEN, CLOSE]) {
        return Err("the template holds the noncharacter U+FDD0 or U+FDD1; remove it".into());
    }
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("{#") {
            rest = comment.find("#}").map(|end| &comment[end + 2..]).ok_or("a comment {# is not closed")?;
        } else if let Some(tag) = rest.strip_prefix("{{") {
            let (tokens, after) = tokens(tag, "}}")?;
            expression(&tokens)?;
            rest = after;
        } else if let Some(tag) = rest.strip_prefix("{%") {
            let (tokens, after) = tokens(tag, "%}")?;
            statement(&tokens)?;
            rest = after;
        } else {
            rest = &rest[1..];
        }
    }
    Ok(())
}

/// The template's own characters before its first tag.
pub fn literal_prefix(source: &str) -> &str {
    let end = ["{{", "{%", "{#"].iter().filter_map(|tag| source.find(tag)).min().unwrap_or(source.len());
    &source[..end]
}

/// The template's own characters outside all tags.
pub fn literals(source: &str) -> String {
    let mut text = String::new();
    let mut rest = source;
    while !rest.is_empty() {
        let prefix = literal_prefix(rest);
        text.push_str(prefix);
        rest = &rest[prefix.len()..];
        let Some((end, body)) = [("}}", "{{"), ("%}", "{%"), ("#}", "{#")].iter().find_map(|(end, open)| Some((*end, rest.strip_prefix(open)?)))
        else {
            break;
        };
        rest = if end == "#}" { body.find(end).map_or("", |at| &body[at + 2..]) } else { tokens(body, end).map_or("", |(_, after)| after) };
    }
    text
}

fn statement(tokens: &[Token]) -> Result<(), String> {
    match tokens.first() {
        Some(Token::Name(name)) if STATEMENTS.contains(&name.as_str()) => {
            if name == "set" && !tokens.contains(&Token::Sign('=')) {
                return Err("{% set %} needs \"name = value\" in one tag".into());
            }
            expression(&tokens[1..])
        }
        Some(Token::Name(name)) => Err(format!("{{% {name} %}} is not offered; known: {}", STATEMENTS.join(", "))),
        _ => Err("an empty {% %}".into()),
    }
}

fn expression(tokens: &[Token]) -> Result<(), String> {
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| &tokens[at]);
        match token {
            Token::Sign('<' | '>' | '+' | '-' | '*' | '/' | '%') => {
                return Err(
                    "templates do not calculate: use filters (minor, micros, decimal, negate) and the tests above(10), below(10), equal(10)".into()
                );
            }
            Token::Sign('{' | '}' | ':' | ';' | '@' | '?') => return Err("only names, texts, filters and tests may stand in a tag".into()),
            Token::Name(name) if before == Some(&Token::Sign('|')) => known("filter", name, &filters::FILTERS)?,
            Token::Name(name) if is_test(&tokens[..at]) && name != "not" => known("test", name, &filters::TESTS)?,
            Token::Name(name)
                if tokens.get(at + 1) == Some(&Token::Sign('(')) && !matches!(name.as_str(), "and" | "or" | "not" | "in" | "if" | "else") =>
            {
                return Err(format!("there is no function {name:?}; filters are written value | {name}"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn known(what: &str, name: &str, names: &[&str]) -> Result<(), String> {
    if names.contains(&name) {
        return Ok(());
    }
    Err(format!("unknown {what} {name:?}{}; known: {}", hint(name, names.iter().copied()), names.join(", ")))
}

fn is_test(before: &[Token]) -> bool {
    let is = Token::Name("is".into());
    match before {
        [.., last] if *last == is => true,
        [.., first, last] => *first == is && *last == Token::Name("not".into()),
        _ => false,
    }
}

/// Tokens up to `end` outside of texts, and what follows it.
fn tokens<'a>(tag: &'a str, end: &str) -> Result<(Vec<Token>, &'a str), String> {
    let mut tokens = Vec::new();
    let mut rest = tag.strip_prefix(['-', '+']).unwrap_or(tag);
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(end).or_else(|| rest.strip_prefix(['-', '+'])?.strip_prefix(end)) {
            return Ok((tokens, after));
        }
        let first = rest.chars().next().ok_or_else(|| format!("a tag is not closed by {end}"))?;
        let length = if first == '"' || first == '\'' {
            tokens.push(Token::Text);
            text_length(rest, first).ok_or("a text in a tag is not closed")?
        } else if first.is_ascii_digit() {
            tokens.push(Token::Number);
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let fraction = rest[length..].starts_with('.') && rest[length + 1..].starts_with(|c: char| c.is_ascii_digit());
            if fraction || rest[..length].contains(['e', 'E']) {
                return Err(format!("write the number {}... in quotes: templates hold no floats", &rest[..length]));
            }
            length
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token::Name(rest[..length].to_owned()));
            length
        } else {
            tokens.push(Token::Sign(first));
            first.len_utf8()
        };
        rest = &rest[length..];
    }
}

fn text_length(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_templates_may_not_say() {
        for (source, word) in [
            ("{{ amount * 2 }}", "calculate"),
            ("{{ amount | mino }}", "did you mean minor?"),
            ("{{ amount is abov(3) }}", "did you mean above?"),
            ("{{ range(3) }}", "no function"),
            ("{% macro a() %}{% endmacro %}", "not offered"),
            ("{% set a %}x{% endset %}", "name = value"),
            ("{{ 1.5 }}", "quotes"),
            ("{{ amount", "not closed"),
            ("\u{fdd0}", "noncharacter"),
        ] {
            let error = check(source).expect_err(source);
            assert!(error.contains(word), "{source}: {error}");
        }
    }

    #[test]
    fn what_they_may() {
        for source in [
            r#"{"a":{"b":{{ amount }}}}"#,
            "{{- order_id ~ '}}' -}}",
            "{% if not full %}{% for i in items %}{{ i.id | default(\"x\") }}{% endfor %}{% endif %}",
            "{{ 'rejected' if full else 'sale' }}",
            "{# 1 * 2 #}{{ amount is not above(\"1.5\") }}",
        ] {
            assert_eq!(check(source), Ok(()), "{source}");
        }
        assert_eq!(literals("a{{ '}}?' }}b{# # #}c"), "abc");
    }
}
