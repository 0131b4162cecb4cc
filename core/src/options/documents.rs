//! What a worker may load documents from.

use clap::Args;

use super::values::bytes;
use crate::settings::{DocumentSettings, StoreSettings};

/// The options about documents.
#[derive(Args, Clone, Debug)]
pub(super) struct DocumentOptions {
    /// The directory below which documents of file:// addresses and of plain paths may be read
    #[arg(long, global = true, value_name = "PATH")]
    documents_dir: Option<String>,

    /// Addresses that documents may be loaded from besides https:// of public hosts; * matches any
    /// characters of the host or of the path: http://minio:9000/*. With one of an object store, nothing
    /// else of that store: s3://reports/*
    #[arg(long, global = true, value_name = "URL", value_delimiter = ',')]
    allow_uri: Vec<String>,

    /// The maximum size of a document behind an address
    #[arg(long, global = true, value_name = "SIZE", default_value = "100MB", value_parser = bytes)]
    max_document_size: usize,
}

impl DocumentOptions {
    pub(super) fn settings(&self, stores: StoreSettings) -> DocumentSettings {
        DocumentSettings {
            directory: self.documents_dir.clone(),
            allowed: self.allow_uri.clone(),
            stores,
            bytes_max: self.max_document_size,
            ..DocumentSettings::default()
        }
    }
}
