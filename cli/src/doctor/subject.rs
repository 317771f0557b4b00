//! What of a role's settings is checked.

use std::path::PathBuf;

use sarsen_gateway::HttpOptions;
use sarsen_kernel::secret::Secret;
use sarsen_object::ObjectSettings;
use sarsen_proto::tls::TlsOptions;
use sarsen_proto::v1;

use crate::Command;

/// A role with its settings; what it has none of is empty.
#[derive(Debug, Clone)]
pub struct Subject {
    /// `None` for a standalone, which is no node.
    pub role: Option<v1::Role>,
    pub data_dir: Option<PathBuf>,
    pub spill_dir: Option<PathBuf>,
    pub deep_storage: Option<String>,
    pub objects: ObjectSettings,
    pub tls: TlsOptions,
    pub http: Option<HttpOptions>,
    /// Addresses that it binds, by flag.
    pub listens: Vec<(&'static str, String)>,
    pub advertise: Option<String>,
    /// The Overlord that it belongs to.
    pub overlord: Option<String>,
    /// The directory that it leads by.
    pub etcd: Option<String>,
    /// The metadata store, as given.
    pub metadata: Option<Option<Secret>>,
    pub audit_log: Option<PathBuf>,
    pub memory: Option<Memory>,
    /// What EXTERN may read and exports may write, where that is this role's business; by flag.
    pub allowed: Vec<(&'static str, Vec<String>)>,
}

/// Memory of a worker.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub bytes: u64,
    /// Worker tasks that share it.
    pub slots: u32,
}

impl Subject {
    /// Of a role's command; other commands have nothing to check.
    pub fn of(command: Command) -> Option<Subject> {
        let (mut subject, observe) = match command {
            Command::Standalone(role) => (standalone(role.own), role.observe),
            Command::Overlord(role) => (overlord(role.own), role.observe),
            Command::Controller(role) => (controller(role.own), role.observe),
            Command::Worker(role) => (worker(role.own), role.observe),
            Command::Gateway(role) => (gateway(role.own), role.observe),
            _ => return None,
        };
        let admin = observe.admin_addr.map(|address| ("--admin-addr", address));
        subject.listens.extend(admin);
        Some(subject)
    }

    fn new(role: Option<v1::Role>, objects: ObjectSettings, tls: TlsOptions) -> Self {
        Subject {
            role,
            data_dir: None,
            spill_dir: None,
            deep_storage: None,
            objects,
            tls,
            http: None,
            listens: Vec::new(),
            advertise: None,
            overlord: None,
            etcd: None,
            metadata: None,
            audit_log: None,
            memory: None,
            allowed: Vec::new(),
        }
    }
}

fn standalone(options: crate::standalone::Options) -> Subject {
    let worker = options.one_worker();
    Subject {
        spill_dir: Some(worker.spill_dir()),
        deep_storage: Some(worker.deep_storage()),
        memory: Some(Memory {
            bytes: worker.memory_bytes(),
            slots: options.slots * options.workers,
        }),
        http: Some(options.http),
        listens: vec![("--http-addr", options.http_addr)],
        metadata: Some(options.metadata),
        audit_log: options.security.audit_log,
        data_dir: Some(options.data_dir),
        ..Subject::new(None, options.objects, TlsOptions::default())
    }
}

fn overlord(options: sarsen_overlord::Options) -> Subject {
    Subject {
        deep_storage: Some(options.deep_storage()),
        listens: vec![("--grpc-addr", options.grpc_addr)],
        advertise: options.advertise,
        etcd: options.etcd,
        metadata: Some(options.metadata),
        audit_log: options.security.audit_log,
        data_dir: Some(options.data_dir),
        ..Subject::new(Some(v1::Role::Overlord), options.objects, options.tls)
    }
}

fn controller(options: sarsen_controller::Options) -> Subject {
    Subject {
        deep_storage: Some(options.deep_storage()),
        listens: vec![("--grpc-addr", options.grpc_addr)],
        advertise: options.advertise,
        overlord: Some(options.overlord),
        allowed: vec![
            ("--extern-allow", options.extern_allow),
            ("--export-allow", options.export_allow),
        ],
        data_dir: Some(options.data_dir),
        ..Subject::new(Some(v1::Role::Controller), options.objects, options.tls)
    }
}

fn worker(options: sarsen_worker::Options) -> Subject {
    Subject {
        deep_storage: Some(options.deep_storage()),
        spill_dir: Some(options.spill_dir()),
        memory: Some(Memory {
            bytes: options.memory_bytes(),
            slots: options.slots,
        }),
        listens: vec![("--grpc-addr", options.grpc_addr)],
        advertise: options.advertise,
        overlord: Some(options.overlord),
        allowed: vec![
            ("--extern-allow", options.extern_allow),
            ("--export-allow", options.export_allow),
        ],
        data_dir: Some(options.data_dir),
        ..Subject::new(Some(v1::Role::Worker), options.objects, options.tls)
    }
}

fn gateway(options: sarsen_gateway::Options) -> Subject {
    Subject {
        deep_storage: options.deep_storage,
        http: Some(options.http),
        listens: vec![("--http-addr", options.http_addr)],
        overlord: Some(options.overlord),
        allowed: vec![("--extern-allow", options.extern_allow)],
        ..Subject::new(Some(v1::Role::Gateway), options.objects, options.tls)
    }
}
