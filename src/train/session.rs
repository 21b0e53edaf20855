//! A run in progress: epochs of steps, an evaluation after each, the best epoch kept, everything checkpointed.

use std::collections::BTreeMap;
use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::areas::Areas;
use super::arithmetic::Arithmetic;
use super::augment::Augmenter;
use super::average::Average;
use super::checkpoint::{self, BestRecord, Position, Record};
use super::clock::{Clock, Part};
use super::data::Samples;
use super::evaluate::{LineParts, Pass, Scores};
use super::events::{EVENTS_FILE, Events};
use super::images::Images;
use super::optimiser::{Optimiser, Rate};
use super::selection::Standing;
use super::start::Start;
use super::streams::{batches, epoch_order};
use super::teachers::{TeacherFiles, Teachers};
use super::{TrainError, epoch_table, step};
use crate::context::Context;
use crate::formats::dataset::Split;
use crate::formats::run::{InitInfo, METRICS_JSONL, MetricsLine};
use crate::fsx;
use crate::model::{Classifier, ModelSpec};
use crate::objective::tensor::TensorObjective;
use crate::outdir::append_line;
use crate::settings::train::TrainSettings;

/// What a session works with.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// The settings.
    pub settings: &'a TrainSettings,
    /// Samples, classes, groups.
    pub samples: &'a Samples,
    /// Their images.
    pub images: &'a Images<'a>,
    /// The teachers' files, for objectives with one.
    pub teacher: Option<&'a TeacherFiles>,
    /// The weights to start from, if not random ones.
    pub start: Option<&'a Start>,
    /// Rows of an epoch: the training samples, some of them more than once in `jtt`.
    pub rows: &'a [usize],
    /// The RUN.
    pub root: &'a Path,
    /// Progress, interrupt, threads.
    pub context: Context<'a>,
}

/// The best epoch so far, with its weights on the CPU.
pub struct Best {
    /// Its numbers.
    pub record: BestRecord,
    /// Parameters and buffers.
    pub tensors: Vec<(String, Tensor)>,
}

/// A run in progress.
pub struct Session<'a> {
    pub(super) work: Work<'a>,
    pub(super) arithmetic: Arithmetic,
    pub(super) classifier: Classifier,
    /// The average of its weights, where that is what is evaluated and kept.
    pub(super) average: Option<Average>,
    /// What it started from.
    pub(super) init: Option<InitInfo>,
    pub(super) objective: TensorObjective,
    pub(super) optimiser: Optimiser,
    pub(super) augmenter: Option<Augmenter>,
    pub(super) rate: Rate,
    pub(super) teacher: Option<Teachers>,
    /// Teacher logits `[N, K]`, or `[N, M, K]` of several, of the images as they are, on the CPU.
    pub(super) teacher_logits: Option<Tensor>,
    /// The same on the device, where training sees the images as they are.
    pub(super) cached: Option<Tensor>,
    pub(super) position: Position,
    /// Losses and hits of the current epoch's steps, on the device.
    pub(super) losses: Vec<Tensor>,
    pub(super) correct: Vec<Tensor>,
    /// Steps whose losses have not been looked at.
    pub(super) unchecked: Vec<step::Unchecked>,
    /// Batches of the current epoch that held each group.
    pub(super) present: Vec<u64>,
    present_sums: Vec<f64>,
    pub(super) clock: Clock,
    /// Whether the head of the table of epochs has been said.
    table_begun: bool,
    best: Option<Best>,
    events: Events,
}

/// Copies of all parameters and buffers on the CPU.
fn snapshot(classifier: &Classifier) -> Result<Vec<(String, Tensor)>, TrainError> {
    let copy = |tensor: &Tensor| tensor.f_detach_copy()?.f_to_device(Device::Cpu)?.f_contiguous();
    classifier.state().into_iter().map(|(name, tensor, _)| Ok((name.to_owned(), copy(tensor)?))).collect()
}

/// The tensors under a prefix, without it.
fn under(tensors: &BTreeMap<String, Tensor>, prefix: &str) -> BTreeMap<String, Tensor> {
    let strip =
        |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.shallow_clone()));
    tensors.iter().filter_map(strip).collect()
}

