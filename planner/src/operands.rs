//! Calls whose operands have types that they do not take, in Calcite's words.
//!
//! DataFusion says of such a call what it tried, in its own types, and not where. So when it refuses a statement, the
//! statement's calls are planned one by one, innermost first, until the one is found that is to blame.

mod refusal;
mod written;

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    Cte, Expr, GroupByExpr, Ident, Query, Select, SelectFlavor, SelectItem, SetExpr, TableFactor,
    TableWithJoins, UnaryOperator, Visit, Visitor, With,
};

use crate::rewrite;

pub use self::refusal::{refusal, unknown};
pub use self::written::type_of;

/// Calls of one statement that are tried at the most.
const MOST_CALLS: usize = 64;

/// What DataFusion's messages about types hold; most of its others are about names.
const ABOUT_TYPES: [&str; 13] = [
    "Cannot apply '",
    "Cannot coerce",
    "Cannot infer common argument type",
    "Cannot get result type",
    "failed to match any signature",
    "coercion",
    "Failed to coerce",
    "No function matches the given name",
    "There isn't a common type",
    "unnest() can only be applied",
    "requires a boolean expression",
    "to common types in CASE WHEN expression",
    "Unsupported expression type",
];

/// Whether a message may be about the types of operands.
pub fn is_about_types(message: &str) -> bool {
    ABOUT_TYPES.iter().any(|words| message.contains(words))
}

/// A call as it is written, and what it is read from.
pub struct Call {
    pub expr: Expr,
    from: Arc<Vec<TableWithJoins>>,
    /// The named queries that may be read, in their order; the call may stand in one of them.
    named: Vec<Arc<With>>,
}

impl Call {
    /// Queries that read `items` from where the call stands: without the named queries, with the first of them, and so on.
    /// Those that need more fail.
    pub fn queries(&self, items: &[Expr]) -> impl Iterator<Item = Query> {
        let named: Vec<Cte> = self
            .named
            .iter()
            .flat_map(|with| with.cte_tables.clone())
            .collect();
        let body = select(items, self.from.as_ref().clone());
        let is_recursive = self.named.iter().any(|with| with.recursive);
        (0..=named.len()).map(move |count| query(body.clone(), named.iter().take(count), is_recursive))
    }

    /// Whether what is said of a call can be about this one: what is said of an operator names it.
    pub fn is_named_in(&self, message: &str) -> bool {
        let named = message
            .strip_prefix("Cannot apply '")
            .and_then(|rest| rest.split('\'').next());
        match named {
            Some(named) if is_operator(&self.expr) => refusal::name(&self.expr) == named,
            _ => true,
        }
    }

    /// What the call is applied to, in its order.
    pub fn operands(&self) -> Vec<Expr> {
        operands(&self.expr).into_iter().cloned().collect()
    }
}

