//! One subject's examination on disk, in the way of its site.

use std::path::{Path, PathBuf};

use super::cohort::Subject;
use super::dicom::{Instance, StudyHeader, classic};
use super::enhanced::enhanced;
use super::nifti;
use super::person::Person;
use super::random::Stream;
use super::render::{Cine, Image, Plane, Session, render};
use super::scanner::{Site, Style};
use super::study::{Acquisition, Extras, Position, Role, acquisitions};
use super::truth::{FileTruth, SubjectTruth};
use super::{PhantomError, SCANS};
use crate::fsx;

/// Where and from what to write.
pub struct Job<'a> {
    /// The phantom's folder.
    pub root: &'a Path,
    /// The cohort's seed.
    pub seed: u64,
    /// Who.
    pub subject: &'a Subject,
    /// Where.
    pub site: &'a Site,
    /// Which oddities.
    pub extras: Extras,
}

/// What was written of a subject.
pub struct Written {
    /// Its truth.
    pub truth: SubjectTruth,
    /// Its files.
    pub files: Vec<FileTruth>,
    /// Their bytes.
    pub bytes: u64,
}

/// Renders and writes one subject.
pub fn write_subject(job: &Job<'_>) -> Result<Written, PhantomError> {
    let (seed, id) = (job.seed, job.subject.id.as_str());
    let person = Person::draw(&job.subject.phenotype, seed, id);
    let acquisitions = acquisitions(&person, job.site, job.extras, &mut Stream::new(seed, id, "protocol"));
    let session = Session::draw(&job.site.look, &mut Stream::new(seed, id, "session"));
    let day = Stream::new(seed, id, "date").index(28) + 1;
    let month = Stream::new(seed, id, "month").index(12) + 1;
    let study = StudyHeader { seed, subject: job.subject, site: job.site, date: format!("2021{month:02}{day:02}") };
    let mut folder = Folder::new(job)?;
    for acquisition in &acquisitions {
        let images = expose(job, &person, &session, acquisition);
        match job.site.style {
            Style::SeriesPerSlice | Style::OneSeries => folder.write_classic(&study, acquisition, &images)?,
            Style::Enhanced => folder.write_enhanced(&study, acquisition, &images)?,
            Style::Nifti => folder.write_nifti(acquisition, &images)?,
        }
    }
    folder.write_oddities()?;
    let truth = SubjectTruth::new(job.subject, job.site, &person, &acquisitions);
    Ok(Written { truth, files: folder.files, bytes: folder.bytes })
}

/// `[position][phase]` images of an acquisition.
fn expose(job: &Job<'_>, person: &Person, session: &Session, acquisition: &Acquisition) -> Vec<Cine> {
    let images = acquisition.positions.iter().enumerate().map(|(slice, position)| {
        let purpose = format!("noise {} {slice}", acquisition.series_number);
        let mut rng = Stream::new(job.seed, &job.subject.id, &purpose);
        render(person, session, &position.plane, &acquisition.fractions(position), &mut rng)
    });
    images.collect()
}

/// The subject's folder and what is in it.
struct Folder<'a> {
    job: &'a Job<'a>,
    /// Relative to the phantom's folder.
    relative: PathBuf,
    files: Vec<FileTruth>,
    bytes: u64,
    /// The first image file of the short-axis stack, for the duplicate.
    first: Option<(PathBuf, Vec<u8>)>,
}

impl<'a> Folder<'a> {
    fn new(job: &'a Job<'a>) -> Result<Self, PhantomError> {
        let relative = Path::new(SCANS).join(job.site.name).join(&job.subject.id);
        fsx::create_folder(&job.root.join(&relative))?;
        Ok(Self { job, relative, files: Vec::new(), bytes: 0, first: None })
    }

