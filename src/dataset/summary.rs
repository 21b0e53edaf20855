//! `dataset.json` from the rows of a dataset, and the writing of its tables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use half::f16;
use sha2::{Digest, Sha256};

use crate::formats::dataset::{
    self, Counts, DatasetError, DatasetJson, ExclusionRow, GroupInfo, ImageInfo, SampleRow, ShardInfo, SiteFolds, Split,
};
use crate::formats::images;
use crate::formats::plan::{PLAN_JSON, Plan};
use crate::fsx;
use crate::outdir::fingerprint;

/// What a dataset is made of, besides its image files.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The preprocessing.
    pub plan: &'a Plan,
    /// Rows in file order, shard and row filled in.
    pub samples: &'a [SampleRow],
    /// Stacks left out.
    pub exclusions: &'a [ExclusionRow],
    /// Image files in order.
    pub shards: &'a [ShardInfo],
    /// Class names in the order of the logits.
    pub classes: &'a [String],
    /// Groups absent from training and validation on purpose.
    pub held_out_groups: &'a BTreeSet<String>,
    /// Number of folds.
    pub folds: Option<usize>,
    /// Folds that are sites.
    pub site_folds: Option<SiteFolds>,
    /// `content_hash` of the cohort.
    pub cohort_hash: &'a str,
    /// What the plan makes of the golden raw stack, hashed.
    pub golden_stack_hash: Option<String>,
}

/// Counts subjects, stacks and samples.
fn count<'a>(rows: impl Iterator<Item = &'a SampleRow>) -> Counts {
    let (mut subjects, mut stacks, mut samples) = (BTreeSet::new(), BTreeSet::new(), 0);
    for row in rows {
        subjects.insert(&row.subject_id);
        stacks.insert(&row.stack_id);
        samples += 1;
    }
    Counts { subjects: subjects.len(), stacks: stacks.len(), samples }
}

fn count_splits<'a>(rows: impl Iterator<Item = &'a SampleRow> + Clone) -> BTreeMap<Split, Counts> {
    Split::ALL.map(|split| (split, count(rows.clone().filter(|row| row.split == split)))).into()
}