impl<'a> Session<'a> {
    /// A run at its start, or where its checkpoint left it.
    ///
    /// # Errors
    /// [`TrainError`]; a checkpoint that cannot be used is warned of and discarded.
    pub fn open(work: Work<'a>, spec: &ModelSpec) -> Result<Self, TrainError> {
        let loaded = checkpoint::load(work.root).and_then(|found| {
            let (metrics, events) =
                found.as_ref().map_or((0, 0), |(record, _)| (record.metrics_bytes, record.events_bytes));
            for (file, bytes) in [(METRICS_JSONL, metrics), (EVENTS_FILE, events)] {
                if bytes > 0 || work.root.join(file).is_file() {
                    checkpoint::cut_back(&work.root.join(file), bytes)?;
                }
            }
            Ok(found)
        });
        let restored = loaded.and_then(|found| match found {
            Some((record, tensors)) => Self::restored(work, spec, &record, &tensors).map(Some),
            None => Ok(None),
        });
        match restored {
            Ok(Some(session)) => return Ok(session),
            Ok(None) => {}
            Err(error @ TrainError::Checkpoint { .. }) => {
                tracing::warn!("{error}; the run starts anew");
                checkpoint::discard(work.root, &[METRICS_JSONL, EVENTS_FILE])?;
            }
            Err(error) => return Err(error),
        }
        let arithmetic = Arithmetic::choose(work.settings, work.images.device());
        Self::at_start(work, spec, arithmetic)
    }

    fn at_start(work: Work<'a>, spec: &ModelSpec, arithmetic: Arithmetic) -> Result<Self, TrainError> {
        let Work { settings, samples, images, .. } = work;
        let device = images.device();
        let mut classifier = Classifier::new(spec, settings.seed, device);
        let init = work.start.map(|start| classifier.start_from(&start.weights)).transpose()?;
        if arithmetic.channels_last {
            classifier.to_channels_last()?;
        }
        let average = settings.ema_decay.map(|decay| Average::new(&classifier, decay, arithmetic.channels_last));
        let counts = samples.objective_counts(settings);
        let groups = samples.train_counts.len();
        let shape = samples.dataset.image_shape();
        let load = |files: &TeacherFiles| files.load(shape, device, arithmetic.channels_last);
        Ok(Self {
            arithmetic,
            optimiser: Optimiser::new(settings, &classifier, arithmetic.channels_last)?,
            objective: TensorObjective::new(settings.objective, &counts, device)?,
            augmenter: settings.augment.map(|ranges| Augmenter::new(ranges, settings.seed, &images.std)),
            rate: Rate::new(settings, steps_per_epoch(work)),
            teacher: work.teacher.map(load).transpose()?,
            average: average.transpose()?,
            init,
            classifier,
            teacher_logits: None,
            cached: None,
            position: Position::default(),
            losses: Vec::new(),
            correct: Vec::new(),
            unchecked: Vec::new(),
            present: vec![0; groups],
            present_sums: vec![0.0; groups],
            clock: Clock::new(),
            table_begun: false,
            best: None,
            events: Events::open(work.root)?,
            work,
        })
    }

