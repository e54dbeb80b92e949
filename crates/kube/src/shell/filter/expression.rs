//! `expr`: integers and comparisons. `:`, `match`, `substr`, `index` are left out.

use super::super::Outcome;
use super::{Filtered, Unsupported};

/// Arguments of one call; the grammar is recursive.
const ARGUMENTS_MAX: usize = 64;

enum Failure {
    Message(String),
    LeftOut(String),
}

type Evaluated = Result<String, Failure>;

/// Prints the value; status 0 if it is neither empty nor 0, 1 if it is, 2 for an error.
pub(super) fn run(args: &[String]) -> Filtered {
    if args.len() > ARGUMENTS_MAX {
        return Err(Unsupported("expr of this length".to_owned()));
    }
    let mut parser = Parser { args, at: 0 };
    let result = parser.alternatives().and_then(|value| match parser.peek() {
        None => Ok(value),
        Some(extra) => Err(Failure::Message(format!("syntax error: unexpected argument '{extra}'"))),
    });
    match result {
        Ok(value) => Ok(Outcome {
            status: i32::from(is_null(&value)),
            stdout: format!("{value}\n").into_bytes(),
            stderr: Vec::new(),
        }),
        Err(Failure::Message(message)) => Ok(Outcome::failure(2, format!("expr: {message}"))),
        Err(Failure::LeftOut(what)) => Err(Unsupported(format!("expr with {what}"))),
    }
}

struct Parser<'a> {
    args: &'a [String],
    at: usize,
}

fn is_null(value: &str) -> bool {
    value.is_empty() || value.parse::<i64>() == Ok(0)
}

fn integer(value: &str) -> Result<i64, Failure> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Failure::Message("non-integer argument".to_owned()));
    }
    value.parse().map_err(|_| Failure::LeftOut(format!("the large number {value}")))
}

impl Parser<'_> {
    fn peek(&self) -> Option<&str> {
        self.args.get(self.at).map(String::as_str)
    }

    fn accept(&mut self, operators: &[&str]) -> Option<String> {
        let next = self.peek().filter(|next| operators.contains(next))?.to_owned();
        self.at += 1;
        Some(next)
    }

    fn alternatives(&mut self) -> Evaluated {
        let mut left = self.conjunctions()?;
        while self.accept(&["|"]).is_some() {
            let right = self.conjunctions()?;
            left = match (is_null(&left), is_null(&right)) {
                (false, _) => left,
                (true, false) => right,
                (true, true) => "0".to_owned(),
            };
        }
        Ok(left)
    }

    fn conjunctions(&mut self) -> Evaluated {
        let mut left = self.comparisons()?;
        while self.accept(&["&"]).is_some() {
            let right = self.comparisons()?;
            left = if is_null(&left) || is_null(&right) { "0".to_owned() } else { left };
        }
        Ok(left)
    }

    fn comparisons(&mut self) -> Evaluated {
        let mut left = self.sums()?;
        while let Some(operator) = self.accept(&["=", "==", "!=", "<", "<=", ">", ">="]) {
            let right = self.sums()?;
            let order = match (integer(&left), integer(&right)) {
                (Ok(left), Ok(right)) => left.cmp(&right),
                _ => left.cmp(&right),
            };
            let holds = match operator.as_str() {
                "=" | "==" => order.is_eq(),
                "!=" => order.is_ne(),
                "<" => order.is_lt(),
                "<=" => order.is_le(),
                ">" => order.is_gt(),
                _ => order.is_ge(),
            };
            left = i32::from(holds).to_string();
        }
        Ok(left)
    }

    fn sums(&mut self) -> Evaluated {
        let mut left = self.products()?;
        while let Some(operator) = self.accept(&["+", "-"]) {
            let right = self.products()?;
            let (a, b) = (integer(&left)?, integer(&right)?);
            let value = if operator == "+" { a.checked_add(b) } else { a.checked_sub(b) };
            left = value.ok_or_else(|| Failure::LeftOut("large numbers".to_owned()))?.to_string();
        }
        Ok(left)
    }

    fn products(&mut self) -> Evaluated {
        let mut left = self.operand()?;
        while let Some(operator) = self.accept(&["*", "/", "%"]) {
            let right = self.operand()?;
            let (a, b) = (integer(&left)?, integer(&right)?);
            if b == 0 && operator != "*" {
                return Err(Failure::Message("division by zero".to_owned()));
            }
            let value = match operator.as_str() {
                "*" => a.checked_mul(b),
                "/" => a.checked_div(b),
                _ => a.checked_rem(b),
            };
            left = value.ok_or_else(|| Failure::LeftOut("large numbers".to_owned()))?.to_string();
        }
        Ok(left)
    }

    fn operand(&mut self) -> Evaluated {
        if self.accept(&["("]).is_some() {
            let value = self.alternatives()?;
            return match self.accept(&[")"]) {
                Some(_) => Ok(value),
                None => Err(Failure::Message("syntax error: expecting ')'".to_owned())),
            };
        }
        let Some(value) = self.peek().map(str::to_owned) else {
            return Err(Failure::Message("syntax error: missing argument".to_owned()));
        };
        self.at += 1;
        let keyword = matches!(value.as_str(), "match" | "substr" | "index" | "+");
        if (keyword && self.at < self.args.len()) || self.peek() == Some(":") {
            return Err(Failure::LeftOut(format!("'{value}' as an operator or ':'")));
        }
        if let ("length", Some(text)) = (value.as_str(), self.peek().map(str::to_owned)) {
            self.at += 1;
            return Ok(text.chars().count().to_string());
        }
        Ok(value)
    }
}
