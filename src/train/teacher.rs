//! A teacher: a RUN, or a TorchScript file. In eval mode, without gradient, with logits in the order of the dataset's classes.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tch::{CModule, Device, Kind, Tensor};

use super::TrainError;
use super::data::{Samples, Seen, indices, size};
use crate::formats::model_metadata::{METADATA_FILE, ModelMetadata};
use crate::formats::run::{HELD_OUT, RunJson, TeacherInfo, WEIGHTS, read_run_json};
use crate::fsx;
use crate::model::{Architecture, Classifier, ModelSpec};
use crate::settings::methods::TeacherImages;
use crate::settings::train::TrainSettings;
use crate::torch::script;

/// Weights of the largest network here are far below this.
const WEIGHTS_CAP_BYTES: u64 = 4 << 30;

/// What messages call the second teacher and those after it.
pub const FURTHER: &str = "further teacher";

/// A teacher that fits the dataset, not yet loaded.
#[derive(Debug)]
pub struct TeacherFile {
    path: PathBuf,
    /// What `run.json` says of it.
    pub info: TeacherInfo,
    /// What a reader of the run should know.
    pub warnings: Vec<String>,
    /// Position in the teacher's logits per class of the dataset.
    order: Vec<usize>,
    run: Option<Box<RunJson>>,
    /// What a file takes that was not exported by groupdistil.
    foreign: Option<TeacherImages>,
}

/// What tells where a teacher's training data came from.
struct Origin<'a> {
    dataset_hash: &'a str,
    fold: Option<usize>,
    seed: u64,
}

fn sha256(path: &Path) -> Result<String, TrainError> {
    Ok(data_encoding::HEXLOWER.encode(&Sha256::digest(fsx::read(path, WEIGHTS_CAP_BYTES)?)))
}

impl TeacherFile {
    /// Looks at a RUN or a TorchScript file; `role` is what messages call it.
    ///
    /// # Errors
    /// [`TrainError`] when it does not fit the dataset.
    pub fn open(path: &Path, role: &str, settings: &TrainSettings, samples: &Samples) -> Result<Self, TrainError> {
        if path.is_dir() {
            return Self::open_run(path, role, settings, samples);
        }
        Self::open_script(path, role, settings, samples)
    }

    /// The RUN whose last layer is refit.
    ///
    /// # Errors
    /// [`TrainError`] when there is none, or when it does not fit the dataset.
    pub fn open_base(settings: &TrainSettings, samples: &Samples) -> Result<Self, TrainError> {
        let objective = settings.objective.objective.as_str();
        let path = settings.from.as_ref().ok_or(TrainError::NothingToRefit { objective })?;
        Self::open_run(path, "run that was refit", settings, samples)
    }

    fn open_run(path: &Path, role: &str, settings: &TrainSettings, samples: &Samples) -> Result<Self, TrainError> {
        let run = read_run_json(path)?;
        let channels = samples.dataset.image_shape().0;
        if run.image_shape[0] != channels {
            let reason = format!("it takes images of {} channels, not {channels}", run.image_shape[0]);
            return Err(TrainError::TeacherShape { path: path.to_path_buf(), reason });
        }
        if let Some(architecture) = Architecture::from_name(&run.architecture) {
            super::check_size(architecture, samples)?;
        }
        let origin = Origin { dataset_hash: &run.dataset_hash, fold: run.fold, seed: run.seed };
        let warnings = check_origin((path, role), &origin, settings, samples)?;
        Ok(Self {
            path: path.to_path_buf(),
            info: TeacherInfo {
                kind: "run".to_owned(),
                objective: Some(run.objective.clone()),
                architecture: Some(run.architecture.clone()),
                seed: Some(run.seed),
                weights_sha256: sha256(&path.join(WEIGHTS))?,
            },
            warnings,
            order: class_order(path, &run.classes, samples.dataset.classes())?,
            run: Some(Box::new(run)),
            foreign: None,
        })
    }

