//! The words of a condition.

use rust_decimal::Decimal;

use crate::event::decimal;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Num(Decimal),
    Sign(&'static str),
}

impl Token {
    /// As a message names it; texts are not repeated.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Name(name) => format!("{name:?}"),
            Self::Text(_) => "a text".into(),
            Self::Num(number) => number.to_string(),
            Self::Sign(sign) => format!("\"{sign}\""),
        }
    }
}

const SIGNS: [&str; 13] = ["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", ",", ".", "-"];

/// All tokens of a condition.
pub(super) fn lex(source: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' || first == '\'' {
            let end = rest[1..].find(first).ok_or("a text is not closed")?;
            tokens.push(Token::Text(rest[1..=end].to_owned()));
            end + 2
        } else if first.is_ascii_digit() {
            let length = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let number = decimal(&rest[..length]).ok_or_else(|| format!("{:?} is not a number", &rest[..length]))?;
            tokens.push(Token::Num(number));
            length
        } else if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token::Name(rest[..length].to_owned()));
            length
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else {
            let advice = if first == '=' { "; equality is written ==" } else { "" };
            return Err(format!("{first:?} is not part of a condition{advice}"));
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}