fn query<'a>(body: Select, named: impl Iterator<Item = &'a Cte>, recursive: bool) -> Query {
    let cte_tables: Vec<Cte> = named.cloned().collect();
    let with = With {
        with_token: AttachedToken::empty(),
        recursive,
        cte_tables,
    };
    Query {
        with: (!with.cte_tables.is_empty()).then_some(with),
        body: Box::new(SetExpr::Select(Box::new(body))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// Under a name of its own: one operand may stand there twice.
fn numbered((position, expr): (usize, Expr)) -> SelectItem {
    SelectItem::ExprWithAlias {
        expr,
        alias: Ident::new(format!("operand{position}")),
    }
}

fn select(items: &[Expr], from: Vec<TableWithJoins>) -> Select {
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: items.iter().cloned().enumerate().map(numbered).collect(),
        exclude: None,
        into: None,
        from,
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

/// The calls of `query`, innermost first; each UNNEST of FROM as a call that reads the tables before it.
pub fn calls(query: &Query) -> Vec<Call> {
    let mut finder = Finder::default();
    let _ = query.visit(&mut finder);
    finder.found
}

/// A SELECT that is visited.
struct Scope {
    from: Arc<Vec<TableWithJoins>>,
    /// Where the expression of its WHERE lies, which tells it from others.
    condition: Option<*const Expr>,
    /// How many calls were found before those of its clauses, and before those of its WHERE.
    before: usize,
    before_condition: usize,
}

impl Scope {
    fn is_condition(&self, expr: &Expr) -> bool {
        self.condition
            .is_some_and(|condition| std::ptr::eq(condition, expr))
    }
}

#[derive(Default)]
struct Finder {
    named: Vec<Option<Arc<With>>>,
    selects: Vec<Scope>,
    found: Vec<Call>,
}

impl Finder {
    fn find(&mut self, expr: Expr, from: Arc<Vec<TableWithJoins>>) -> ControlFlow<()> {
        self.found.push(Call {
            expr,
            from,
            named: self.named.iter().flatten().cloned().collect(),
        });
        if self.found.len() < MOST_CALLS {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.named.push(query.with.clone().map(Arc::new));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.named.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for (position, item) in select.from.iter().enumerate() {
            let before = select.from.get(..position).unwrap_or_default();
            let joined = item.joins.iter().enumerate().map(|(joins, join)| {
                let left = TableWithJoins {
                    relation: item.relation.clone(),
                    joins: item.joins.get(..joins).unwrap_or_default().to_vec(),
                };
                (&join.relation, Some(left))
            });
            for (factor, left) in std::iter::once((&item.relation, None)).chain(joined) {
                let mut factor = factor.clone();
                rewrite::tables::unnest(&mut factor);
                if let TableFactor::UNNEST { array_exprs, .. } = &factor {
                    let from = before.iter().cloned().chain(left).collect();
                    self.find(written::unnest(array_exprs), Arc::new(from))?;
                }
            }
        }
        self.selects.push(Scope {
            from: Arc::new(select.from.clone()),
            condition: select.selection.as_ref().map(std::ptr::from_ref),
            before: self.found.len(),
            before_condition: self.found.len(),
        });
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.selects.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Some(scope) = self.selects.last_mut()
            && scope.is_condition(expr)
        {
            scope.before_condition = self.found.len();
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Some(from) = self.selects.last().map(|scope| scope.from.clone()) else {
            return ControlFlow::Continue(());
        };
        if !operands(expr).is_empty() {
            self.find(expr.clone(), from)?;
        }
        // Calcite looks at WHERE before what is selected.
        if let Some(scope) = self.selects.last()
            && scope.is_condition(expr)
            && let Some(of_select) = self.found.get_mut(scope.before..)
        {
            let of_condition = of_select.len() - (scope.before_condition - scope.before);
            of_select.rotate_right(of_condition);
        }
        ControlFlow::Continue(())
    }
}

/// What `expr` is applied to; nothing for what is no call.
fn operands(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Function(function) => written::arguments(function),
        Expr::BinaryOp { left, right, .. } => vec![left, right],
        Expr::UnaryOp {
            op: UnaryOperator::Not | UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        }
        | Expr::IsTrue(expr)
        | Expr::IsNotTrue(expr)
        | Expr::IsFalse(expr)
        | Expr::IsNotFalse(expr)
        | Expr::Floor { expr, .. }
        | Expr::Ceil { expr, .. }
        | Expr::Extract { expr, .. } => vec![expr],
        Expr::Like { expr, pattern, .. } | Expr::SimilarTo { expr, pattern, .. } => vec![expr, pattern],
        Expr::Position { expr, r#in } => vec![expr, r#in],
        Expr::Between { expr, low, high, .. } => vec![expr, low, high],
        Expr::Case {
            operand: Some(operand),
            conditions,
            ..
        } => match conditions.first() {
            Some(first) => vec![operand, &first.condition],
            None => Vec::new(),
        },
        Expr::Array(array) => array.elem.iter().collect(),
        Expr::Trim {
            expr,
            trim_what,
            trim_characters,
            ..
        } => {
            let what = trim_what
                .as_deref()
                .into_iter()
                .chain(trim_characters.iter().flatten());
            what.chain(std::iter::once(expr.as_ref())).collect()
        }
        Expr::Substring {
            expr,
            substring_from,
            substring_for,
            ..
        } => {
            let rest = substring_from
                .as_deref()
                .into_iter()
                .chain(substring_for.as_deref());
            std::iter::once(expr.as_ref()).chain(rest).collect()
        }
        _ => Vec::new(),
    }
}

fn is_operator(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::BinaryOp { .. }
            | Expr::UnaryOp { .. }
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::Like { .. }
            | Expr::Between { .. }
    )
}
