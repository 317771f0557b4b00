//! Segments and intervals, read page by page, and answers that are lists of them.

use axum::response::Response;
use sarsen_proto::v1;
use serde_json::{Value, json};

use super::datasources::Form;
use crate::error::ApiError;
use crate::service::App;
use crate::stream::{Out, json_list, json_stream};

/// Rows of one page.
const PAGE: u32 = 500;

/// Whether the used or the unused segments are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Used,
    Unused,
}

/// Something that the Overlord lists page by page.
pub trait Listing {
    type Row;

    /// The next page, of [`PAGE`] rows unless it is the last.
    fn page(&mut self) -> impl Future<Output = Result<Vec<Self::Row>, ApiError>> + Send;
}

/// The rows of a listing, of which one page is held at a time.
#[derive(Debug)]
pub struct Rows<L: Listing> {
    listing: L,
    page: std::vec::IntoIter<L::Row>,
    ended: bool,
}

impl<L: Listing> Rows<L> {
    fn of(listing: L) -> Self {
        Rows {
            listing,
            page: Vec::new().into_iter(),
            ended: false,
        }
    }

    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// When the Overlord cannot be asked.
    pub async fn next(&mut self) -> Result<Option<L::Row>, ApiError> {
        if self.page.len() == 0 && !self.ended {
            let page = self.listing.page().await?;
            self.ended = page.len() < PAGE as usize;
            self.page = page.into_iter();
        }
        Ok(self.page.next())
    }
}

/// A datasource's segments.
#[derive(Debug)]
pub struct Segments {
    app: App,
    request: v1::PageSegmentsRequest,
}

/// Begins to read them.
pub fn each_segment(app: &App, datasource: &str, usage: Usage) -> Rows<Segments> {
    Rows::of(Segments {
        app: app.clone(),
        request: v1::PageSegmentsRequest {
            datasource: datasource.to_owned(),
            unused: usage == Usage::Unused,
            after: None,
            limit: PAGE,
        },
    })
}

impl Rows<Segments> {
    /// Begins behind a segment.
    pub fn after(mut self, segment: v1::SegmentInfo) -> Self {
        self.listing.request.after = Some(segment);
        self
    }
}

impl Listing for Segments {
    type Row = v1::SegmentInfo;

    async fn page(&mut self) -> Result<Vec<v1::SegmentInfo>, ApiError> {
        let page = self
            .app
            .overlord()?
            .page_segments(self.request.clone())
            .await
            .map_err(|status| ApiError::of_status(&status, ""))?;
        let segments = page.into_inner().segments;
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
}

pub fn each_interval(app: &App, datasource: &str) -> Rows<Intervals> {
    Rows::of(Intervals {
        app: app.clone(),
        request: v1::PageIntervalsRequest {
            datasource: datasource.to_owned(),
            after: None,
            limit: PAGE,
        },
    })
}

impl Listing for Intervals {
    type Row = v1::IntervalSums;

    async fn page(&mut self) -> Result<Vec<v1::IntervalSums>, ApiError> {
        let page = self
            .app
            .overlord()?
            .page_intervals(self.request.clone())
            .await
            .map_err(|status| ApiError::of_status(&status, ""))?;
        let intervals = page.into_inner().intervals;
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
async fn write_datasource(out: &mut Out, app: &App, sums: &v1::DatasourceSums) -> Result<(), ApiError> {
    out.separate().await?;
    let head = json!({ "name": sums.datasource, "properties": { "created": sums.created } }).to_string();
    let head = head.strip_suffix('}').unwrap_or(&head);
    out.write(head).await?;
    out.open(",\"segments\":[").await?;
    let mut segments = each_segment(app, &sums.datasource, Usage::Used);
    while let Some(segment) = segments.next().await? {
        out.element(&data_segment(&segment)?).await?;
    }
    out.close("]}").await
}

/// A list of datasources with their segments.
///
/// # Errors
/// When the Overlord cannot be asked.
pub async fn datasources_in_full(app: App, found: Vec<v1::DatasourceSums>) -> Result<Response, ApiError> {
    json_list(move |mut out| async move {
        for sums in &found {
            write_datasource(&mut out, &app, sums).await?;
        }
        Ok(out)
    })
    .await
}

/// One datasource with its segments.
///
/// # Errors
/// As [`datasources_in_full`].
pub async fn datasource_in_full(app: App, sums: v1::DatasourceSums) -> Result<Response, ApiError> {
    json_stream(|mut out| async move {
        write_datasource(&mut out, &app, &sums).await?;
        out.end().await
    })
    .await
}

/// A list of the used segments whose intervals are wanted: their ids, or with `?full` themselves.
///
/// # Errors
/// As [`datasources_in_full`].
pub async fn list_segments(
    app: App,
    datasource: String,
    form: Form,
    is_wanted: impl Fn(&v1::Interval) -> bool + Send + Sync + 'static,
) -> Result<Response, ApiError> {
    json_list(move |mut out| async move {
        let mut segments = each_segment(&app, &datasource, Usage::Used);
        while let Some(segment) = segments.next().await? {
            if !is_wanted(&segment.interval.unwrap_or_default()) {
                continue;
            }
            let value = match form.full {
                Some(_) => data_segment(&segment)?,
                None => json!(segment.id),
            };
            out.element(&value).await?;
        }
        Ok(out)
    })
    .await
}
