//! Why a stack gives no sample: the closed list behind `exclusions.parquet`. Messages hold no path and no identity.

/// Why a stack was left out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StackRejected {
    /// Another view than the plan's.
    #[error("the view is `{found}`, the plan uses {}", expected.join(", "))]
    View {
        /// Its view.
        found: String,
        /// The plan's.
        expected: Vec<String>,
    },
    /// Another kind than the plan's.
    #[error("the kind is `{found}`, the plan uses {}", expected.join(", "))]
    Kind {
        /// Its kind.
        found: String,
        /// The plan's.
        expected: Vec<String>,
    },
    /// No label.
    #[error("the stack has no label")]
    NoLabel,
    /// A label that is no class.
    #[error("the label `{found}` is none of the classes")]
    NotAClass {
        /// Its label.
        found: String,
    },
    /// No frame is listed.
    #[error("the cohort lists no frame of the stack")]
    NoFrames,
    /// The frames listed are no complete grid.
    #[error("{found} frames are listed, expected {slices} slices x {phases} phases")]
    Grid {
        /// Frames listed.
        found: usize,
        /// Slices.
        slices: usize,
        /// Phases.
        phases: usize,
    },
    /// A file that cannot be read (any more).
    #[error("the frame of slice {slice}, phase {phase} cannot be read; stderr names the file")]
    Unreadable {
        /// 0-based slice.
        slice: usize,
        /// 0-based phase.
        phase: usize,
    },
    /// A frame of another size.
    #[error("the frame of slice {slice}, phase {phase} is {} x {}, expected {} x {}", found.0, found.1, expected.0, expected.1)]
    FrameSize {
        /// 0-based slice.
        slice: usize,
        /// 0-based phase.
        phase: usize,
        /// Its rows and columns.
        found: (usize, usize),
        /// Rows and columns of the stack.
        expected: (usize, usize),
    },
    /// Values that are no numbers.
    #[error("the frame of slice {slice}, phase {phase} has no finite value")]
    NotFinite {
        /// 0-based slice.
        slice: usize,
        /// 0-based phase.
        phase: usize,
    },
    /// No pixel spacing, and the plan works in millimetres.
    #[error("the source has no usable pixel spacing; set resize = [rows, columns] for images without one")]
    NoSpacing,
    /// Too few phases for the plan's samples.
    #[error("the stack has {found} phases, the plan's samples need {needed}")]
    TooFewPhases {
        /// Phases.
        found: usize,
        /// Phases needed.
        needed: usize,
    },
    /// A phase that is not there.
    #[error("{name} is said to be phase {found}, the stack has {phases} phases")]
    PhaseOutside {
        /// `end-diastole` or `end-systole`.
        name: &'static str,
        /// The phase, 0-based.
        found: i32,
        /// Phases.
        phases: usize,
    },
    /// The crop shows nothing of the image.
    #[error("the crop lies outside the image")]
    EmptyCrop,
    /// All pixels of the crop are equal.
    #[error("all pixels of the crop are equal")]
    Constant,
}

impl StackRejected {
    /// The step: column `stage` of `exclusions.parquet`.
    pub fn stage(&self) -> &'static str {
        match self {
            Self::View { .. } | Self::Kind { .. } | Self::NoLabel | Self::NotAClass { .. } => "selection",
            Self::NoFrames
            | Self::Grid { .. }
            | Self::Unreadable { .. }
            | Self::FrameSize { .. }
            | Self::NotFinite { .. } => "read",
            Self::NoSpacing | Self::EmptyCrop => "geometry",
            Self::TooFewPhases { .. } | Self::PhaseOutside { .. } => "phases",
            Self::Constant => "intensity",
        }
    }

    /// Column `reason` of `exclusions.parquet`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::View { .. } => "view",
            Self::Kind { .. } => "kind",
            Self::NoLabel => "no-label",
            Self::NotAClass { .. } => "not-a-class",
            Self::NoFrames => "no-frames",
            Self::Grid { .. } => "incomplete-grid",
            Self::Unreadable { .. } => "unreadable",
            Self::FrameSize { .. } => "frame-size",
            Self::NotFinite { .. } => "not-finite",
            Self::NoSpacing => "no-spacing",
            Self::TooFewPhases { .. } => "too-few-phases",
            Self::PhaseOutside { .. } => "phase-outside",
            Self::EmptyCrop => "empty-crop",
            Self::Constant => "constant",
        }
    }
}
