//! What a pipeline ends with: `pipeline.json`, and what the command shows.

use serde::Serialize;

use super::PipelineError;
use crate::audit::{AuditSummary, ModelSummary};
use crate::export::ExportSummary;
use crate::settings::pipeline::PipelineSettings;

/// `schema` of `pipeline.json`.
pub const PIPELINE_SCHEMA: &str = "groupdistil.pipeline/1";

/// The exported student.
#[derive(Debug, Clone, Serialize)]
pub struct ExportedModel {
    /// Which student.
    pub name: String,
    /// With folds: the fold that this network did not see.
    pub fold: Option<usize>,
    /// The network.
    pub architecture: String,
    /// Trained parameters.
    pub parameters: u64,
    /// Size of MODEL.pt.
    pub bytes: u64,
    /// Largest difference of a logit between the trained network and the file, reloaded in a fresh process.
    pub largest_difference: f64,
}

/// `pipeline.json`: nothing in it depends on when, where or how often the pipeline ran.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineJson<'a> {
    schema: &'static str,
    title: &'a str,
    settings: &'a toml::Table,
    model: &'a ExportedModel,
    /// The one under audit first, then the other students, then the teacher.
    methods: &'a [ModelSummary],
}

/// What a pipeline ended with.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineSummary {
    /// What it is for.
    pub title: String,
    /// The exported student.
    pub model: ExportedModel,
    /// Methods, gates, warnings, and where the report is.
    pub audit: AuditSummary,
}

impl PipelineSummary {
    pub(super) fn new(
        settings: &PipelineSettings,
        fold: Option<usize>,
        exported: ExportSummary,
        audit: AuditSummary,
    ) -> Self {
        let model = ExportedModel {
            name: settings.students[0].name.clone(),
            fold,
            architecture: exported.architecture,
            parameters: exported.parameters,
            bytes: exported.bytes,
            largest_difference: exported.largest_difference,
        };
        Self { title: settings.title.clone(), model, audit }
    }

    /// `pipeline.json`.
    ///
    /// # Errors
    /// [`PipelineError::Json`].
    pub fn json(&self, settings: &PipelineSettings) -> Result<Vec<u8>, PipelineError> {
        json_bytes(&PipelineJson {
            schema: PIPELINE_SCHEMA,
            title: &self.title,
            settings: &settings.resolved,
            model: &self.model,
            methods: &self.audit.models,
        })
    }
}

/// Indented JSON with a final newline.
///
/// # Errors
/// [`PipelineError::Json`].
pub fn json_bytes(value: &impl Serialize) -> Result<Vec<u8>, PipelineError> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}
