//! Tasks and their checkpoints.

use prost::Message;
use sarsen_proto::v1;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::carry::begin_replacing;
use super::retry::retried;
use super::{Store, StoreError, int, uint};
use crate::ids::TaskId;
use crate::locks::is_concurrent_replace;
use crate::time::Interval;

/// A task as it is first written.
#[derive(Debug)]
pub struct OpenTask<'a> {
    pub seq: u64,
    pub task_id: &'a TaskId,
    pub spec: &'a v1::TaskSpec,
    /// 0 and empty until a controller was given the task.
    pub epoch: u64,
    pub location: &'a str,
    pub created_ms: i64,
    pub started_ms: i64,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEnd {
    pub state: v1::TaskState,
    pub started_ms: i64,
    pub duration_ms: i64,
    pub error: String,
    /// The worker tasks that it had.
    pub workers: Vec<v1::WorkerTask>,
}

/// A row of `tasks`.
#[derive(Debug, Clone)]
pub struct TaskRow {
    pub seq: u64,
    pub epoch: u64,
    pub task: v1::Task,
}

/// Which ended tasks to list.
#[derive(Debug, Clone, Default)]
pub struct EndedFilter {
    pub states: Vec<v1::TaskState>,
    pub datasource: Option<String>,
    pub created: Option<Interval>,
    /// 0: no limit.
    pub max: u32,
    /// Only those of lower numbers; 0: all.
    pub before: u64,
}

const COLUMNS: &str = "seq, task_id, datasource, state, epoch, location, created_ms, started_ms, duration_ms, error, \
     (SELECT workers FROM worker_tasks WHERE worker_tasks.task_id = tasks.task_id) AS workers";

fn read(row: &AnyRow) -> Result<TaskRow, StoreError> {
    let workers: Option<Vec<u8>> = row.try_get("workers")?;
    let workers = v1::WorkerTaskList::decode(workers.unwrap_or_default().as_slice()).map_err(|error| {
        StoreError::Malformed {
            what: "list of worker tasks",
            reason: error.to_string(),
        }
    })?;
    let seq = uint(row.try_get("seq")?);
    let task = v1::Task {
        task_id: row.try_get("task_id")?,
        state: row.try_get("state")?,
        created_ms: row.try_get("created_ms")?,
        started_ms: row.try_get("started_ms")?,
        duration_ms: row.try_get("duration_ms")?,
        datasource: row.try_get("datasource")?,
        location: row.try_get("location")?,
        error_message: row.try_get("error")?,
        spec: None,
        queue_position: 0,
        waiting_for: String::new(),
        workers: workers.workers,
        seq,
    };
    Ok(TaskRow {
        seq,
        epoch: uint(row.try_get("epoch")?),
        task,
    })
}

fn read_with_spec(row: &AnyRow) -> Result<TaskRow, StoreError> {
    let mut task = read(row)?;
    let spec: Vec<u8> = row.try_get("spec")?;
    let spec = v1::TaskSpec::decode(spec.as_slice()).map_err(|error| StoreError::Malformed {
        what: "task spec",
        reason: error.to_string(),
    })?;
    task.task.spec = Some(spec);
    Ok(task)
}

impl Store {
    /// Writes a new task.
    ///
    /// # Errors
    /// When the store fails, or knows the task.
    pub async fn insert_task(&self, task: OpenTask<'_>) -> Result<(), StoreError> {
        retried(|| self.insert_task_once(&task)).await
    }

