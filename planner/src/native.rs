//! The native query that Druid would make of a statement, in neutral terms.
//!
//! Sarsen does not run it: a task's payload and EXPLAIN show it, as clients of Druid expect. [`build`] reads the logical
//! plan as the user wrote it; the gateway renders what it makes. A statement that has no native form here (window functions,
//! semi-joins, GROUPING SETS, sketches) has none.

mod build;
mod columns;
mod expression;
mod filter;
mod grouping;
mod join;

use sarsen_kernel::query::InputDescriptor;
use serde_json::Value;

pub use build::native;

/// Settings of the statement that its native query depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Native {
    pub distinct: DistinctCount,
    pub sort_merge_join: bool,
}

/// What COUNT(DISTINCT x) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DistinctCount {
    Approximate,
    Exact,
}

/// A native query and where its columns go.
#[derive(Debug, Clone, PartialEq)]
pub struct NativePlan {
    pub query: NativeQuery,
    /// `(column of the native query, column of the statement)` in order.
    pub mappings: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NativeQuery {
    pub source: NativeSource,
    /// `[start, end)` in ms; empty for all of time.
    pub intervals: Vec<(i64, i64)>,
    pub virtual_columns: Vec<VirtualColumn>,
    pub filter: Option<NativeFilter>,
    pub kind: NativeKind,
    pub order: Vec<NativeOrder>,
    pub limit: Option<u64>,
    pub offset: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum NativeSource {
    Table(String),
    External(InputDescriptor),
    /// The same columns of several datasources.
    Union(Vec<String>),
    Inline {
        /// Name and native type.
        columns: Vec<(String, String)>,
        rows: Vec<Vec<Value>>,
    },
    Query(Box<NativeQuery>),
    Join(Box<NativeJoin>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct NativeJoin {
    pub left: NativeSource,
    pub right: NativeSource,
    /// Of the right side's columns.
    pub prefix: String,
    /// In the native language.
    pub condition: String,
    pub kind: NativeJoinType,
    pub sort_merge: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NativeJoinType {
    Inner,
    Left,
    Right,
    Full,
}

#[derive(Debug, Clone, PartialEq)]
pub enum NativeKind {
    Scan {
        /// Name and native type.
        columns: Vec<(String, String)>,
    },
    GroupBy(Box<Grouping>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Grouping {
    pub dimensions: Vec<Dimension>,
    pub aggregations: Vec<Aggregation>,
    pub post_aggregations: Vec<PostAggregation>,
    pub having: Option<NativeFilter>,
    /// The dimension that is a time floor of `__time`, where there is one.
    pub time: Option<TimeDimension>,
}

/// A column that an expression in Druid's native language computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualColumn {
    pub name: String,
    pub expression: String,
    pub native_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    pub column: String,
    pub output: String,
    pub native_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeDimension {
    pub output: String,
    pub position: usize,
    /// ISO-8601 period.
    pub period: String,
    pub zone: String,
}

/// How an aggregation folds numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    Sum,
    Min,
    Max,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Aggregation {
    Count {
        name: String,
    },
    Fold {
        name: String,
        fold: Fold,
        /// `LONG`, `DOUBLE` or `FLOAT`.
        native_type: String,
        column: String,
    },
    ApproximateDistinct {
        name: String,
        column: String,
        native_type: String,
    },
    Filtered {
        name: String,
        aggregation: Box<Aggregation>,
        filter: NativeFilter,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostAggregation {
    Expression(VirtualColumn),
    /// AVG: sum divided by count.
    Quotient {
        name: String,
        dividend: String,
        divisor: String,
    },
}

/// A value that a filter compares with.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchValue {
    pub native_type: String,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum NativeFilter {
    And(Vec<NativeFilter>),
    Or(Vec<NativeFilter>),
    Not(Box<NativeFilter>),
    Null {
        column: String,
    },
    Equals {
        column: String,
        value: MatchValue,
    },
    /// Each bound with whether it is open.
    Range {
        column: String,
        native_type: String,
        lower: Option<(Value, bool)>,
        upper: Option<(Value, bool)>,
    },
    Like {
        column: String,
        pattern: String,
        escape: Option<char>,
    },
    Expression(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeOrder {
    pub column: String,
    pub descending: bool,
    /// Numbers sort as numbers, all else as text.
    pub numeric: bool,
}
