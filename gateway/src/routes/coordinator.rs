//! `/druid/coordinator/v1`: what Druid's Coordinator answers.

mod cluster;
mod compaction;
pub mod configs;
mod datasources;
mod lookups;
mod mark;
mod metadata;
mod reading;
mod rules;

use axum::Router;
use axum::routing::{get, post};

use crate::service::App;

pub(super) use cluster::is_leader;
pub(super) use configs::{Part, author, history_json, put, stored};
pub(crate) use reading::{Usage, data_segment, each_segment};

/// All of them; datasources' are `{datasource}`, by which their rights are known.
pub fn router() -> Router<App> {
    let at = |path: &str| format!("/druid/coordinator/v1{path}");
    Router::new()
        .route(&at("/leader"), get(super::indexer::leader))
        .route(&at("/isLeader"), get(cluster::is_leader))
        .route(&at("/loadstatus"), get(cluster::load_status))
        .route(&at("/loadqueue"), get(cluster::load_queue))
        .route(&at("/duties"), get(cluster::duties))
        .route(&at("/tiers"), get(cluster::tiers))
        .route(&at("/tiers/{tier}"), get(cluster::tier))
        .route(&at("/servers"), get(cluster::servers))
        .route(&at("/servers/{server}"), get(cluster::server))
        .route(&at("/cluster"), get(cluster::nodes))
        .route(&at("/cluster/{role}"), get(cluster::nodes_of_role))
        .route(&at("/intervals"), get(cluster::intervals))
        .route(&at("/intervals/{interval}"), get(cluster::intervals_in))
        .route(&at("/rules"), get(rules::all))
        .route(&at("/rules/history"), get(rules::history))
        .route(&at("/rules/{datasource}"), get(rules::of).post(rules::set))
        .route(&at("/rules/{datasource}/history"), get(rules::history_of))
        .route(
            &at("/config"),
            get(configs::coordinator).post(configs::set_coordinator),
        )
        .route(&at("/config/history"), get(configs::coordinator_history))
        .route(&at("/config/syncedBrokers"), get(configs::synced_brokers))
        .route(&at("/config/cloneStatus"), get(configs::clone_status))
        .merge(data(at))
        .merge(compaction::router())
        .merge(lookups::router())
}

fn data(at: impl Fn(&str) -> String) -> Router<App> {
    Router::new()
        .route(&at("/datasources"), get(datasources::list))
        .route(
            &at("/datasources/{datasource}"),
            get(datasources::one).post(mark::use_all).delete(mark::unuse_all),
        )
        .route(&at("/datasources/{datasource}/markUsed"), post(mark::mark_used))
        .route(
            &at("/datasources/{datasource}/markUnused"),
            post(mark::mark_unused),
        )
        .route(
            &at("/datasources/{datasource}/intervals"),
            get(datasources::intervals),
        )
        .route(
            &at("/datasources/{datasource}/intervals/{interval}"),
            get(datasources::intervals_in).delete(mark::kill),
        )
        .route(
            &at("/datasources/{datasource}/intervals/{interval}/serverview"),
            get(datasources::server_view),
        )
        .route(
            &at("/datasources/{datasource}/loadstatus"),
            get(datasources::load_status),
        )
        .route(
            &at("/datasources/{datasource}/segments"),
            get(datasources::segments),
        )
        .route(
            &at("/datasources/{datasource}/segments/{segment}"),
            get(datasources::segment)
                .post(mark::use_one)
                .delete(mark::unuse_one),
        )
        .route(&at("/datasources/{datasource}/tiers"), get(datasources::tiers))
        .route(
            &at("/datasources/{datasource}/handoffComplete"),
            get(datasources::handoff),
        )
        .route(&at("/metadata/datasources"), get(metadata::datasources))
        .route(
            &at("/metadata/datasources/{datasource}"),
            get(metadata::datasource),
        )
        .route(
            &at("/metadata/datasources/{datasource}/segments"),
            get(metadata::segments).post(metadata::segments_in),
        )
        .route(
            &at("/metadata/datasources/{datasource}/segments/{segment}"),
            get(metadata::segment),
        )
        .route(
            &at("/metadata/datasources/{datasource}/unusedSegments"),
            get(metadata::unused),
        )
        .route(&at("/metadata/segments"), get(metadata::all_segments))
        // The same, where newer clients ask the Overlord for it.
        .route(
            "/druid/indexer/v1/datasources/{datasource}",
            post(mark::use_all).delete(mark::unuse_all),
        )
        .route(
            "/druid/indexer/v1/datasources/{datasource}/markUsed",
            post(mark::mark_used),
        )
        .route(
            "/druid/indexer/v1/datasources/{datasource}/markUnused",
            post(mark::mark_unused),
        )
        .route(
            "/druid/indexer/v1/datasources/{datasource}/segments/{segment}",
            post(mark::use_one).delete(mark::unuse_one),
        )
}