    fn restored(
        work: Work<'a>,
        spec: &ModelSpec,
        record: &Record,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<Self, TrainError> {
        let arithmetic = Arithmetic { bfloat16: record.bfloat16, channels_last: record.channels_last };
        let mut session = Self::at_start(work, spec, arithmetic)?;
        let wrong = |reason: String| TrainError::Checkpoint { path: work.root.join("checkpoint"), reason };
        let model = under(tensors, "model.");
        session.classifier.load_tensors(model, work.root).map_err(|error| wrong(error.to_string()))?;
        if let Some(average) = &mut session.average {
            let averaged = under(tensors, "average.");
            average.classifier_mut().load_tensors(averaged, work.root).map_err(|error| wrong(error.to_string()))?;
        }
        let optimiser = under(tensors, "optimiser.");
        session.optimiser.restore(&session.classifier, &optimiser, record.position.steps).map_err(wrong)?;
        session.objective.set_log_q(&record.log_q).map_err(|error| wrong(error.to_string()))?;
        let groups = session.present.len();
        if record.present.len() != groups || record.present_sums.len() != groups {
            return Err(wrong(format!("it has {} groups, expected {groups}", record.present.len())));
        }
        session.present.clone_from(&record.present);
        session.present_sums.clone_from(&record.present_sums);
        session.position = record.position;
        if record.position.steps_in_epoch > 0 {
            let part = |name: &str| {
                let tensor = tensors.get(name).ok_or_else(|| wrong(format!("no `{name}`")))?;
                Ok::<_, TrainError>(vec![tensor.f_to_device(work.images.device())?])
            };
            session.losses = part("epoch.losses")?;
            session.correct = part("epoch.correct")?;
        }
        if let Some(best) = &record.best {
            let same = best.epoch == record.position.epochs && record.position.steps_in_epoch == 0;
            let judged = if session.average.is_some() { "average." } else { "model." };
            let found = under(tensors, if same { judged } else { "best." });
            if found.len() != session.classifier.state().len() {
                return Err(wrong("the best epoch's weights are not whole".to_owned()));
            }
            session.best = Some(Best { record: best.clone(), tensors: found.into_iter().collect() });
        }
        Ok(session)
    }

    /// What is evaluated and kept: the network, or the average of its weights.
    fn judged(&self) -> &Classifier {
        self.average.as_ref().map_or(&self.classifier, Average::classifier)
    }

    /// The best epoch so far.
    pub fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    /// How far the run is.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Mean over the finished epochs of the share of batches that held each group of the dataset.
    pub fn present_fractions(&self) -> Vec<f64> {
        let epochs = self.position.epochs.max(1) as f64;
        self.present_sums.iter().map(|sum| sum / epochs).collect()
    }

    /// q of the groups with training samples, for objectives with weights.
    fn q(&self) -> Result<Option<Vec<f64>>, TrainError> {
        let has_weights = self.work.settings.objective.objective.has_weights();
        Ok(if has_weights { Some(self.objective.q()?) } else { None })
    }

    /// A pass in eval mode over the run's images.
    pub fn pass(&self) -> Pass<'a> {
        let Work { images, samples, context, .. } = self.work;
        let classes = samples.dataset.classes().len();
        Pass { images, classes, channels_last: self.arithmetic.channels_last, context }
    }

    /// Scores of samples from their logits `[n, K]` on the CPU.
    ///
    /// # Errors
    /// [`TrainError::NotFiniteEvaluation`].
    pub fn scores(&self, rows: &[usize], logits: &Tensor, epoch: u64) -> Result<Scores, TrainError> {
        let finite = Vec::<bool>::try_from(&logits.f_isfinite()?.f_all_dim(1, false)?)?;
        if let Some(bad) = finite.iter().position(|finite| !finite) {
            let sample = self.work.samples.sample(rows[bad]);
            let (sample_id, group) = (sample.sample_id.clone(), sample.group.clone());
            return Err(TrainError::NotFiniteEvaluation { epoch, sample_id, group });
        }
        let labels: Vec<i64> = rows.iter().map(|&row| self.work.samples.labels[row] as i64).collect();
        let labels = Tensor::f_from_slice(&labels)?;
        let teacher = match &self.teacher_logits {
            Some(all) => Some(all.f_index_select(0, &super::data::indices(rows, Device::Cpu)?)?),
            None => None,
        };
        Scores::of(&self.work.settings.objective, logits, &labels, teacher.as_ref())
    }

    /// Trains to the last epoch, or until no epoch gets better any more.
    ///
    /// # Errors
    /// [`TrainError::Interrupted`] with everything kept; [`TrainError::NotFinite`].
    pub fn train(&mut self) -> Result<(), TrainError> {
        let Work { settings, context, .. } = self.work;
        if !self.ask_teacher()? {
            return Err(self.interrupted());
        }
        let per_epoch = steps_per_epoch(self.work);
        let step = format!("train {}, seed {}", settings.objective.objective.as_str(), settings.seed);
        context.observer.begin(&step, Some(u64::from(settings.epochs) * per_epoch));
        context.observer.advance(self.position.steps);
        while !self.is_done() {
            if !self.epoch()? {
                self.save()?;
                return Err(self.interrupted());
            }
        }
        context.observer.end();
        Ok(())
    }

