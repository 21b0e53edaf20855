//! Why a training run cannot start or had to stop.

use std::path::PathBuf;

use crate::failure::{Classify, FailureKind};
use crate::formats::dataset::DatasetError;
use crate::formats::predictions::PredictionsError;
use crate::formats::run::RunError;
use crate::fsx::FsError;
use crate::model::{PretrainedError, WeightsError};
use crate::objective::ObjectiveError;
use crate::outdir::OutDirError;
use crate::settings::train::TrainSettingsError;
use crate::torch::{DeviceError, TorchError};

/// Why a training run cannot start or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting out of range.
    #[error(transparent)]
    Settings(#[from] TrainSettingsError),
    /// The objective refused its settings or input.
    #[error(transparent)]
    Objective(#[from] ObjectiveError),
    /// No such device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The dataset cannot be read.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The teacher's RUN, or a file of this one, cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Weights cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The weights of `--init` cannot be started from.
    #[error(transparent)]
    Init(#[from] PretrainedError),
    /// Predictions cannot be written.
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
    /// The output folder cannot be used.
    #[error(transparent)]
    OutDir(#[from] OutDirError),
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// libtorch failed.
    #[error("libtorch failed in training")]
    Torch(#[from] TorchError),
    /// A checkpoint that cannot be read; the run starts anew.
    #[error("`{}`: a checkpoint that cannot be read: {reason}", path.display())]
    Checkpoint {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint that cannot be written; the one before stays.
    #[error("`{}`: cannot write the checkpoint: {reason}; the last one is kept, and the same command goes on from it", path.display())]
    CheckpointUnwritten {
        /// The folder.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// `--fold` without k-fold in the dataset.
    #[error(
        "--fold {fold} was given, but the dataset has no folds; make it with `groupdistil preprocess --split k-fold --folds K`"
    )]
    NoFolds {
        /// What was given.
        fold: usize,
    },
    /// `--fold` beyond the last.
    #[error("--fold is {fold}, but the dataset has folds 0 to {}", folds.saturating_sub(1))]
    FoldRange {
        /// What was given.
        fold: usize,
        /// How many there are.
        folds: usize,
    },
    /// Nothing to train on.
    #[error(
        "the training split has {samples} samples; at least 2 are needed: see exclusions.csv of the dataset for what was left out"
    )]
    TooFewSamples {
        /// How many there are.
        samples: usize,
    },
    /// Nothing to tell apart.
    #[error(
        "all training samples are of the class `{class}`; a classifier needs at least two: check the labels, or the split"
    )]
    OneClass {
        /// The only class.
        class: String,
    },
    /// Nothing to select an epoch by.
    #[error("the validation split is empty, so no epoch can be selected; preprocess with a share for validation")]
    NoValidation,
    /// Groups that no validation subject stands for.
    #[error(
        "selection by worst-group accuracy needs validation subjects of every group that is trained on, but there are none of {}; \
         train with `--set selection=accuracy`, which needs none, or preprocess with more subjects for validation or another group-by",
        quoted(groups)
    )]
    GroupsWithoutValidation {
        /// These groups.
        groups: Vec<String>,
    },
    /// The weights to start from were trained on samples that this run validates or tests with.
    #[error(
        "the weights `{}` were trained with {}, this run is with {}: they have seen subjects that are tested here; start from a run of the same fold",
        path.display(), fold_name(*found), fold_name(*expected)
    )]
    InitFold {
        /// The weights.
        path: PathBuf,
        /// Their fold.
        found: Option<usize>,
        /// This run's.
        expected: Option<usize>,
    },
    /// Mirror images of patients.
    #[error(
        "augment.flip would mirror patients: the dataset's images lie in patient axes, where the heart has a left and a right side; leave it \
         out, or use it for pictures without a pixel spacing"
    )]
    FlipOfPatients,
    /// Images that a network cannot take.
    #[error("{architecture} needs images of at least {least} x {least} pixels, the dataset has {} x {}", found.0, found.1)]
    TooSmall {
        /// The network.
        architecture: &'static str,
        /// Its least side.
        least: usize,
        /// Rows and columns of the dataset's.
        found: (usize, usize),
    },
    /// A selection by an area that does not exist.
    #[error(
        "selection by AUROC needs samples of every class in {what}; train with another selection, for example --set selection=accuracy"
    )]
    NoArea {
        /// Where classes are missing.
        what: &'static str,
    },
    /// A distillation without teacher.
    #[error("objective {objective} learns from a teacher; give --teacher RUN or --teacher FILE.pt")]
    NoTeacher {
        /// The objective.
        objective: &'static str,
    },
    /// A teacher that nobody listens to.
    #[error(
        "objective {objective} has no teacher; leave --teacher away, or train with --objective kd, agre-kd or group-distil"
    )]
    UnwantedTeacher {
        /// The objective.
        objective: &'static str,
    },
    /// No biased network for an objective that weights its teachers by one.
    #[error(
        "objective {objective} weights its teachers by a biased network, one trained by erm; give --biased RUN or --biased FILE.pt"
    )]
    NoBiased {
        /// The objective.
        objective: &'static str,
    },
    /// A biased network that nobody listens to.
    #[error("objective {objective} has no biased network; leave --biased away, or train with --objective agre-kd")]
    UnwantedBiased {
        /// The objective.
        objective: &'static str,
    },
    /// The teacher tells other classes apart.
    #[error("the network `{}` knows the classes {}, the dataset has {}; they must be the same", path.display(), quoted(found), quoted(expected))]
    TeacherClasses {
        /// The teacher.
        path: PathBuf,
        /// Its classes.
        found: Vec<String>,
        /// The dataset's.
        expected: Vec<String>,
    },
    /// A TorchScript file without class names.
    #[error("the teacher `{}` does not say which classes it knows; name them in the order of its logits: --set 'teacher_classes=[...]'", path.display())]
    TeacherUnnamed {
        /// The teacher.
        path: PathBuf,
    },
    /// The teacher takes other images, or gives other logits than its classes.
    #[error("the network `{}` does not fit the dataset: {reason}", path.display())]
    TeacherShape {
        /// The teacher.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The teacher was trained on samples that this run validates or tests with.
    #[error(
        "the network `{}` was trained with {}, this run is with {}: it has seen subjects that are tested here; train one of the same fold",
        path.display(), fold_name(*found), fold_name(*expected)
    )]
    TeacherFold {
        /// The teacher.
        path: PathBuf,
        /// Its fold.
        found: Option<usize>,
        /// This run's.
        expected: Option<usize>,
    },
    /// A refit without a RUN.
    #[error("objective {objective} refits the last layer of a run; give --from RUN")]
    NothingToRefit {
        /// The objective.
        objective: &'static str,
    },
    /// A RUN that nobody refits.
    #[error(
        "objective {objective} trains a network of its own; leave --from away, or give --objective dfr-train or dfr-val"
    )]
    UnwantedBase {
        /// The objective.
        objective: &'static str,
    },
    /// Groups that cannot be in both halves of the validation split.
    #[error(
        "dfr-val fits to one half of the validation subjects and chooses with the other, and needs two subjects or more of every group there; {} \
         has fewer: use dfr-train, or preprocess with more subjects for validation or another group-by",
        quoted(groups)
    )]
    GroupsTooSmallToHalve {
        /// These groups.
        groups: Vec<String>,
    },
    /// A pixel that is no number.
    #[error("sample {sample_id} has a pixel that is not finite; make the dataset anew")]
    Pixel {
        /// The sample.
        sample_id: String,
    },
    /// A loss that is not finite; q has not moved and the optimiser has not stepped.
    #[error(
        "the loss of sample {sample_id} (group `{group}`) is not finite at step {step} of epoch {epoch}; the run keeps what it had after epoch {}: \
         lower learning_rate, or train with precision=float32",
        epoch.saturating_sub(1)
    )]
    NotFinite {
        /// 1-based epoch.
        epoch: u64,
        /// 1-based step of the run.
        step: u64,
        /// The sample.
        sample_id: String,
        /// Its group.
        group: String,
    },
    /// Logits of the evaluation that are not finite.
    #[error(
        "the network's logits for sample {sample_id} (group `{group}`) are not finite after epoch {epoch}; lower learning_rate"
    )]
    NotFiniteEvaluation {
        /// 1-based epoch.
        epoch: u64,
        /// The sample.
        sample_id: String,
        /// Its group.
        group: String,
    },
    /// Interrupted; the next call goes on from here.
    #[error("interrupted in epoch {epoch}; everything up to step {step} is kept in `{}`, and the same command goes on from there", path.display())]
    Interrupted {
        /// The RUN.
        path: PathBuf,
        /// 1-based epoch.
        epoch: u64,
        /// Steps done.
        step: u64,
    },
    /// Interrupted before the first step.
    #[error("interrupted before the first step")]
    InterruptedEarly,
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn fold_name(fold: Option<usize>) -> String {
    fold.map_or_else(|| "no fold".to_owned(), |fold| format!("fold {fold}"))
}

impl From<tch::TchError> for TrainError {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}

impl Classify for TrainError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Settings(error) => error.kind(),
            Self::Objective(ObjectiveError::Range { .. }) => FailureKind::Usage,
            Self::Device(error) => error.kind(),
            Self::OutDir(error) => error.kind(),
            Self::NoFolds { .. }
            | Self::FoldRange { .. }
            | Self::NoTeacher { .. }
            | Self::UnwantedTeacher { .. }
            | Self::NoBiased { .. }
            | Self::UnwantedBiased { .. }
            | Self::NothingToRefit { .. }
            | Self::UnwantedBase { .. }
            | Self::FlipOfPatients
            | Self::TeacherUnnamed { .. } => FailureKind::Usage,
            Self::Interrupted { .. } | Self::InterruptedEarly => FailureKind::Interrupted,
            _ => FailureKind::Unusable,
        }
    }
}
