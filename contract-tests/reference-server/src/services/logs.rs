//! `logs.v1.LogCollector`.

use std::collections::BTreeMap;

use millstream_proto::logs::v1::log_collector_server::LogCollector;
use millstream_proto::logs::v1::{LogBatch, SeverityCount, UploadSummary};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

pub(super) struct Service;

#[tonic::async_trait]
impl LogCollector for Service {
    async fn upload(
        &self,
        request: Request<Streaming<LogBatch>>,
    ) -> Result<Response<UploadSummary>, Status> {
        let mut batches = request.into_inner();
        let mut summary = UploadSummary::default();
        let mut counts = BTreeMap::new();
        let mut crc32 = crc32fast::Hasher::new();
        let mut encoded = Vec::new();
        while let Some(batch) = batches.message().await? {
            encoded.clear();
            batch.encode(&mut encoded).map_err(|error| Status::internal(error.to_string()))?;
            crc32.update(&encoded);
            summary.bytes += encoded.len() as u64;
            summary.batches += 1;
            summary.entries += batch.entries.len() as u64;
            for entry in &batch.entries {
                *counts.entry(entry.severity).or_default() += 1;
            }
        }
        summary.counts = counts
            .into_iter()
            .map(|(severity, entries)| SeverityCount { severity, entries })
            .collect();
        summary.crc32 = crc32.finalize();
        Ok(Response::new(summary))
    }
}