    fn open_script(path: &Path, role: &str, settings: &TrainSettings, samples: &Samples) -> Result<Self, TrainError> {
        let weights_sha256 = sha256(path)?;
        let metadata = match script::extra_file(path, METADATA_FILE)? {
            Some(bytes) => Some(serde_json::from_slice::<ModelMetadata>(&bytes).map_err(|error| {
                TrainError::TeacherShape { path: path.to_path_buf(), reason: format!("its {METADATA_FILE}: {error}") }
            })?),
            None => None,
        };
        let classes = metadata.as_ref().map(|metadata| &metadata.classes).or(settings.teacher_classes.as_ref());
        let classes = classes.ok_or_else(|| TrainError::TeacherUnnamed { path: path.to_path_buf() })?;
        let warnings = match &metadata {
            Some(known) => {
                let origin = Origin { dataset_hash: &known.hashes.dataset, fold: known.fold, seed: known.seed };
                check_origin((path, role), &origin, settings, samples)?
            }
            None => vec![format!(
                "the {role} does not say what it was trained on; it may have seen subjects that are tested here"
            )],
        };
        Ok(Self {
            path: path.to_path_buf(),
            info: TeacherInfo {
                kind: "torchscript".to_owned(),
                objective: metadata.as_ref().map(|known| known.objective.clone()),
                architecture: metadata.as_ref().map(|known| known.architecture.clone()),
                seed: metadata.as_ref().map(|known| known.seed),
                weights_sha256,
            },
            warnings,
            order: class_order(path, classes, samples.dataset.classes())?,
            run: None,
            foreign: metadata.is_none().then(|| settings.teacher_images.clone()),
        })
    }

    /// Loads the network and tries it on one image of the dataset's shape.
    ///
    /// # Errors
    /// [`TrainError`] when the weights cannot be read, or do not fit.
    pub fn load(
        &self,
        shape: (usize, usize, usize),
        device: Device,
        channels_last: bool,
    ) -> Result<Teacher, TrainError> {
        let network = match &self.run {
            Some(run) => Network::Run(Box::new(self.classifier(run, device, channels_last)?)),
            None => Network::Script(script::load(&self.path, device)?, self.foreign.clone().unwrap_or_default()),
        };
        let identity = self.order.iter().enumerate().all(|(index, &position)| index == position);
        let order = if identity { None } else { Some(indices(&self.order, device)?) };
        let teacher = Teacher { network, order };
        let (channels, height, width) = shape;
        let image = [1, size(channels), size(height), size(width)];
        let image = Tensor::f_zeros(image, (Kind::Float, device))?;
        let wrong = |reason| TrainError::TeacherShape { path: self.path.clone(), reason };
        let logits = teacher
            .network
            .logits(&image)
            .map_err(|error| wrong(format!("it cannot take images of {channels} x {height} x {width}: {error}")))?;
        if logits.size() != [1, size(self.order.len())] {
            return Err(wrong(format!("it gives {:?} logits for one image, not {}", logits.size(), self.order.len())));
        }
        Ok(teacher)
    }

    /// The network of a RUN, with its weights.
    ///
    /// # Errors
    /// [`TrainError`] for a TorchScript file, or when the weights cannot be read or do not fit.
    pub fn network(&self, device: Device, channels_last: bool) -> Result<Classifier, TrainError> {
        match &self.run {
            Some(run) => self.classifier(run, device, channels_last),
            None => Err(self.no_last_layer()),
        }
    }

    /// What is said of a network whose last layer cannot be refit.
    pub fn no_last_layer(&self) -> TrainError {
        let reason = "it has no single last layer to refit".to_owned();
        TrainError::TeacherShape { path: self.path.clone(), reason }
    }

    /// Selected epoch, epochs and steps of a RUN.
    pub fn trained(&self) -> (u64, u64, u64) {
        self.run.as_ref().map_or((0, 0, 0), |run| (run.best_epoch, run.epochs, run.steps))
    }

    /// The architecture of a RUN.
    pub fn architecture(&self) -> Option<Architecture> {
        Architecture::from_name(self.info.architecture.as_deref()?)
    }

    /// What a run that learns from this one inherits: that held-out data were used.
    pub fn held_out(&self) -> Option<String> {
        let of_file = self.info.objective.as_deref() == Some("dfr-val");
        let is_held_out = of_file || self.run.as_ref().is_some_and(|run| run.held_out.is_some());
        is_held_out.then(|| HELD_OUT.to_owned())
    }

    fn classifier(&self, run: &RunJson, device: Device, channels_last: bool) -> Result<Classifier, TrainError> {
        let architecture = Architecture::from_name(&run.architecture).ok_or_else(|| TrainError::TeacherShape {
            path: self.path.clone(),
            reason: format!("its architecture `{}` is not known to this version", run.architecture),
        })?;
        let spec = ModelSpec {
            architecture,
            channels: run.image_shape[0],
            classes: run.classes.len(),
            mean: run.mean.clone(),
            std: run.std.clone(),
        };
        let mut classifier = Classifier::new(&spec, 0, device);
        classifier.load(&self.path.join(WEIGHTS))?;
        if channels_last {
            classifier.to_channels_last()?;
        }
        Ok(classifier)
    }
}

