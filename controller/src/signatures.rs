//! Columns of EXTERNs that give none: inferred before the query is planned, and kept, so that whoever plans the task again
//! plans the same.

use sarsen_kernel::fault::Fault;
use sarsen_planner::{InferredSignature, PlanRequest, to_infer};
use sarsen_proto::membership::overlord;
use sarsen_proto::transport::retry;
use sarsen_proto::v1;
use sarsen_storage::infer::infer;
use sarsen_storage::signature::Signature;
use tonic::Status;

use crate::context;
use crate::task::{OVERLORD_ATTEMPTS, Run, TaskEnvironment};

/// The columns of every EXTERN of the request that has none.
///
/// # Errors
/// A fault that names the file that cannot be read, or the source whose files hold no rows.
pub async fn inferred(
    environment: &TaskEnvironment,
    request: &PlanRequest,
    run: &Run<'_>,
) -> Result<Vec<InferredSignature>, Fault> {
    let wanted = to_infer(request).map_err(|error| context::fault_of(&error))?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let kept = run.earlier.as_deref().and_then(unpacked);
    let is_kept = kept.as_ref().is_some_and(|kept| kept.len() == wanted.len());
    let signatures = match kept.filter(|_| is_kept) {
        Some(kept) => kept,
        None => {
            let mut signatures = Vec::new();
            for (source, format) in &wanted {
                let signature = infer(source, format, &environment.sources).await;
                signatures.push(signature.map_err(|error| sarsen_worker::storage_fault::fault_of(&error))?);
            }
            keep(environment, run, &signatures).await?;
            signatures
        }
    };
    let inferred = wanted.into_iter().zip(signatures);
    let inferred = inferred.map(|((source, format), signature)| InferredSignature {
        source,
        format,
        signature,
    });
    Ok(inferred.collect())
}

/// Signatures in the order of the statement, as a checkpoint has them.
fn packed(signatures: &[Signature]) -> Vec<u8> {
    let texts: Vec<String> = signatures.iter().map(Signature::to_json).collect();
    serde_json::Value::from(texts).to_string().into_bytes()
}

fn unpacked(checkpoint: &[u8]) -> Option<Vec<Signature>> {
    let texts: Vec<String> = serde_json::from_slice(checkpoint).ok()?;
    texts.iter().map(|text| text.parse().ok()).collect()
}

async fn keep(environment: &TaskEnvironment, run: &Run<'_>, signatures: &[Signature]) -> Result<(), Fault> {
    let request = v1::Checkpoint {
        task_id: run.task_id.to_owned(),
        epoch: run.epoch,
        state: packed(signatures).into(),
    };
    let kept = retry(OVERLORD_ATTEMPTS, || {
        let client = overlord(&environment.network, &environment.overlord);
        let request = request.clone();
        async move {
            let mut client = client.map_err(|error| Status::unavailable(error.to_string()))?;
            client.put_checkpoint(request).await
        }
    });
    kept.await.map(|_| ()).map_err(|status| Fault::UnknownError {
        message: format!("the inferred columns could not be kept: {}", status.message()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn signatures_survive_a_checkpoint() {
        let text = r#"[{"name":"a","type":"LONG"},{"name":"t","type":"ARRAY<STRING>"}]"#;
        let signatures: Vec<Signature> = vec![text.parse().unwrap(), "[]".parse().unwrap()];
        assert_eq!(unpacked(&packed(&signatures)), Some(signatures));
        assert_eq!(unpacked(b""), None);
    }
}
