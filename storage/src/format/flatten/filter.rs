//! Filters of JSONPath: `[?(@.a > 1 && @.b)]`.

use std::cmp::Ordering;

use serde_json::Value;

use super::Path;

/// A condition on a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    Exists(Path),
    Compares(Operand, Comparison, Operand),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operand {
    Found(Path),
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The longer ones first.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl Filter {
    /// Reads what stands within `?(…)`, which is within so much else; `None` for what is not here.
    pub(super) fn parse(text: &str, depth: usize) -> Option<Self> {
        let mut reader = Reader { rest: text, depth };
        reader.enter()?;
        let filter = reader.any()?;
        reader.rest.trim().is_empty().then_some(filter)
    }

    pub(super) fn holds(&self, value: &Value) -> bool {
        match self {
            Filter::Any(filters) => filters.iter().any(|filter| filter.holds(value)),
            Filter::All(filters) => filters.iter().all(|filter| filter.holds(value)),
            Filter::Not(filter) => !filter.holds(value),
            Filter::Exists(path) => path.exists(value),
            Filter::Compares(left, comparison, right) => {
                comparison.holds(left.value(value).as_ref(), right.value(value).as_ref())
            }
        }
    }
}

impl Operand {
    fn value(&self, row: &Value) -> Option<Value> {
        match self {
            Operand::Found(path) => path.find(row),
            Operand::Literal(value) => Some(value.clone()),
        }
    }
}

impl Comparison {
    /// What is not there is equal to nothing; values of different kinds have no order.
    fn holds(self, left: Option<&Value>, right: Option<&Value>) -> bool {
        let order = match (left, right) {
            (Some(Value::Number(left)), Some(Value::Number(right))) => {
                match (left.as_i64(), right.as_i64()) {
                    (Some(left), Some(right)) => Some(left.cmp(&right)),
                    _ => left
                        .as_f64()
                        .zip(right.as_f64())
                        .and_then(|(left, right)| left.partial_cmp(&right)),
                }
            }
            (Some(Value::String(left)), Some(Value::String(right))) => Some(left.cmp(right)),
            (Some(left), Some(right)) if left == right => Some(Ordering::Equal),
            _ => None,
        };
        match self {
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::NotEqual => order != Some(Ordering::Equal),
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// Parentheses, signs and filters that may be within each other.
const MOST_DEPTH: usize = 100;

struct Reader<'a> {
    rest: &'a str,
    /// Within how many it is.
    depth: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, token: &str) -> bool {
        match self.rest.trim_start().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// `None` where it is too deep.
    fn enter(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= MOST_DEPTH).then_some(())
    }

    fn any(&mut self) -> Option<Filter> {
        let mut filters = vec![self.all()?];
        while self.take("||") {
            filters.push(self.all()?);
        }
        Some(Filter::Any(filters))
    }

    fn all(&mut self) -> Option<Filter> {
        let mut filters = vec![self.one()?];
        while self.take("&&") {
            filters.push(self.one()?);
        }
        Some(Filter::All(filters))
    }

    fn one(&mut self) -> Option<Filter> {
        if self.take("!") {
            self.enter()?;
            let filter = self.one()?;
            self.depth -= 1;
            return Some(Filter::Not(Box::new(filter)));
        }
        if self.take("(") {
            self.enter()?;
            let filter = self.any()?;
            self.depth -= 1;
            return self.take(")").then_some(filter);
        }
        let left = self.operand()?;
        let comparison = COMPARISONS.into_iter().find(|(sign, _)| self.take(sign));
        match (left, comparison) {
            (left, Some((_, comparison))) => Some(Filter::Compares(left, comparison, self.operand()?)),
            (Operand::Found(path), None) => Some(Filter::Exists(path)),
            (Operand::Literal(_), None) => None,
        }
    }

    fn operand(&mut self) -> Option<Operand> {
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            '@' => {
                let path = self.word()?.strip_prefix('@')?;
                let path = Path::parse_within(&format!("${path}"), self.depth);
                path.ok().map(Operand::Found)
            }
            quote @ ('\'' | '"') => {
                let inside = self.rest.get(1..)?;
                let end = inside.find(quote)?;
                self.rest = inside.get(end + 1..)?;
                inside.get(..end).map(|text| Operand::Literal(text.into()))
            }
            _ => serde_json::from_str(self.word()?).ok().map(Operand::Literal),
        }
    }

    /// A path, a number or the like: up to a sign that it cannot hold, brackets and quotes aside.
    fn word(&mut self) -> Option<&'a str> {
        let (mut depth, mut quote) = (0, None);
        let mut end = self.rest.len();
        for (position, letter) in self.rest.char_indices() {
            match (quote, letter) {
                (Some(open), letter) if open == letter => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(letter),
                (None, '[') => depth += 1,
                (None, ']') => depth -= 1,
                (None, letter) if depth == 0 && (letter.is_whitespace() || "=!<>&|)".contains(letter)) => {
                    end = position;
                    break;
                }
                _ => {}
            }
        }
        let (word, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }
}
