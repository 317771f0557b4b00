//! Segments that clients mark used or unused.
//!
//! Queries read every used segment, so that of segments over the same time only those of the highest version may be used:
//! what a segment hides that becomes used again, becomes unused with it.

use std::collections::{BTreeMap, HashSet};

use sqlx::{AnyConnection, Row};

use super::retry::retried;
use super::segments::{Payload, Usage, overlapping, read_segment};
use super::standing::{Standings, hull};
use super::{Store, StoreError, uint};
use crate::time::{Interval, format_ms, now_ms};

/// Which segments of a datasource are marked.
#[derive(Debug, Clone)]
pub enum MarkScope {
    All,
    /// Those that lie wholly inside; of these versions alone, if there are any.
    Within {
        interval: Interval,
        versions: Option<Vec<String>>,
    },
    Ids(Vec<String>),
}

/// Values of one list in SQL at the most.
const BATCH: usize = 200;

/// Segments of one interval and version, by the version first.
type Group = (String, Interval);

impl Store {
    /// Marks used segments unused; answers how many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn mark_unused(&self, datasource: &str, scope: &MarkScope) -> Result<u64, StoreError> {
        retried(|| self.mark_unused_once(datasource, scope)).await
    }

    async fn mark_unused_once(&self, datasource: &str, scope: &MarkScope) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let changed = match scope {
            MarkScope::All => {
                let sql = "UPDATE druid_segments SET used = $1, used_status_last_updated = $2
                           WHERE dataSource = $3 AND used = $4";
                let done = sqlx::query(sql)
                    .bind(false)
                    .bind(format_ms(now_ms()))
                    .bind(datasource)
                    .bind(true)
                    .execute(&mut *tx)
                    .await?;
                done.rows_affected()
            }
            MarkScope::Within { interval, versions } => {
                let found = overlapping(&mut tx, datasource, *interval, Usage::Used, Payload::Skip).await?;
                let ids: Vec<String> = found
                    .into_iter()
                    .filter(|segment| interval.contains(&segment.interval))
                    .filter(|segment| is_of(&segment.version, versions.as_deref()))
                    .map(|segment| segment.id)
                    .collect();
                set_used(&mut tx, datasource, &ids, false).await?
            }
            MarkScope::Ids(ids) => set_used(&mut tx, datasource, ids, false).await?,
        };
        self.end_mark(tx, datasource, changed).await
    }

    /// Marks unused segments used that none of a higher version hides; answers how many.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for ids that there are none of, and when a part of a used segment would be hidden.
    pub async fn mark_used(&self, datasource: &str, scope: &MarkScope) -> Result<u64, StoreError> {
        retried(|| self.mark_used_once(datasource, scope)).await
    }

    async fn mark_used_once(&self, datasource: &str, scope: &MarkScope) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let candidates = candidates(&mut tx, datasource, scope).await?;
        let Some(stretch) = hull(candidates.keys().map(|(_, interval)| *interval)) else {
            return Ok(0);
        };
        let standing = Standings::read(&mut tx, datasource, stretch, Usage::Used).await?;
        let used: HashSet<Group> = standing
            .over(stretch)
            .map(|standing| (standing.version.clone(), standing.interval))
            .collect();
        let decided = decide(&used, candidates.keys())?;
        let ids: Vec<String> = candidates
            .into_iter()
            .filter(|(group, _)| decided.visible.contains(group))
            .flat_map(|(_, ids)| ids)
            .collect();
        for (version, interval) in &decided.hidden {
            hide(&mut tx, datasource, version, *interval).await?;
        }
        let changed = set_used(&mut tx, datasource, &ids, true).await?;
        self.end_mark(tx, datasource, changed).await
    }

    /// Commits, so that every later plan sees it.
    async fn end_mark(
        &self,
        mut tx: sqlx::Transaction<'static, sqlx::Any>,
        datasource: &str,
        changed: u64,
    ) -> Result<u64, StoreError> {
        if changed == 0 {
            return Ok(0);
        }
        let version: i64 =
            sqlx::query_scalar("UPDATE metadata_version SET version = version + 1 RETURNING version")
                .fetch_one(&mut *tx)
                .await?;
        tx.commit().await?;
        self.catalog.lock().await.forget(datasource, uint(version));
        Ok(changed)
    }
}

fn is_of(version: &String, versions: Option<&[String]>) -> bool {
    versions.is_none_or(|versions| versions.contains(version))
}

async fn set_used(
    tx: &mut AnyConnection,
    datasource: &str,
    ids: &[String],
    used: bool,
) -> Result<u64, StoreError> {
    let (now, mut changed) = (format_ms(now_ms()), 0);
    for batch in ids.chunks(BATCH) {
        let sql = format!(
            "UPDATE druid_segments SET used = $1, used_status_last_updated = $2
             WHERE dataSource = $3 AND used = $4 AND id IN ({})",
            places(5, batch.len())
        );
        let mut query = sqlx::query(&sql)
            .bind(used)
            .bind(&now)
            .bind(datasource)
            .bind(!used);
        for id in batch {
            query = query.bind(id);
        }
        changed += query.execute(&mut *tx).await?.rows_affected();
    }
    Ok(changed)
}

/// `$5, $6, …`
fn places(first: usize, count: usize) -> String {
    let places: Vec<String> = (first..first + count).map(|place| format!("${place}")).collect();
    places.join(", ")
}

async fn hide(
    tx: &mut AnyConnection,
    datasource: &str,
    version: &str,
    interval: Interval,
) -> Result<(), StoreError> {
    let sql = r#"UPDATE druid_segments SET used = $1, used_status_last_updated = $2
                 WHERE dataSource = $3 AND start = $4 AND "end" = $5 AND version = $6 AND used = $7"#;
    sqlx::query(sql)
        .bind(false)
        .bind(format_ms(now_ms()))
        .bind(datasource)
        .bind(format_ms(interval.start_ms))
        .bind(format_ms(interval.end_ms))
        .bind(version)
        .bind(true)
        .execute(tx)
        .await?;
    Ok(())
}

