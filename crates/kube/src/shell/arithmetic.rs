//! Shell arithmetic (Bash manual 6.5): 64-bit, wrapping.

use brush_parser::arithmetic;
use brush_parser::ast::{
    ArithmeticExpr, ArithmeticTarget, BinaryOperator, UnaryAssignmentOperator, UnaryOperator,
};

use super::environment::{Flow, Shell, Stop};
use super::error::ShellErrorKind;

/// Length of an expression in bytes; the parser is recursive.
const LENGTH_MAX: usize = 256;
/// Variables whose values are expressions with variables.
const CHAIN_MAX: usize = 16;

impl Shell<'_> {
    /// Expands and evaluates an expression.
    pub fn arithmetic(&mut self, source: &str) -> Flow<i64> {
        let text = self.unquoted_text(source)?;
        self.expression(text.trim(), 0)
    }

    fn expression(&mut self, text: &str, chain: usize) -> Flow<i64> {
        // A leading 0 makes a number octal.
        if let Ok(number) = text.parse::<i64>()
            && (number == 0 || !text.trim_start_matches(['-', '+']).starts_with('0'))
        {
            return Ok(number);
        }
        if text.len() > LENGTH_MAX || chain > CHAIN_MAX {
            let kind = ShellErrorKind::Limit { limit: LENGTH_MAX, what: "bytes of arithmetic" };
            return Err(self.error(text, kind));
        }
        match arithmetic::parse(text) {
            Ok(expression) => self.evaluate(&expression, chain),
            Err(_) => Err(self.arithmetic_failure(&format!("{text}: arithmetic syntax error"))),
        }
    }

    fn evaluate(&mut self, expression: &ArithmeticExpr, chain: usize) -> Flow<i64> {
        match expression {
            ArithmeticExpr::Literal(value) => Ok(*value),
            ArithmeticExpr::Reference(target) => self.target(target, chain),
            ArithmeticExpr::UnaryOp(operator, operand) => {
                let value = self.evaluate(operand, chain)?;
                Ok(match operator {
                    UnaryOperator::UnaryPlus => value,
                    UnaryOperator::UnaryMinus => value.wrapping_neg(),
                    UnaryOperator::BitwiseNot => !value,
                    UnaryOperator::LogicalNot => i64::from(value == 0),
                })
            }
            ArithmeticExpr::BinaryOp(operator, left, right) => {
                let left = self.evaluate(left, chain)?;
                match operator {
                    BinaryOperator::LogicalAnd if left == 0 => return Ok(0),
                    BinaryOperator::LogicalOr if left != 0 => return Ok(1),
                    _ => {}
                }
                let right = self.evaluate(right, chain)?;
                self.binary(operator, left, right)
            }
            ArithmeticExpr::Conditional(condition, yes, no) => {
                let taken = if self.evaluate(condition, chain)? != 0 { yes } else { no };
                self.evaluate(taken, chain)
            }
            ArithmeticExpr::Assignment(target, value) => {
                let value = self.evaluate(value, chain)?;
                self.store(target, value)
            }
            ArithmeticExpr::BinaryAssignment(operator, target, value) => {
                let left = self.target(target, chain)?;
                let right = self.evaluate(value, chain)?;
                let value = self.binary(operator, left, right)?;
                self.store(target, value)
            }
            ArithmeticExpr::UnaryAssignment(operator, target) => {
                let before = self.target(target, chain)?;
                let (after, result) = match operator {
                    UnaryAssignmentOperator::PrefixIncrement => {
                        (before.wrapping_add(1), before.wrapping_add(1))
                    }
                    UnaryAssignmentOperator::PrefixDecrement => {
                        (before.wrapping_sub(1), before.wrapping_sub(1))
                    }
                    UnaryAssignmentOperator::PostfixIncrement => (before.wrapping_add(1), before),
                    UnaryAssignmentOperator::PostfixDecrement => (before.wrapping_sub(1), before),
                };
                self.store(target, after)?;
                Ok(result)
            }
        }
    }

    fn binary(&mut self, operator: &BinaryOperator, left: i64, right: i64) -> Flow<i64> {
        let shift = (right & 63) as u32;
        Ok(match operator {
            BinaryOperator::Power if right < 0 => {
                return Err(self.arithmetic_failure(&format!("{right}: exponent less than 0")));
            }
            BinaryOperator::Power => left.wrapping_pow(u32::try_from(right).unwrap_or(u32::MAX)),
            BinaryOperator::Divide | BinaryOperator::Modulo if right == 0 => {
                return Err(self.arithmetic_failure(&format!("{left}: division by 0")));
            }
            BinaryOperator::Divide => left.wrapping_div(right),
            BinaryOperator::Modulo => left.wrapping_rem(right),
            BinaryOperator::Multiply => left.wrapping_mul(right),
            BinaryOperator::Comma => right,
            BinaryOperator::Add => left.wrapping_add(right),
            BinaryOperator::Subtract => left.wrapping_sub(right),
            BinaryOperator::ShiftLeft => left.wrapping_shl(shift),
            BinaryOperator::ShiftRight => left.wrapping_shr(shift),
            BinaryOperator::LessThan => i64::from(left < right),
            BinaryOperator::LessThanOrEqualTo => i64::from(left <= right),
            BinaryOperator::GreaterThan => i64::from(left > right),
            BinaryOperator::GreaterThanOrEqualTo => i64::from(left >= right),
            BinaryOperator::Equals => i64::from(left == right),
            BinaryOperator::NotEquals => i64::from(left != right),
            BinaryOperator::BitwiseAnd => left & right,
            BinaryOperator::BitwiseXor => left ^ right,
            BinaryOperator::BitwiseOr => left | right,
            BinaryOperator::LogicalAnd | BinaryOperator::LogicalOr => i64::from(right != 0),
        })
    }

    fn arithmetic_failure(&mut self, message: &str) -> Stop {
        if let Err(stop) = self.complain(message) {
            return stop;
        }
        self.record_failure(message, 1);
        Stop::Exit(1)
    }

    /// The value of a variable: its text is an expression again.
    fn target(&mut self, target: &ArithmeticTarget, chain: usize) -> Flow<i64> {
        self.step()?;
        let text = match target {
            ArithmeticTarget::Variable(name) => self.scalar(name).map(str::to_owned),
            ArithmeticTarget::ArrayElement(name, index) => {
                let index = self.evaluate(index, chain)?;
                self.elements(name).get(&index).cloned()
            }
        };
        match text {
            Some(text) if !text.trim().is_empty() => self.expression(text.trim(), chain + 1),
            _ => Ok(0),
        }
    }

    fn store(&mut self, target: &ArithmeticTarget, value: i64) -> Flow<i64> {
        let ArithmeticTarget::Variable(name) = target else {
            return Err(self.not_interpreted("arithmetic assignment to an array element"));
        };
        self.set_scalar(name, value.to_string())?;
        Ok(value)
    }
}