/// Where each class of the dataset is in the teacher's logits.
fn class_order(path: &Path, found: &[String], expected: &[String]) -> Result<Vec<usize>, TrainError> {
    let position = |class: &String| found.iter().position(|name| name == class);
    let order: Option<Vec<usize>> = expected.iter().map(position).collect();
    order.filter(|order| order.len() == found.len()).ok_or_else(|| TrainError::TeacherClasses {
        path: path.to_path_buf(),
        found: found.to_vec(),
        expected: expected.to_vec(),
    })
}

/// Refuses a teacher that was trained on this run's test subjects, and says what is not known.
fn check_origin(
    (path, role): (&Path, &str),
    origin: &Origin<'_>,
    settings: &TrainSettings,
    samples: &Samples,
) -> Result<Vec<String>, TrainError> {
    let mut warnings = Vec::new();
    match samples.seen_by(origin.dataset_hash, origin.fold, settings.fold) {
        Seen::Training => {}
        Seen::Unknown => warnings
            .push(format!("the {role} was trained on another dataset; it may have seen subjects that are tested here")),
        Seen::Tested => {
            let (found, expected) = (origin.fold, settings.fold);
            return Err(TrainError::TeacherFold { path: path.to_path_buf(), found, expected });
        }
    }
    // Several teachers differ by their seeds: that is what they are for.
    if origin.seed != settings.seed && role != FURTHER {
        warnings.push(format!("the {role} is of seed {}, this run of seed {}", origin.seed, settings.seed));
    }
    Ok(warnings)
}

/// A loaded teacher.
pub struct Teacher {
    network: Network,
    /// Positions of the dataset's classes in its logits, where they differ.
    order: Option<Tensor>,
}

enum Network {
    Run(Box<Classifier>),
    Script(CModule, TeacherImages),
}

/// Images as a foreign network takes them: resized as by PyTorch's `interpolate(mode="bilinear", antialias=True)`, then normalised.
fn prepared(x: &Tensor, images: &TeacherImages) -> Result<Tensor, tch::TchError> {
    let mut x = x.shallow_clone();
    if let Some([rows, columns]) = images.input {
        let wanted = [i64::from(rows), i64::from(columns)];
        if x.size()[2..] != wanted {
            x = x.f_internal_upsample_bilinear2d_aa(wanted, false, None, None)?;
        }
    }
    let (Some(mean), Some(std)) = (&images.mean, &images.std) else { return Ok(x) };
    let shape = [1, -1, 1, 1];
    let constant =
        |values: &[f64]| Tensor::f_from_slice(values)?.f_to_kind(x.kind())?.f_to_device(x.device())?.f_view(shape);
    x.f_sub(&constant(mean)?)?.f_div(&constant(std)?)
}

impl Network {
    fn logits(&self, x: &Tensor) -> Result<Tensor, tch::TchError> {
        match self {
            Self::Run(classifier) => Ok(tch::no_grad(|| classifier.forward(x, false))),
            Self::Script(module, images) => tch::no_grad(|| module.forward_ts(&[prepared(x, images)?])),
        }
    }
}

impl Teacher {
    /// Logits `[n, K]` in the order of the dataset's classes, without gradient.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn logits(&self, x: &Tensor) -> Result<Tensor, TrainError> {
        let logits = self.network.logits(x)?;
        match &self.order {
            None => Ok(logits),
            Some(order) => Ok(logits.f_index_select(1, order)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    /// torch 2.11: interpolate([[1, 2, 3, 4]] * 4, (2, 2), mode="bilinear", antialias=True) is [[1.7142857, 3.2857143]] * 2.
    #[test]
    fn images_of_a_foreign_teacher_are_resized_as_pytorch_does_then_normalised() {
        let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0]).repeat([4]).view([1, 1, 4, 4]);
        let images = TeacherImages { input: Some([2, 2]), mean: Some(vec![0.5]), std: Some(vec![2.0]) };
        let found = Vec::<f32>::try_from(prepared(&x, &images).unwrap().view([-1])).unwrap();
        for (found, expected) in found.iter().zip([1.714_285_7, 3.285_714_3, 1.714_285_7, 3.285_714_3]) {
            assert!((found - (expected - 0.5) / 2.0).abs() < 1e-5, "{found} {expected}");
        }
        assert_eq!(prepared(&x, &TeacherImages::default()).unwrap(), x);
    }

    #[test]
    fn classes_are_matched_by_name_whatever_their_order() {
        let path = Path::new("t");
        assert_eq!(class_order(path, &names("b c a"), &names("a b c")).unwrap(), [2, 0, 1]);
        let error = class_order(path, &names("a b"), &names("a b c")).unwrap_err().to_string();
        assert!(error.contains("knows the classes `a`, `b`, the dataset has `a`, `b`, `c`"), "{error}");
        assert!(class_order(path, &names("a b c d"), &names("a b c")).is_err());
    }
}
