//! Pages of segments and intervals, read one after the other.

use sarsen_proto::v1;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::service::App;
use crate::stream::Out;

/// Rows of one page.
const PAGE: u32 = 500;

/// Whether the used or the unused segments are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Used,
    Unused,
}

/// A datasource's segments, page by page.
#[derive(Debug)]
pub struct Segments {
    app: App,
    request: v1::PageSegmentsRequest,
    ended: bool,
}

/// Begins to read them.
pub fn each_segment(app: &App, datasource: &str, usage: Usage) -> Segments {
    Segments {
        app: app.clone(),
        request: v1::PageSegmentsRequest {
            datasource: datasource.to_owned(),
            unused: usage == Usage::Unused,
            after: None,
            limit: PAGE,
        },
        ended: false,
    }
}

impl Segments {
    /// Goes on behind a segment.
    pub fn after(mut self, segment: v1::SegmentInfo) -> Segments {
        self.request.after = Some(segment);
        self
    }

    /// The next ones; empty at the end.
    ///
    /// # Errors
    /// When the Overlord cannot be asked.
    pub async fn next(&mut self) -> Result<Vec<v1::SegmentInfo>, ApiError> {
        if self.ended {
            return Ok(Vec::new());
        }
        let page = self
            .app
            .overlord()?
            .page_segments(self.request.clone())
            .await
            .map_err(|status| ApiError::of_status(&status, ""))?;
        let segments = page.into_inner().segments;
        self.ended = segments.len() < PAGE as usize;
        self.request.after = segments.last().map(|last| v1::SegmentInfo {
            payload_json: String::new(),
            ..last.clone()
        });
        Ok(segments)
    }
}

/// Intervals of a datasource's used segments, the latest first.
#[derive(Debug)]
pub struct Intervals {
    app: App,
    request: v1::PageIntervalsRequest,
    ended: bool,
}

pub fn each_interval(app: &App, datasource: &str) -> Intervals {
    Intervals {
        app: app.clone(),
        request: v1::PageIntervalsRequest {
            datasource: datasource.to_owned(),
            after: None,
            limit: PAGE,
        },
        ended: false,
    }
}

impl Intervals {
    /// The next ones; empty at the end.
    ///
    /// # Errors
    /// When the Overlord cannot be asked.
    pub async fn next(&mut self) -> Result<Vec<v1::IntervalSums>, ApiError> {
        if self.ended {
            return Ok(Vec::new());
        }
        let page = self
            .app
            .overlord()?
            .page_intervals(self.request.clone())
            .await
            .map_err(|status| ApiError::of_status(&status, ""))?;
        let intervals = page.into_inner().intervals;
        self.ended = intervals.len() < PAGE as usize;
        self.request.after = intervals.last().and_then(|last| last.interval);
        Ok(intervals)
    }
}

/// Datasources with used segments; `None`: all.
///
/// # Errors
/// When the Overlord cannot be asked.
pub async fn list_datasources(
    app: &App,
    datasource: Option<&str>,
    include_unused: bool,
) -> Result<Vec<v1::DatasourceSums>, ApiError> {
    let request = v1::DatasourcesRequest {
        datasource: datasource.unwrap_or_default().to_owned(),
        include_unused,
    };
    let list = app
        .overlord()?
        .list_datasources(request)
        .await
        .map_err(|status| ApiError::of_status(&status, ""))?;
    Ok(list.into_inner().datasources)
}

/// One datasource, if it has used segments.
///
/// # Errors
/// When the Overlord cannot be asked.
pub async fn find_datasource(app: &App, name: &str) -> Result<Option<v1::DatasourceSums>, ApiError> {
    Ok(list_datasources(app, Some(name), false).await?.into_iter().next())
}

/// A segment, and whether it is used.
///
/// # Errors
/// When the Overlord cannot be asked.
pub async fn find_segment(
    app: &App,
    datasource: &str,
    id: &str,
) -> Result<Option<(v1::SegmentInfo, bool)>, ApiError> {
    let request = v1::SegmentRequest {
        datasource: datasource.to_owned(),
        id: id.to_owned(),
    };
    let found = app
        .overlord()?
        .find_segment(request)
        .await
        .map_err(|status| ApiError::of_status(&status, ""))?
        .into_inner();
    Ok(found.segment.map(|segment| (segment, found.used)))
}

/// Druid's `DataSegment`.
///
/// # Errors
/// When the store holds something else.
pub fn data_segment(segment: &v1::SegmentInfo) -> Result<Value, ApiError> {
    let malformed = || ApiError::Internal {
        message: format!("the payload of segment [{}] is no JSON object", segment.id),
    };
    let mut payload: Value = serde_json::from_str(&segment.payload_json).map_err(|_| malformed())?;
    let object = payload.as_object_mut().ok_or_else(malformed)?;
    object.insert("identifier".to_owned(), json!(segment.id));
    Ok(payload)
}

/// A datasource with its segments, as Druid's `ImmutableDruidDataSource`.
///
/// # Errors
/// When the Overlord cannot be asked, or the client has gone away.
pub async fn write_datasource(out: &mut Out, app: &App, sums: &v1::DatasourceSums) -> Result<(), ApiError> {
    out.separate().await?;
    let head = json!({ "name": sums.datasource, "properties": { "created": sums.created } }).to_string();
    let head = head.strip_suffix('}').unwrap_or(&head);
    out.write(head).await?;
    out.open(",\"segments\":[").await?;
    let mut segments = each_segment(app, &sums.datasource, Usage::Used);
    loop {
        let page = segments.next().await?;
        if page.is_empty() {
            break;
        }
        for segment in &page {
            out.element(&data_segment(segment)?).await?;
        }
    }
    out.close("]}").await
}