    /// What an interrupted run says.
    pub fn interrupted(&self) -> TrainError {
        let Position { epochs, steps, .. } = self.position;
        if steps == 0 {
            return TrainError::InterruptedEarly;
        }
        let epoch = (epochs + 1).min(u64::from(self.work.settings.epochs));
        TrainError::Interrupted { path: self.work.root.to_path_buf(), epoch, step: steps }
    }

    fn is_done(&self) -> bool {
        let Work { settings, .. } = self.work;
        let epochs = self.position.epochs;
        let stopped = match (settings.early_stop_epochs, &self.best) {
            (Some(patience), Some(best)) => epochs.saturating_sub(best.record.epoch) >= u64::from(patience),
            _ => false,
        };
        epochs >= u64::from(settings.epochs) || (stopped && self.position.steps_in_epoch == 0)
    }

    /// The teacher's logits of all samples as they are; false when interrupted.
    fn ask_teacher(&mut self) -> Result<bool, TrainError> {
        let Some(teacher) = &self.teacher else { return Ok(true) };
        self.work.context.observer.begin("ask the teacher", None);
        let rows: Vec<usize> = (0..self.work.samples.splits.len()).collect();
        let Some(logits) = self.pass().logits(&rows, |x| teacher.logits(x))? else { return Ok(false) };
        if self.augmenter.is_none() {
            self.cached = Some(logits.f_to_device(self.work.images.device())?);
        }
        self.teacher_logits = Some(logits);
        self.work.context.observer.end();
        Ok(true)
    }

    /// One epoch, or the rest of it, with its evaluation; false when interrupted.
    fn epoch(&mut self) -> Result<bool, TrainError> {
        let Work { settings, samples, rows, context, .. } = self.work;
        self.clock.begin_epoch();
        let groups: Vec<usize> = rows.iter().map(|&row| samples.groups[row]).collect();
        let order = epoch_order(settings.sampler, rows, &groups, settings.seed, self.position.epochs);
        let batches = batches(&order, settings.batch_size as usize);
        let done = usize::try_from(self.position.steps_in_epoch).unwrap_or(usize::MAX);
        for batch in batches.iter().skip(done) {
            if context.interrupt.is_set() {
                self.check_losses()?;
                return Ok(false);
            }
            self.step(batch)?;
            context.observer.advance(1);
        }
        self.check_losses()?;
        self.clock.lap(Part::Step);
        let epoch = self.position.epochs + 1;
        let validated = samples.rows(Split::Val);
        let Some(logits) = self.pass().logits(&validated, |x| Ok(self.judged().forward(x, false)))? else {
            return Ok(false);
        };
        let val = self.scores(&validated, &logits, epoch)?;
        let train = Scores::from_tensors(&Tensor::f_cat(&self.losses, 0)?, &Tensor::f_cat(&self.correct, 0)?)?;
        let q = self.q()?;
        let count = batches.len() as f64;
        let present: Vec<f64> = self.present.iter().map(|&held| held as f64 / count).collect();
        let areas = Areas::of(samples, &validated, &logits)?;
        let parts = |split, rows, scores, present, areas| LineParts {
            split,
            epoch,
            step: self.position.steps,
            rows,
            scores,
            q: q.as_deref(),
            present,
            areas,
        };
        let train = parts(Split::Train, &order, &train, Some(&present), Areas::default()).line(samples);
        let val = parts(Split::Val, &validated, &val, None, areas).line(samples);
        self.clock.lap(Part::Evaluation);
        let remark = self.finish_epoch(&train, &val, q, &present)?;
        self.clock.lap(Part::Keeping);
        self.clock.end_epoch();
        tracing::info!("{remark}");
        context.observer.remark(&remark);
        if std::mem::replace(&mut self.table_begun, true) {
            context.observer.line(&epoch_table::row(&train, &val));
        } else {
            context.observer.line(&format!("{}\n{}", epoch_table::head(&val), epoch_table::row(&train, &val)));
        }
        Ok(true)
    }