    async fn insert_task_once(&self, task: &OpenTask<'_>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        // One with this number is the same task, whose first commit was done before its connection was lost.
        let known = sqlx::query("SELECT 1 FROM tasks WHERE task_id = $1 AND seq = $2")
            .bind(task.task_id.as_str())
            .bind(int(task.seq))
            .fetch_optional(&mut *tx)
            .await?;
        if known.is_some() {
            return Ok(());
        }
        sqlx::query("INSERT INTO tasks VALUES ($1, $2, $3, $4, $5, $6, $7, $8, -1, '', $9)")
            .bind(int(task.seq))
            .bind(task.task_id.as_str())
            .bind(&task.spec.datasource)
            .bind(i32::from(v1::TaskState::Pending))
            .bind(int(task.epoch))
            .bind(task.location)
            .bind(task.created_ms)
            .bind(task.started_ms)
            .bind(task.spec.encode_to_vec())
            .execute(&mut *tx)
            .await?;
        if task.epoch > 0 && is_concurrent_replace(task.spec) {
            begin_replacing(&mut tx, task.task_id).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Writes that a controller is about to be given the task; false when the task has ended. For a REPLACE beside which
    /// others may append, the first dispatch is also when what they append begins to be carried over.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn record_dispatch(
        &self,
        task: &TaskId,
        epoch: u64,
        location: &str,
        started_ms: i64,
        spec: &v1::TaskSpec,
    ) -> Result<bool, StoreError> {
        retried(|| self.record_dispatch_once(task, epoch, location, started_ms, spec)).await
    }

    async fn record_dispatch_once(
        &self,
        task: &TaskId,
        epoch: u64,
        location: &str,
        started_ms: i64,
        spec: &v1::TaskSpec,
    ) -> Result<bool, StoreError> {
        let sql =
            "UPDATE tasks SET epoch = $1, location = $2, started_ms = $3 WHERE task_id = $4 AND state = $5";
        let mut tx = self.begin().await?;
        let done = sqlx::query(sql)
            .bind(int(epoch))
            .bind(location)
            .bind(started_ms)
            .bind(task.as_str())
            .bind(i32::from(v1::TaskState::Pending))
            .execute(&mut *tx)
            .await?;
        if is_concurrent_replace(spec) {
            begin_replacing(&mut tx, task).await?;
        }
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Ends a task, and forgets what only running tasks need; with an epoch only when that is the task's. False when
    /// nothing was changed because the task has ended before or is another epoch's.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn finish_task(
        &self,
        task: &TaskId,
        epoch: Option<u64>,
        end: &TaskEnd,
    ) -> Result<bool, StoreError> {
        retried(|| self.finish_task_once(task, epoch, end)).await
    }

    async fn finish_task_once(
        &self,
        task: &TaskId,
        epoch: Option<u64>,
        end: &TaskEnd,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "UPDATE tasks SET state = $1, started_ms = $2, duration_ms = $3, error = $4 \
                   WHERE task_id = $5 AND state = $6 AND (epoch = $7 OR $8)";
        let done = sqlx::query(sql)
            .bind(i32::from(end.state))
            .bind(end.started_ms)
            .bind(end.duration_ms)
            .bind(&end.error)
            .bind(task.as_str())
            .bind(i32::from(v1::TaskState::Pending))
            .bind(int(epoch.unwrap_or(0)))
            .bind(epoch.is_none())
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for sql in [
            "DELETE FROM allocations WHERE task_id = $1",
            "DELETE FROM checkpoints WHERE task_id = $1",
            "DELETE FROM replacing WHERE task_id = $1",
        ] {
            sqlx::query(sql).bind(task.as_str()).execute(&mut *tx).await?;
        }
        if !end.workers.is_empty() {
            let workers = v1::WorkerTaskList {
                workers: end.workers.clone(),
            };
            sqlx::query("INSERT INTO worker_tasks VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(task.as_str())
                .bind(workers.encode_to_vec())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// A task with its spec.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn task(&self, task: &str) -> Result<Option<TaskRow>, StoreError> {
        retried(|| self.task_once(task)).await
    }

    async fn task_once(&self, task: &str) -> Result<Option<TaskRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS}, spec FROM tasks WHERE task_id = $1");
        let row = sqlx::query(&sql).bind(task).fetch_optional(&self.reader).await?;
        row.as_ref().map(read_with_spec).transpose()
    }

    /// Tasks that have not ended, in the order in which they came.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open_tasks(&self) -> Result<Vec<TaskRow>, StoreError> {
        retried(|| self.open_tasks_once()).await
    }