/// `plan.json` as it is written and hashed.
///
/// # Errors
/// [`DatasetError::Json`] for a number that JSON cannot hold.
pub fn plan_bytes(plan: &Plan, path: &Path) -> Result<Vec<u8>, DatasetError> {
    let mut bytes =
        serde_json::to_vec_pretty(plan).map_err(|source| DatasetError::Json { path: path.to_path_buf(), source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Hash over everything that training can see: shards and rows.
fn content_hash(parts: &Parts<'_>) -> String {
    let mut hasher = Sha256::new();
    for shard in parts.shards {
        hasher.update(shard.sha256.as_bytes());
    }
    for row in parts.samples {
        let fold = row.fold.map_or_else(String::new, |fold| fold.to_string());
        let fields = [
            &*row.sample_id,
            &row.subject_id,
            &row.stack_id,
            &row.label,
            &row.acquisition_group,
            &row.group,
            row.split.as_str(),
            &fold,
        ];
        hasher.update(fingerprint(fields.map(str::as_bytes)).as_bytes());
    }
    for class in parts.classes {
        hasher.update(fingerprint([class.as_bytes()]).as_bytes());
    }
    for subject in parts.site_folds.iter().flat_map(|sites| &sites.validation_subjects) {
        hasher.update(fingerprint([b"validates".as_slice(), subject.as_bytes()]).as_bytes());
    }
    data_encoding::HEXLOWER.encode(&hasher.finalize())
}

/// `dataset.json` of these parts.
///
/// # Errors
/// [`DatasetError::Json`] when the plan cannot be written as JSON.
pub fn dataset_json(parts: &Parts<'_>) -> Result<DatasetJson, DatasetError> {
    let names: BTreeSet<&String> = parts.samples.iter().map(|row| &row.group).collect();
    let acquisition: BTreeSet<&String> = parts.samples.iter().map(|row| &row.acquisition_group).collect();
    let mut by_group: BTreeMap<&String, Vec<&SampleRow>> = BTreeMap::new();
    for row in parts.samples {
        by_group.entry(&row.group).or_default().push(row);
    }
    let group = |name: &String| {
        let rows = &by_group[name];
        let held_out = rows.iter().all(|row| {
            parts.held_out_groups.contains(&row.group) || parts.held_out_groups.contains(&row.acquisition_group)
        });
        GroupInfo { name: name.clone(), held_out, splits: count_splits(rows.iter().copied()) }
    };
    let (channels, height, width) = parts.plan.image_shape();
    Ok(DatasetJson {
        schema: dataset::DATASET_SCHEMA.to_owned(),
        cohort_hash: parts.cohort_hash.to_owned(),
        plan_hash: sha256_hex(&plan_bytes(parts.plan, Path::new(PLAN_JSON))?),
        golden_stack_hash: parts.golden_stack_hash.clone(),
        content_hash: content_hash(parts),
        classes: parts.classes.to_vec(),
        groups: names.into_iter().map(group).collect(),
        acquisition_groups: acquisition.into_iter().cloned().collect(),
        image: ImageInfo {
            channels,
            height,
            width,
            dtype: "float16".to_owned(),
            pixel_spacing_mm: parts.plan.geometry.pixel_spacing_mm(),
            channel_names: parts.plan.channel_names(),
        },
        folds: parts.folds,
        site_folds: parts.site_folds.clone(),
        splits: count_splits(parts.samples.iter()),
        total: count(parts.samples.iter()),
        excluded_stacks: parts.exclusions.len(),
        shards: parts.shards.to_vec(),
    })
}

/// Lower-case hex SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Writes `plan.json` and the tables; `dataset.json` is the caller's to write last.
///
/// # Errors
/// [`DatasetError`].
pub fn write_tables(folder: &Path, parts: &Parts<'_>) -> Result<(), DatasetError> {
    let plan = folder.join(PLAN_JSON);
    fsx::write_atomic(&plan, &plan_bytes(parts.plan, &plan)?)?;
    let table = |path: &Path| {
        let path = path.to_path_buf();
        move |source| DatasetError::Table { path, source }
    };
    let samples = folder.join(dataset::SAMPLES_PARQUET);
    dataset::samples_to_table(parts.samples).write_parquet(&samples).map_err(table(&samples))?;
    let exclusions = folder.join(dataset::EXCLUSIONS_PARQUET);
    let rows = dataset::exclusions_to_table(parts.exclusions);
    rows.write_parquet(&exclusions).map_err(table(&exclusions))?;
    let twin = exclusions.with_extension("csv");
    rows.write_csv(&twin).map_err(table(&twin))
}

/// Writes a small dataset of one shard from images in memory (for tests and synthetic sets): `samples` with their images
/// (c x h x w, rounded to float16). Shard and row are filled in; classes and groups are those found, byte-sorted.
///
/// # Errors
/// [`DatasetError`].
///
/// # Panics
/// When an image has another length than the plan's: a caller's bug.
pub fn write_in_memory(
    folder: &Path,
    plan: &Plan,
    samples: &[(SampleRow, Vec<f32>)],
    folds: Option<usize>,
) -> Result<DatasetJson, DatasetError> {
    fsx::create_folder(folder)?;
    let shape = plan.image_shape();
    let mut pixels = Vec::new();
    let mut rows = Vec::new();
    for (index, (row, image)) in samples.iter().enumerate() {
        assert_eq!(image.len(), shape.0 * shape.1 * shape.2, "one image");
        pixels.extend(image.iter().map(|&value| f16::from_f32(value)));
        rows.push(SampleRow { shard: 0, row: i32::try_from(index).expect("a small dataset"), ..row.clone() });
    }
    let bytes = images::npy_bytes(shape, &pixels);
    images::write_shard(&folder.join(images::shard_name(0)), &bytes)?;
    let shards = [ShardInfo { file: images::shard_name(0), rows: rows.len(), sha256: sha256_hex(&bytes) }];
    let classes: BTreeSet<String> = rows.iter().map(|row| row.label.clone()).collect();
    let classes: Vec<String> = classes.into_iter().collect();
    let parts = Parts {
        plan,
        samples: &rows,
        exclusions: &[],
        shards: &shards,
        classes: &classes,
        held_out_groups: &BTreeSet::new(),
        folds,
        site_folds: None,
        cohort_hash: "",
        golden_stack_hash: None,
    };
    write_tables(folder, &parts)?;
    let json = dataset_json(&parts)?;
    let path = folder.join(dataset::DATASET_JSON);
    let mut bytes =
        serde_json::to_vec_pretty(&json).map_err(|source| DatasetError::Json { path: path.clone(), source })?;
    bytes.push(b'\n');
    fsx::write_atomic(&path, &bytes)?;
    Ok(json)
}