    fn put(
        &mut self,
        name: &Path,
        bytes: Vec<u8>,
        known: (&'static str, &'static str, Option<&'static str>),
    ) -> Result<(), PhantomError> {
        let relative = self.relative.join(name);
        fsx::write_bulk(&self.job.root.join(&relative), &bytes)?;
        let (role, outcome, reason) = known;
        let path = relative.to_string_lossy().into_owned();
        self.files.push(FileTruth { path, role, outcome, reason });
        self.bytes += bytes.len() as u64;
        if self.first.is_none() {
            self.first = Some((name.to_path_buf(), bytes));
        }
        Ok(())
    }

    fn write_classic(
        &mut self,
        study: &StudyHeader<'_>,
        acquisition: &Acquisition,
        images: &[Cine],
    ) -> Result<(), PhantomError> {
        let per_slice = self.job.site.style == Style::SeriesPerSlice && acquisition.is_cine();
        for (slice, (position, phases)) in acquisition.positions.iter().zip(images).enumerate() {
            let series_number = acquisition.series_number + if per_slice { slice as u32 } else { 0 };
            let series = PathBuf::from(match self.job.site.style {
                Style::SeriesPerSlice => format!("SERIES{series_number:04}"),
                _ => format!("s{series_number}"),
            });
            fsx::create_folder(&self.job.root.join(&self.relative).join(&series))?;
            for (phase, pixels) in phases.iter().enumerate() {
                let number = if per_slice { phase } else { slice * acquisition.phases_expected + phase } + 1;
                let instance = Instance { acquisition, position, slice, phase, number, series_number };
                let name = match self.job.site.style {
                    Style::SeriesPerSlice => format!("IM{number:04}.dcm"),
                    _ => format!("i{number:06}.MRDC.{number}"),
                };
                let bytes = classic(study, &instance, pixels)?;
                // The later acquisition of a position stands; of a multi-frame file the other positions are still used.
                let replaced = acquisition.role == Role::ShortAxis && self.job.extras.reacquired && slice == 1;
                let superseded = ("short-axis", "skipped", Some("superseded-position"));
                let known = if replaced { superseded } else { expected(acquisition.role) };
                self.put(&series.join(name), bytes, known)?;
            }
        }
        Ok(())
    }

    fn write_enhanced(
        &mut self,
        study: &StudyHeader<'_>,
        acquisition: &Acquisition,
        images: &[Cine],
    ) -> Result<(), PhantomError> {
        let frames: Vec<Image> = images.iter().flatten().cloned().collect();
        let bytes = enhanced(study, acquisition, &frames)?;
        self.put(Path::new(&format!("IM_{:04}", acquisition.series_number)), bytes, expected(acquisition.role))
    }

    fn write_nifti(&mut self, acquisition: &Acquisition, images: &[Cine]) -> Result<(), PhantomError> {
        let suffix = match acquisition.role {
            Role::ShortAxis => "sa",
            Role::ReacquiredPosition => "sa_repeat",
            Role::InterruptedCine => "sa_stopped",
            Role::TwoChamber => "2ch",
            Role::FourChamber => "4ch",
            Role::Scout => "scout",
        };
        if acquisition.role != Role::Scout {
            return self.put_array(suffix, acquisition, &acquisition.positions, images);
        }
        // The planes of a scout are not parallel: a file each.
        for at in 0..images.len() {
            let suffix = format!("{suffix}_{}", at + 1);
            self.put_array(&suffix, acquisition, &acquisition.positions[at..=at], &images[at..=at])?;
        }
        Ok(())
    }

    fn put_array(
        &mut self,
        suffix: &str,
        acquisition: &Acquisition,
        positions: &[Position],
        images: &[Cine],
    ) -> Result<(), PhantomError> {
        let planes: Vec<&Plane> = positions.iter().map(|position| &position.plane).collect();
        let phase_interval_s = positions[0].rr_ms / acquisition.phases_expected as f64 / 1000.0;
        let name = PathBuf::from(format!("{}_{suffix}.nii.gz", self.job.subject.id));
        let path = self.job.root.join(&self.relative).join(&name);
        let bytes = nifti::compressed(&nifti::Array { planes: &planes, images, phase_interval_s })
            .map_err(fsx::io_error(&path, "compress"))?;
        self.put(&name, bytes, expected(acquisition.role))
    }

    /// The duplicate and the file that is no image.
    fn write_oddities(&mut self) -> Result<(), PhantomError> {
        if self.job.extras.duplicate
            && let Some((name, bytes)) = self.first.take()
        {
            let copy = format!("copy of {}", name.file_name().unwrap_or_default().to_string_lossy());
            self.put(&name.with_file_name(copy), bytes, ("duplicate", "skipped", Some("duplicate")))?;
        }
        if self.job.extras.not_an_image {
            let text = b"Exported for the synthetic phantom. No patient was scanned.\n".to_vec();
            self.put(Path::new("export-notes.txt"), text, ("not-an-image", "skipped", Some("not-an-image")))?;
        }
        Ok(())
    }
}

/// Name of a role in `files`, and what the ledger should say of its files.
fn expected(role: Role) -> (&'static str, &'static str, Option<&'static str>) {
    match role {
        Role::ShortAxis => ("short-axis", "used", None),
        Role::TwoChamber => ("two-chamber", "used", None),
        Role::FourChamber => ("four-chamber", "used", None),
        Role::Scout => ("scout", "used", None),
        Role::ReacquiredPosition => ("reacquired-position", "used", None),
        Role::InterruptedCine => ("interrupted-cine", "skipped", Some("incomplete-position")),
    }
}
