//! Conditions out of text: `or` binds weakest, then `and`, `not`, comparisons.

use super::{
    Expr, Val,
    lex::{Token, lex},
};
use crate::words::hint;

const NAMES: [&str; 7] = ["kind", "value", "currency", "order_id", "refund_id", "who", "more"];

/// Nesting beyond this is refused, so that no text can exhaust the stack.
const DEPTH: usize = 64;

/// Parses a condition; the error says what was met where.
pub fn parse(source: &str) -> Result<Expr, String> {
    let mut parser = Parser { tokens: lex(source)?, at: 0, depth: 0 };
    let expr = parser.or()?;
    match parser.peek() {
        None => Ok(expr),
        Some(token) => Err(format!("{} is not expected there", token.shown())),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        self.take(&Token::Name(word.to_owned()))
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.depth += 1;
        let parsed = if self.depth > DEPTH { Err("the condition is nested too deeply".into()) } else { parse(self) };
        self.depth -= 1;
        parsed
    }

    fn or(&mut self) -> Result<Expr, String> {
        let mut left = self.and()?;
        while self.word("or") {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, String> {
        let mut left = self.not()?;
        while self.word("and") {
            left = Expr::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr, String> {
        if self.word("not") { Ok(Expr::Not(Box::new(self.deeper(Self::not)?))) } else { self.comparison() }
    }

    fn comparison(&mut self) -> Result<Expr, String> {
        let left = self.atom()?;
        for sign in ["==", "!=", "<=", ">=", "<", ">"] {
            if self.take(&Token::Sign(sign)) {
                return Ok(Expr::Compare(Box::new(left), sign, Box::new(self.atom()?)));
            }
        }
        if self.word("is") {
            let not = self.word("not");
            let expr = if self.word("defined") {
                Expr::Defined(Box::new(left))
            } else if self.word("undefined") {
                Expr::Not(Box::new(Expr::Defined(Box::new(left))))
            } else {
                return Err("\"is\" is followed by defined, not defined or undefined".into());
            };
            return Ok(if not { Expr::Not(Box::new(expr)) } else { expr });
        }
        let not = self.word("not");
        if self.word("in") {
            let expr = Expr::In(Box::new(left), Box::new(self.atom()?));
            return Ok(if not { Expr::Not(Box::new(expr)) } else { expr });
        }
        if not { Err("\"not\" is followed by \"in\" there".into()) } else { Ok(left) }
    }

    fn atom(&mut self) -> Result<Expr, String> {
        let token = self.peek().cloned().ok_or("the condition ends too early")?;
        self.at += 1;
        match token {
            Token::Text(text) => Ok(Expr::Value(Val::Text(text))),
            Token::Num(number) => Ok(Expr::Value(Val::Num(number))),
            Token::Sign("-") => match self.deeper(Self::atom)? {
                Expr::Value(Val::Num(number)) => Ok(Expr::Value(Val::Num(-number))),
                _ => Err("\"-\" stands before a number only; conditions do not calculate".into()),
            },
            Token::Sign("(") => {
                let inner = self.deeper(Self::or)?;
                if self.take(&Token::Sign(")")) { Ok(inner) } else { Err("a \"(\" is not closed".into()) }
            }
            Token::Sign("[") => self.list(),
            Token::Name(name) => match name.as_str() {
                "true" | "True" => Ok(Expr::Value(Val::Bool(true))),
                "false" | "False" => Ok(Expr::Value(Val::Bool(false))),
                "none" | "None" => Ok(Expr::Value(Val::Missing)),
                _ => self.path(name),
            },
            sign @ Token::Sign(_) => Err(format!("{} is not expected there", sign.shown())),
        }
    }

    fn list(&mut self) -> Result<Expr, String> {
        let mut items = Vec::new();
        while !self.take(&Token::Sign("]")) {
            items.push(self.deeper(Self::atom)?);
            if !self.take(&Token::Sign(",")) && self.peek() != Some(&Token::Sign("]")) {
                return Err("a list is written ['a', 'b']".into());
            }
        }
        Ok(Expr::List(items))
    }

    fn path(&mut self, name: String) -> Result<Expr, String> {
        if !NAMES.contains(&name.as_str()) {
            return Err(format!("unknown name {name:?}{}; known: {}", hint(&name, NAMES), NAMES.join(", ")));
        }
        let mut path = vec![name];
        while self.take(&Token::Sign(".")) {
            match self.peek().cloned() {
                Some(Token::Name(key)) => path.push(key),
                _ => return Err(format!("a key is missing after \"{}.\"", path.join("."))),
            }
            self.at += 1;
        }
        if path.len() > 1 && !matches!(path[0].as_str(), "who" | "more") {
            return Err(format!("{:?} has no keys", path[0]));
        }
        Ok(Expr::Path(path))
    }
}
