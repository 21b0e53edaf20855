//! The hash of the tensor that the golden stack becomes by the defaults: training data and `predict` both go through
//! [`super::prepare_stack`], so a changed hash means that models in use would see other images, and that `predict` refuses them. Change
//! it only with a reason, and say so in the commit.

use super::{decide, golden};
use crate::formats::plan::{CardiacPhases, PhaseChoice, SampleKind};
use crate::settings::preprocess::PreprocessSettings;

/// As this program made it on x86-64. There is no independent source for it: the steps are tested one by one, this holds them together.
const GOLDEN_SHA256: &str = "c2ec1e1091eb5f32e5c03d54fe0c788c7c04a9ed0b21cb8dad3cbabaadbe4275";

#[test]
fn a_golden_stack_becomes_the_same_tensor_as_ever() {
    let plan = decide::decide(&PreprocessSettings::default(), &[&golden::stack()], 1);
    let prepared = golden::prepare(&plan).unwrap();
    assert_eq!((prepared.samples.len(), prepared.findings.phases), (3, (0, 4)));
    assert_eq!(golden::tensor_sha256(&plan).as_deref(), Some(GOLDEN_SHA256));
}

#[test]
fn threads_do_not_show_and_another_plan_does() {
    let plan = decide::decide(&PreprocessSettings::default(), &[&golden::stack()], 1);
    let hash = |plan: &_, threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| golden::tensor_sha256(plan))
    };
    assert_eq!(hash(&plan, 1), hash(&plan, 4));
    let mut all = plan.clone();
    all.sample = SampleKind::Single { phase: PhaseChoice::All };
    assert_ne!(hash(&all, 1), hash(&plan, 1));
    assert_eq!(hash(&all, 1), hash(&all, 3));
    all.sample = SampleKind::Pair;
    all.cardiac_phases = CardiacPhases::Fixed { end_diastole: 0, end_systole: 30 };
    assert_eq!(hash(&all, 1), None, "a plan that cannot be used on the golden stack");
}
