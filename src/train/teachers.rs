//! All whom a run listens to: one teacher or several, and the biased network of `agre-kd`.

use std::path::PathBuf;

use tch::{Device, Tensor};

use super::TrainError;
use super::data::Samples;
use super::teacher::{FURTHER, Teacher, TeacherFile};
use crate::formats::run::{HELD_OUT, TeacherInfo};
use crate::settings::train::TrainSettings;

/// Teachers that fit the dataset, not yet loaded.
#[derive(Debug)]
pub struct TeacherFiles {
    /// At least one.
    teachers: Vec<TeacherFile>,
    biased: Option<TeacherFile>,
}

impl TeacherFiles {
    /// Looks at the teachers of the settings; `None` for objectives without one.
    ///
    /// # Errors
    /// [`TrainError`] when one is missing, when nobody listens to one, or when one does not fit the dataset.
    pub fn open(settings: &TrainSettings, samples: &Samples) -> Result<Option<Self>, TrainError> {
        let objective = settings.objective.objective;
        let name = objective.as_str();
        let paths: Vec<_> = settings.teacher.iter().chain(&settings.more_teachers).collect();
        match (objective.needs_teacher(), objective.needs_biased(), &settings.biased) {
            (false, ..) if !paths.is_empty() => return Err(TrainError::UnwantedTeacher { objective: name }),
            (_, false, Some(_)) => return Err(TrainError::UnwantedBiased { objective: name }),
            (false, ..) => return Ok(None),
            (true, ..) if paths.is_empty() => return Err(TrainError::NoTeacher { objective: name }),
            (true, true, None) => return Err(TrainError::NoBiased { objective: name }),
            (true, ..) => {}
        }
        let open = |path: &PathBuf, role| TeacherFile::open(path, role, settings, samples);
        let role = |number| if number == 0 { "teacher" } else { FURTHER };
        let teachers = paths.iter().enumerate().map(|(number, path)| open(path, role(number)));
        let teachers = teachers.collect::<Result<Vec<_>, _>>()?;
        let biased = settings.biased.as_ref().map(|path| open(path, "biased network")).transpose()?;
        Ok(Some(Self { teachers, biased }))
    }

    /// Loads the networks and tries each on one image of the dataset's shape.
    ///
    /// # Errors
    /// [`TrainError`] when weights cannot be read, or do not fit.
    pub fn load(
        &self,
        shape: (usize, usize, usize),
        device: Device,
        channels_last: bool,
    ) -> Result<Teachers, TrainError> {
        let all = self.teachers.iter().chain(&self.biased);
        Ok(Teachers { all: all.map(|file| file.load(shape, device, channels_last)).collect::<Result<_, _>>()? })
    }

    /// The first, as `run.json` names it.
    pub fn first(&self) -> Option<TeacherInfo> {
        self.teachers.first().map(|teacher| teacher.info.clone())
    }

    /// All of them where there are several, else nothing.
    pub fn several(&self) -> Vec<TeacherInfo> {
        let all = self.teachers.iter().map(|teacher| teacher.info.clone());
        if self.teachers.len() > 1 { all.collect() } else { Vec::new() }
    }

    /// The biased network.
    pub fn biased(&self) -> Option<TeacherInfo> {
        self.biased.as_ref().map(|biased| biased.info.clone())
    }

    /// What a reader of the run should know, each once.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = Vec::new();
        for warning in self.teachers.iter().chain(&self.biased).flat_map(|file| &file.warnings) {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        warnings
    }

    /// Whether one of the teachers was fitted to held-out data, as a run that learns from it says as well.
    pub fn held_out(&self) -> Option<String> {
        self.teachers.iter().find_map(TeacherFile::held_out).map(|_| format!("its teacher {HELD_OUT}"))
    }

    /// What stands for them in a run's fingerprint.
    pub fn fingerprint(&self) -> String {
        let hashes: Vec<&str> = self.teachers.iter().map(|teacher| teacher.info.weights_sha256.as_str()).collect();
        let biased = self.biased.as_ref().map(|biased| format!(" biased {}", biased.info.weights_sha256));
        hashes.join(" ") + &biased.unwrap_or_default()
    }
}

/// Loaded networks: the teachers, and the biased one as the last.
pub struct Teachers {
    all: Vec<Teacher>,
}

impl Teachers {
    /// Logits in the order of the dataset's classes, without gradient: `[n, K]` of one, `[n, M, K]` of several networks.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn logits(&self, x: &Tensor) -> Result<Tensor, TrainError> {
        let logits = self.all.iter().map(|teacher| teacher.logits(x)).collect::<Result<Vec<_>, _>>()?;
        match logits.as_slice() {
            [one] => Ok(one.shallow_clone()),
            several => Ok(Tensor::f_stack(several, 1)?),
        }
    }
}
