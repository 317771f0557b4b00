//! Columns that a native query computes, each expression once.

use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;

use super::VirtualColumn;
use super::expression::{text, type_of};

/// The virtual columns `v0`, `v1`, … of one native query over the columns of `schema`.
#[derive(Debug)]
pub struct Columns<'a> {
    pub schema: &'a DFSchema,
    prefix: String,
    pub made: Vec<VirtualColumn>,
}

impl<'a> Columns<'a> {
    pub fn new(schema: &'a DFSchema) -> Self {
        Columns {
            schema,
            prefix: unused_prefix("v", schema),
            made: Vec::new(),
        }
    }

    /// Name and native type of the column that holds `expr`: one of the source, or a virtual one.
    pub fn column(&mut self, expr: &Expr) -> Option<(String, String)> {
        let native = type_of(expr, self.schema)?;
        if let Some(name) = plain(expr) {
            return Some((name.to_owned(), native));
        }
        let expression = text(expr, self.schema)?;
        // A function may only change the SQL type of its column.
        if let Some(name) = expression
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .filter(|name| self.schema.fields().iter().any(|field| field.name() == name))
        {
            return Some((name.to_owned(), native));
        }
        if let Some(known) = self
            .made
            .iter()
            .find(|known| known.expression == expression && known.native_type == native)
        {
            return Some((known.name.clone(), native));
        }
        let name = format!("{}{}", self.prefix, self.made.len());
        self.made.push(VirtualColumn {
            name: name.clone(),
            expression,
            native_type: native.clone(),
        });
        Some((name, native))
    }
}

/// The name of an expression that is nothing but a column.
pub fn plain(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Alias(alias) => plain(&alias.expr),
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

/// `prefix`, with underscores before it until no column is named it and a number.
pub fn unused_prefix(prefix: &str, schema: &DFSchema) -> String {
    let mut unused = prefix.to_owned();
    let taken = |candidate: &str| {
        schema.fields().iter().any(|field| {
            field.name().strip_prefix(candidate).is_some_and(|rest| {
                !rest.is_empty() && rest.chars().all(|character| character.is_ascii_digit())
            })
        })
    };
    while taken(&unused) {
        unused.insert(0, '_');
    }
    unused
}