    async fn open_tasks_once(&self) -> Result<Vec<TaskRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS}, spec FROM tasks WHERE state = $1 ORDER BY seq");
        let rows = sqlx::query(&sql)
            .bind(i32::from(v1::TaskState::Pending))
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(read_with_spec).collect()
    }

    /// Number for the next task.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_seq(&self) -> Result<u64, StoreError> {
        retried(|| self.next_seq_once()).await
    }

    async fn next_seq_once(&self) -> Result<u64, StoreError> {
        let last: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM tasks")
            .fetch_one(&self.reader)
            .await?;
        Ok(uint(last) + 1)
    }

    /// Ended tasks without their specs, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ended_tasks(&self, filter: &EndedFilter) -> Result<Vec<TaskRow>, StoreError> {
        retried(|| self.ended_tasks_once(filter)).await
    }

    async fn ended_tasks_once(&self, filter: &EndedFilter) -> Result<Vec<TaskRow>, StoreError> {
        let ended = |state: &&v1::TaskState| matches!(state, v1::TaskState::Success | v1::TaskState::Failed);
        let both = [v1::TaskState::Success, v1::TaskState::Failed];
        let states = if filter.states.is_empty() {
            both.as_slice()
        } else {
            filter.states.as_slice()
        };
        let states: Vec<String> = states
            .iter()
            .filter(ended)
            .map(|s| i32::from(*s).to_string())
            .collect();
        if states.is_empty() {
            return Ok(Vec::new());
        }
        let mut conditions = String::new();
        let mut bound = 0;
        let mut next = || {
            bound += 1;
            format!("${bound}")
        };
        if filter.datasource.is_some() {
            conditions.push_str(&format!(" AND datasource = {}", next()));
        }
        if filter.created.is_some() {
            conditions.push_str(&format!(
                " AND created_ms >= {} AND created_ms < {}",
                next(),
                next()
            ));
        }
        if filter.before > 0 {
            conditions.push_str(&format!(" AND seq < {}", next()));
        }
        let limit = match filter.max {
            0 => String::new(),
            max => format!(" LIMIT {max}"),
        };
        // State by state, so that an index by state and number gives the newest without a sort.
        let parts: Vec<String> = states
            .iter()
            .map(|state| {
                format!(
                    "SELECT * FROM (SELECT {COLUMNS} FROM tasks WHERE state = {state}{conditions} \
                     ORDER BY seq DESC{limit}) AS of_state_{state}"
                )
            })
            .collect();
        let sql = format!("{} ORDER BY seq DESC{limit}", parts.join(" UNION ALL "));
        let mut query = sqlx::query(&sql);
        if let Some(datasource) = &filter.datasource {
            query = query.bind(datasource);
        }
        if let Some(created) = filter.created {
            query = query.bind(created.start_ms).bind(created.end_ms);
        }
        if filter.before > 0 {
            query = query.bind(int(filter.before));
        }
        query.fetch_all(&self.reader).await?.iter().map(read).collect()
    }

    /// A task's checkpoint; empty without one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn checkpoint(&self, task: &TaskId) -> Result<Vec<u8>, StoreError> {
        let found = sqlx::query("SELECT state FROM checkpoints WHERE task_id = $1")
            .bind(task.as_str())
            .fetch_optional(&self.reader)
            .await?;
        Ok(match found {
            Some(row) => row.try_get("state")?,
            None => Vec::new(),
        })
    }

    /// Keeps a controller's checkpoint unless a later epoch has written one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_checkpoint(&self, task: &TaskId, epoch: u64, state: &[u8]) -> Result<(), StoreError> {
        retried(|| self.put_checkpoint_once(task, epoch, state)).await
    }

    async fn put_checkpoint_once(&self, task: &TaskId, epoch: u64, state: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT INTO checkpoints VALUES ($1, $2, $3) ON CONFLICT (task_id) DO UPDATE \
                   SET epoch = excluded.epoch, state = excluded.state WHERE excluded.epoch >= checkpoints.epoch";
        let mut tx = self.begin().await?;
        sqlx::query(sql)
            .bind(task.as_str())
            .bind(int(epoch))
            .bind(state)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}
