//! Long chains of AND and OR.

use sqlparser::ast::{BinaryOperator, Expr, Value};

/// Operands from which on a chain is worth a change of its shape.
const LONG: usize = 16;

/// Makes a balanced tree of a long chain `a OR b OR c …` or `a AND b AND c …`, which is written as a tree as deep as it is
/// long: whatever looks at each level's type or hash would do so for all below it. Operands keep their order, and a
/// balanced tree is written as the chain was.
pub fn balance(expr: &mut Expr) {
    let Expr::BinaryOp { op, .. } = expr else { return };
    let op = op.clone();
    if !matches!(op, BinaryOperator::And | BinaryOperator::Or) || chain_length(expr, &op) < LONG {
        return;
    }
    let mut operands = Vec::new();
    let mut rest = std::mem::replace(expr, Expr::Value(Value::Null.into()));
    loop {
        match rest {
            Expr::BinaryOp { left, op: of, right } if of == op => {
                operands.push(*right);
                rest = *left;
            }
            first => {
                operands.push(first);
                break;
            }
        }
    }
    operands.reverse();
    while operands.len() > 1 {
        operands = pairs(operands, &op);
    }
    if let Some(balanced) = operands.pop() {
        *expr = balanced;
    }
}

fn chain_length(expr: &Expr, op: &BinaryOperator) -> usize {
    let mut length = 1;
    let mut rest = expr;
    while let Expr::BinaryOp { left, op: of, .. } = rest
        && of == op
    {
        length += 1;
        rest = left;
    }
    length
}

/// Neighbours joined by `op`.
fn pairs(operands: Vec<Expr>, op: &BinaryOperator) -> Vec<Expr> {
    let mut joined = Vec::with_capacity(operands.len().div_ceil(2));
    let mut operands = operands.into_iter();
    while let Some(left) = operands.next() {
        joined.push(match operands.next() {
            Some(right) => Expr::BinaryOp {
                left: Box::new(left),
                op: op.clone(),
                right: Box::new(right),
            },
            None => left,
        });
    }
    joined
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::GenericDialect;
    use sqlparser::parser::Parser;

    use super::*;

    fn depth(expr: &Expr) -> usize {
        match expr {
            Expr::BinaryOp { left, right, .. } => 1 + depth(left).max(depth(right)),
            _ => 0,
        }
    }

    #[test]
    fn a_long_chain_becomes_shallow_and_reads_as_before() {
        for (word, count, balanced) in [("OR", 1_000, 11), ("AND", 17, 6), ("OR", 15, 15)] {
            let operands: Vec<String> = (0..count).map(|number| format!("c{number} = 1")).collect();
            let text = operands.join(&format!(" {word} "));
            let mut expr = Parser::new(&GenericDialect {})
                .with_recursion_limit(5_000)
                .try_with_sql(&text)
                .and_then(|mut parser| parser.parse_expr())
                .unwrap();
            balance(&mut expr);
            assert_eq!(expr.to_string(), text);
            assert_eq!(depth(&expr), balanced, "{word}");
        }
    }
}