/// Ids of the unused segments of the scope, by interval and version.
async fn candidates(
    tx: &mut AnyConnection,
    datasource: &str,
    scope: &MarkScope,
) -> Result<BTreeMap<Group, Vec<String>>, StoreError> {
    let (interval, versions) = match scope {
        MarkScope::Ids(ids) => return by_id(tx, datasource, ids).await,
        MarkScope::All => (Interval::ETERNITY, None),
        MarkScope::Within { interval, versions } => (*interval, versions.as_deref()),
    };
    let used = overlapping(tx, datasource, interval, Usage::Used, Payload::Skip).await?;
    let used: HashSet<String> = used.into_iter().map(|segment| segment.id).collect();
    let all = overlapping(tx, datasource, interval, Usage::UsedOrNot, Payload::Skip).await?;
    let mut found: BTreeMap<Group, Vec<String>> = BTreeMap::new();
    for segment in all {
        let inside = interval.contains(&segment.interval) && is_of(&segment.version, versions);
        if inside && !used.contains(&segment.id) {
            let group = (segment.version, segment.interval);
            found.entry(group).or_default().push(segment.id);
        }
    }
    Ok(found)
}

async fn by_id(
    tx: &mut AnyConnection,
    datasource: &str,
    ids: &[String],
) -> Result<BTreeMap<Group, Vec<String>>, StoreError> {
    let mut found: BTreeMap<Group, Vec<String>> = BTreeMap::new();
    let mut unknown: Vec<&String> = ids.iter().collect();
    for batch in ids.chunks(BATCH) {
        let sql = format!(
            r#"SELECT id, start, "end", version, created_date,
               CAST(CASE WHEN used THEN 1 ELSE 0 END AS BIGINT) AS is_used FROM druid_segments
               WHERE dataSource = $1 AND id IN ({})"#,
            places(2, batch.len())
        );
        let mut query = sqlx::query(&sql).bind(datasource);
        for id in batch {
            query = query.bind(id);
        }
        for row in &query.fetch_all(&mut *tx).await? {
            let segment = read_segment(row, Payload::Skip)?;
            unknown.retain(|id| **id != segment.id);
            if row.try_get::<i64, _>("is_used")? == 0 {
                let group = (segment.version, segment.interval);
                found.entry(group).or_default().push(segment.id);
            }
        }
    }
    if !unknown.is_empty() {
        return Err(StoreError::Conflict(format!(
            "Could not find segment IDs[{unknown:?}] for datasource[{datasource}]"
        )));
    }
    Ok(found)
}

/// What becomes of the groups once the candidates count too.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decided {
    /// Candidates and used ones that stand.
    visible: HashSet<Group>,
    /// Used ones that a candidate hides.
    hidden: Vec<Group>,
}

fn decide<'a>(
    used: &'a HashSet<Group>,
    candidates: impl Iterator<Item = &'a Group>,
) -> Result<Decided, StoreError> {
    let mut groups: Vec<&Group> = used.iter().chain(candidates).collect();
    groups.sort_by(|a, b| b.cmp(a));
    groups.dedup();
    let mut decided = Decided::default();
    // What stands, by its start; no two overlap.
    let mut standing: BTreeMap<i64, &Group> = BTreeMap::new();
    for group in groups {
        let interval = group.1;
        let mut over: Vec<&Group> = standing
            .range(..interval.end_ms)
            .rev()
            .map(|(_, group)| *group)
            .take_while(|(_, other)| other.end_ms > interval.start_ms)
            .collect();
        over.reverse();
        if over.is_empty() {
            standing.insert(interval.start_ms, group);
            decided.visible.insert(group.clone());
        } else if used.contains(group) {
            if !covers(&over, interval) {
                return Err(StoreError::Conflict(format!(
                    "version [{}] of [{interval}] would be hidden in part: mark it unused first, or leave out what lies \
                     over it",
                    group.0
                )));
            }
            decided.hidden.push(group.clone());
        }
    }
    Ok(decided)
}

/// Whether these, which are in order, leave no gap in an interval.
fn covers(over: &[&Group], interval: Interval) -> bool {
    let mut reached = interval.start_ms;
    for (_, part) in over {
        if part.start_ms > reached {
            return false;
        }
        reached = reached.max(part.end_ms);
    }
    reached >= interval.end_ms
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn group(version: &str, start_ms: i64, end_ms: i64) -> Group {
        (version.to_owned(), Interval { start_ms, end_ms })
    }

    #[test]
    fn the_highest_version_stands_and_what_it_covers_is_hidden() {
        let used = HashSet::from([group("b", 0, 10), group("a", 20, 30)]);
        let candidates = [group("a", 0, 10), group("c", 20, 30), group("a", 40, 50)];
        let decided = decide(&used, candidates.iter()).unwrap();
        let visible = HashSet::from([group("b", 0, 10), group("c", 20, 30), group("a", 40, 50)]);
        assert_eq!(decided.visible, visible);
        assert_eq!(decided.hidden, [group("a", 20, 30)]);
    }

    #[test]
    fn several_parts_hide_together_and_a_part_alone_is_refused() {
        let used = HashSet::from([group("a", 0, 20)]);
        let both = [group("b", 0, 10), group("b", 10, 20)];
        assert_eq!(decide(&used, both.iter()).unwrap().hidden, [group("a", 0, 20)]);
        let one = [group("b", 0, 10)];
        assert!(matches!(decide(&used, one.iter()), Err(StoreError::Conflict(_))));
    }
}