    /// Keeps what an epoch gave, and says it in a line.
    fn finish_epoch(
        &mut self,
        train: &MetricsLine,
        val: &MetricsLine,
        q: Option<Vec<f64>>,
        present: &[f64],
    ) -> Result<String, TrainError> {
        let Work { settings, root, .. } = self.work;
        for line in [train, val] {
            let json = serde_json::to_string(line).expect("names and finite numbers are JSON");
            append_line(&root.join(METRICS_JSONL), &json)?;
            self.events.scalars(line.step, &scalars(line))?;
        }
        let rate = self.rate.at(self.position.steps.saturating_sub(1));
        self.events.scalars(train.step, &[("learning_rate".to_owned(), rate)])?;
        self.present_sums.iter_mut().zip(present).for_each(|(sum, share)| *sum += share);
        self.position = Position { epochs: train.epoch, steps_in_epoch: 0, steps: self.position.steps };
        self.losses.clear();
        self.correct.clear();
        self.present.fill(0);
        let standing = Standing::of(settings.selection, val);
        if self.best.as_ref().is_none_or(|best| standing.beats(&best.record.standing)) {
            let record = BestRecord { epoch: val.epoch, step: val.step, standing, q };
            self.best = Some(Best { record, tensors: snapshot(self.judged())? });
        }
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
        let remark = format!(
            "epoch {}/{} loss {} val {} worst {} {}",
            val.epoch,
            settings.epochs,
            number(train.loss),
            number(val.accuracy),
            number(val.worst_group_accuracy),
            val.worst_group.as_deref().unwrap_or_default()
        );
        self.save()?;
        Ok(remark)
    }

    /// Writes the checkpoint.
    fn save(&self) -> Result<(), TrainError> {
        let root = self.work.root;
        let Arithmetic { bfloat16, channels_last } = self.arithmetic;
        let mut record = Record::new(bfloat16, channels_last);
        record.position = self.position;
        record.log_q = self.objective.log_q()?;
        record.present.clone_from(&self.present);
        record.present_sums.clone_from(&self.present_sums);
        record.best = self.best.as_ref().map(|best| best.record.clone());
        let metrics = root.join(METRICS_JSONL);
        record.metrics_bytes = if metrics.is_file() { fsx::size_bytes(&metrics)? } else { 0 };
        record.events_bytes = self.events.size_bytes()?;
        let mut tensors = Vec::new();
        let mut add = |prefix: &str, name: &str, tensor: &Tensor| -> Result<(), TrainError> {
            let tensor = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
            tensors.push((format!("{prefix}{name}"), tensor));
            Ok(())
        };
        for (name, tensor, _) in self.classifier.state() {
            add("model.", name, tensor)?;
        }
        for (name, tensor, _) in self.average.iter().flat_map(|average| average.classifier().state()) {
            add("average.", name, tensor)?;
        }
        for (name, tensor) in self.optimiser.state(&self.classifier) {
            add("optimiser.", &name, tensor)?;
        }
        if self.position.steps_in_epoch > 0 {
            add("epoch.", "losses", &Tensor::f_cat(&self.losses, 0)?)?;
            add("epoch.", "correct", &Tensor::f_cat(&self.correct, 0)?.f_to_kind(Kind::Bool)?)?;
        }
        if let Some(best) = &self.best {
            let same = best.record.epoch == self.position.epochs && self.position.steps_in_epoch == 0;
            for (name, tensor) in best.tensors.iter().filter(|_| !same) {
                add("best.", name, tensor)?;
            }
        }
        checkpoint::save(root, &record, &tensors)
    }
}

/// Steps of every epoch.
pub fn steps_per_epoch(work: Work<'_>) -> u64 {
    batches(work.rows, work.settings.batch_size as usize).len() as u64
}

/// A metrics line as TensorBoard's scalars.
fn scalars(line: &MetricsLine) -> Vec<(String, f64)> {
    let split = line.split.as_str();
    let mut scalars = Vec::new();
    let mut add = |tag: String, value: Option<f64>| scalars.extend(value.map(|value| (tag, value)));
    add(format!("loss/{split}"), line.loss);
    add(format!("accuracy/{split}"), line.accuracy);
    add(format!("mean_group_accuracy/{split}"), line.mean_group_accuracy);
    add(format!("worst_group_accuracy/{split}"), line.worst_group_accuracy);
    add(format!("auroc/{split}"), line.auroc);
    add(format!("worst_group_auroc/{split}"), line.worst_group_auroc);
    for (name, group) in &line.groups {
        add(format!("group_accuracy_{split}/{name}"), group.accuracy);
        if line.split == Split::Train {
            add(format!("q/{name}"), group.weight);
        }
    }
    scalars
}
