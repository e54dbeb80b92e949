//! `test`, `[` and `[[` (Bash manual 6.4).

use brush_parser::ast::{BinaryPredicate, ExtendedTestExpr, UnaryPredicate};

use super::environment::{Flow, Shell, absolute, is_directory};

/// Arguments of one `test`; its grammar is recursive.
const ARGUMENTS_MAX: usize = 64;

impl Shell<'_> {
    /// `test` and `[` (without the final `]`): 0 is true, 1 false, 2 an error.
    pub fn test(&mut self, args: &[String]) -> Flow<i32> {
        if args.len() > ARGUMENTS_MAX {
            return Err(self.not_interpreted("a test of this length"));
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Ok(match self.test_expression(&args)? {
            Ok(holds) => i32::from(!holds),
            Err(message) => {
                self.complain(&format!("test: {message}"))?;
                2
            }
        })
    }

    fn test_expression(&mut self, args: &[&str]) -> Flow<Result<bool, String>> {
        match args {
            [] => Ok(Ok(false)),
            [text] => Ok(Ok(!text.is_empty())),
            ["!", text] => Ok(Ok(text.is_empty())),
            [operator, operand] => self.unary(operator, operand),
            [left, operator, right] if is_binary(operator) => self.binary_test(left, operator, right),
            ["!", rest @ ..] => Ok(self.test_expression(rest)?.map(|holds| !holds)),
            ["(", inside @ .., ")"] => self.test_expression(inside),
            _ => {
                for (word, any) in [("-o", true), ("-a", false)] {
                    if let Some(at) = args.iter().position(|&arg| arg == word).filter(|&at| at > 0) {
                        let left = self.test_expression(&args[..at])?;
                        let right = self.test_expression(&args[at + 1..])?;
                        return Ok(match (left, right) {
                            (Ok(left), Ok(right)) => Ok(if any { left || right } else { left && right }),
                            (Err(message), _) | (_, Err(message)) => Err(message),
                        });
                    }
                }
                Ok(Err("too many arguments".to_owned()))
            }
        }
    }

    fn unary(&self, operator: &str, operand: &str) -> Flow<Result<bool, String>> {
        let path = absolute(operand);
        let content = self.files.get(&path);
        Ok(Ok(match operator {
            "-z" => operand.is_empty(),
            "-n" => !operand.is_empty(),
            "-f" => content.is_some(),
            "-s" => content.is_some_and(|content| !content.is_empty()),
            "-d" => !operand.is_empty() && is_directory(self.files, &path),
            // The container's files are readable, writable and executable by the one user there is.
            "-e" | "-r" | "-w" | "-x" => {
                !operand.is_empty() && (content.is_some() || is_directory(self.files, &path))
            }
            "-L" | "-h" => false,
            "-v" => self.state.variables.contains_key(operand),
            _ => return Ok(Err(format!("{operator}: unary operator expected"))),
        }))
    }

    fn binary_test(&mut self, left: &str, operator: &str, right: &str) -> Flow<Result<bool, String>> {
        let numbers = || -> Result<(i64, i64), String> {
            let number = |text: &str| {
                text.trim().parse::<i64>().map_err(|_| format!("{text}: integer expression expected"))
            };
            Ok((number(left)?, number(right)?))
        };
        Ok(match operator {
            "=" | "==" => Ok(left == right),
            "!=" => Ok(left != right),
            "<" => Ok(left < right),
            ">" => Ok(left > right),
            "-a" => Ok(!left.is_empty() && !right.is_empty()),
            "-o" => Ok(!left.is_empty() || !right.is_empty()),
            "-eq" => numbers().map(|(left, right)| left == right),
            "-ne" => numbers().map(|(left, right)| left != right),
            "-lt" => numbers().map(|(left, right)| left < right),
            "-le" => numbers().map(|(left, right)| left <= right),
            "-gt" => numbers().map(|(left, right)| left > right),
            "-ge" => numbers().map(|(left, right)| left >= right),
            _ => Err(format!("{operator}: binary operator expected")),
        })
    }

    /// `[[ ... ]]`.
    pub fn extended_test(&mut self, expression: &ExtendedTestExpr) -> Flow<i32> {
        Ok(i32::from(!self.holds(expression)?))
    }

    fn holds(&mut self, expression: &ExtendedTestExpr) -> Flow<bool> {
        match expression {
            ExtendedTestExpr::And(left, right) => Ok(self.holds(left)? && self.holds(right)?),
            ExtendedTestExpr::Or(left, right) => Ok(self.holds(left)? || self.holds(right)?),
            ExtendedTestExpr::Not(inner) => Ok(!self.holds(inner)?),
            ExtendedTestExpr::Parenthesized(inner) => self.holds(inner),
            ExtendedTestExpr::UnaryTest(predicate, word) => {
                if matches!(predicate, UnaryPredicate::ShellOptionEnabled) {
                    return Err(self.not_interpreted("[[ -o ... ]]"));
                }
                let operand = self.word_text(&word.value)?;
                match self.unary(&predicate.to_string(), &operand)? {
                    Ok(holds) => Ok(holds),
                    Err(_) => Err(self.not_interpreted(format!("[[ {predicate} ... ]]"))),
                }
            }
            ExtendedTestExpr::BinaryTest(predicate, left, right) => {
                let left = self.word_text(&left.value)?;
                self.compare(predicate, &left, &right.value)
            }
        }
    }

    fn compare(&mut self, predicate: &BinaryPredicate, left: &str, right: &str) -> Flow<bool> {
        use BinaryPredicate as P;
        Ok(match predicate {
            P::StringExactlyMatchesPattern | P::StringExactlyMatchesString => {
                self.word_pattern(right)?.matches(left)
            }
            P::StringDoesNotExactlyMatchPattern | P::StringDoesNotExactlyMatchString => {
                !self.word_pattern(right)?.matches(left)
            }
            P::LeftSortsBeforeRight => *left < *self.word_text(right)?,
            P::LeftSortsAfterRight => *left > *self.word_text(right)?,
            P::ArithmeticEqualTo => self.arithmetic(left)? == self.arithmetic(right)?,
            P::ArithmeticNotEqualTo => self.arithmetic(left)? != self.arithmetic(right)?,
            P::ArithmeticLessThan => self.arithmetic(left)? < self.arithmetic(right)?,
            P::ArithmeticLessThanOrEqualTo => self.arithmetic(left)? <= self.arithmetic(right)?,
            P::ArithmeticGreaterThan => self.arithmetic(left)? > self.arithmetic(right)?,
            P::ArithmeticGreaterThanOrEqualTo => self.arithmetic(left)? >= self.arithmetic(right)?,
            _ => return Err(self.not_interpreted(format!("[[ ... {predicate} ... ]]"))),
        })
    }
}

fn is_binary(operator: &str) -> bool {
    let operators = ["=", "==", "!=", "<", ">", "-a", "-o", "-eq", "-ne", "-lt", "-le", "-gt", "-ge"];
    operators.contains(&operator)
}
