//! Three samples, two classes, two groups, each number by hand, for the float64 reference and for the tensors.
//!
//! T = 2, and every logit is 0 or 2 ln 3, so all probabilities are fractions: 1 : 9 at temperature 1, and 1 : 3 at T.
//!
//! | sample | label | group | student | softmax(z) | softmax(z/T) | teacher | softmax(t/T) |
//! |---|---|---|---|---|---|---|---|
//! | 0 | 0 | 1 | 0, 0 | 1/2, 1/2 | 1/2, 1/2 | 0, 2 ln 3 | 1/4, 3/4 |
//! | 1 | 1 | 0 | 0, 2 ln 3 | 1/10, 9/10 | 1/4, 3/4 | 0, 0 | 1/2, 1/2 |
//! | 2 | 0 | 1 | 2 ln 3, 0 | 9/10, 1/10 | 3/4, 1/4 | 0, 2 ln 3 | 1/4, 3/4 |
//!
//! Cross-entropy, -ln of the label's probability: ln 2, ln(10/9), ln(10/9). Its slope for the first class's logit, p_0 less 1 if
//! that is the label: -1/2, 1/10, -1/10; for the second class's the opposite.
//!
//! Distillation, 4 sum_k t_k ln(t_k / p_k):
//!   0: 4 (1/4 ln 1/2 + 3/4 ln 3/2) = ln(1/2) + 3 ln(3/2) = ln(27/16)
//!   1: 4 (1/2 ln 2 + 1/2 ln 2/3) = 2 ln(4/3) = ln(16/9)
//!   2: 4 (1/4 ln 1/3 + 3/4 ln 3) = -ln 3 + 3 ln 3 = ln 9
//! Its slope for the first class's logit, T (p_0 - t_0): 2 (1/2 - 1/4) = 1/2, 2 (1/4 - 1/2) = -1/2, 2 (3/4 - 1/4) = 1.
//!
//! Means over the batch: ce ln(2 10/9 10/9) / 3 = ln(200/81) / 3; kd ln(27/16 16/9 9) / 3 = ln(27) / 3 = ln 3.
//! Means of the groups: ce ln(10/9) and ln(2 10/9) / 2 = ln(20/9) / 2;
//! kd ln(16/9) and ln(27/16 9) / 2 = ln(243/16) / 2.

use super::rules::{AbsentRule, Batch, ObjectiveKind, ObjectiveSettings, Reference, Scope};

const SETTINGS: ObjectiveSettings = ObjectiveSettings {
    objective: ObjectiveKind::Erm,
    scope: Scope::Distillation,
    absent: AbsentRule::Keep,
    temperature: 2.0,
    alpha: 0.75,
    eta: 2.0,
    adjustment: 0.0,
    floor: 0.0,
};
const TRAIN_COUNTS: [u64; 2] = [1, 2];
const LABELS: [usize; 3] = [0, 1, 0];
const GROUPS: [usize; 3] = [1, 0, 1];

fn student_logits() -> [f64; 6] {
    let far = 2.0 * 3.0_f64.ln();
    [0.0, 0.0, 0.0, far, far, 0.0]
}

fn teacher_logits() -> [f64; 6] {
    let far = 2.0 * 3.0_f64.ln();
    [0.0, far, 0.0, 0.0, 0.0, far]
}

/// Loss, gradient, q after the step and q after another one like it.
fn of_reference(settings: ObjectiveSettings) -> Vec<f64> {
    let (student, teacher) = (student_logits(), teacher_logits());
    let teachers = [teacher.as_slice()];
    let batch = Batch { logits: &student, teachers: &teachers, biased: None, labels: &LABELS, groups: &GROUPS };
    let mut objective = Reference::new(settings, 2, &TRAIN_COUNTS).unwrap();
    let first = objective.step(&batch).unwrap();
    let q = objective.weights().q();
    objective.step(&batch).unwrap();
    [vec![first.loss], first.gradient, q, objective.weights().q()].concat()
}

/// The same of the tensors that training uses, on logits in float64.
#[cfg(feature = "torch")]
fn of_tensors(settings: ObjectiveSettings) -> Vec<f64> {
    use super::tensor::{TensorBatch, TensorObjective};
    use tch::{Device, Tensor};

    let matrix = |values: [f64; 6]| Tensor::from_slice(&values).reshape([3, 2]);
    let indices = |values: [usize; 3]| Tensor::from_slice(&values.map(|value| value as i64));
    let (student, teacher) = (matrix(student_logits()).set_requires_grad(true), matrix(teacher_logits()));
    let (labels, groups) = (indices(LABELS), indices(GROUPS));
    let batch = TensorBatch { logits: &student, teacher: Some(&teacher), labels: &labels, groups: &groups };
    let mut objective = TensorObjective::new(settings, &TRAIN_COUNTS, Device::Cpu).unwrap();
    let first = objective.step(&batch).unwrap();
    first.loss.backward();
    let gradient = Vec::<f64>::try_from(student.grad().reshape([-1])).unwrap();
    let q = objective.q().unwrap();
    objective.step(&batch).unwrap();
    [vec![first.loss.double_value(&[])], gradient, q, objective.q().unwrap()].concat()
}

/// `slopes`: of the loss for each sample's first logit. `parts`: how q is divided after one step; a step like it multiplies by
/// the same factors once more, so after two it is the parts' squares.
#[track_caller]
fn check(settings: ObjectiveSettings, loss: f64, slopes: [f64; 3], parts: [f64; 2]) {
    let gradient: Vec<f64> = slopes.iter().flat_map(|slope| [*slope, -*slope]).collect();
    let expected = [vec![loss], gradient, share(parts), share(parts.map(|part| part * part))].concat();
    close("reference", &of_reference(settings), &expected);
    #[cfg(feature = "torch")]
    close("tensors", &of_tensors(settings), &expected);
}

fn share([one, other]: [f64; 2]) -> Vec<f64> {
    vec![one / (one + other), other / (one + other)]
}

#[track_caller]
fn close(name: &str, found: &[f64], expected: &[f64]) {
    let agrees = |(found, expected): (&f64, &f64)| (found - expected).abs() < 1e-12;
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(agrees),
        "loss, six slopes, q, q again; of the {name}:\n{found:?}\nby hand:\n{expected:?}"
    );
}

#[test]
fn erm_of_three_samples_by_hand() {
    // A third of each slope: -1/2 / 3, 1/10 / 3, -1/10 / 3. No group weights, so q stays as it was.
    let slopes = [-1.0 / 6.0, 1.0 / 30.0, -1.0 / 30.0];
    check(SETTINGS, (200.0_f64 / 81.0).ln() / 3.0, slopes, [1.0, 1.0]);
}

#[test]
fn kd_of_three_samples_by_hand() {
    // 1/4 mean(ce) + 3/4 mean(kd) = ln(200/81) / 12 + 3/4 ln 3.
    let loss = (200.0_f64 / 81.0).ln() / 12.0 + 0.75 * 3.0_f64.ln();
    // (ce's slope + 3 kd's slope) / 12: (-1/2 + 3/2) / 12, (1/10 - 3/2) / 12 = -14/120, (-1/10 + 3) / 12 = 29/120.
    let slopes = [1.0 / 12.0, -7.0 / 60.0, 29.0 / 120.0];
    check(ObjectiveSettings { objective: ObjectiveKind::Kd, ..SETTINGS }, loss, slopes, [1.0, 1.0]);
}

#[test]
fn group_dro_of_three_samples_by_hand() {
    // q_g ~ exp(2 L_g): (10/9)^2 = 100/81 and 20/9 = 180/81, so 5 : 9 and q = 5/14, 9/14.
    // 5/14 ln(10/9) + 9/14 ln(20/9) / 2 = (10 ln(10/9) + 9 ln(20/9)) / 28.
    let loss = (10.0 * (10.0_f64 / 9.0).ln() + 9.0 * (20.0_f64 / 9.0).ln()) / 28.0;
    // Sample 1 has q_0 for itself, samples 0 and 2 half of q_1, 9/28: 9/28 (-1/2), 5/14 (1/10), 9/28 (-1/10).
    let slopes = [-9.0 / 56.0, 1.0 / 28.0, -9.0 / 280.0];
    check(ObjectiveSettings { objective: ObjectiveKind::GroupDro, ..SETTINGS }, loss, slopes, [5.0, 9.0]);
}

#[test]
fn group_distil_with_scope_distillation_of_three_samples_by_hand() {
    // Driven by kd alone. q_g ~ exp(2 L_g): (16/9)^2 = 2^8 / 3^4 and 243/16 = 3^5 / 2^4, so 2^12 : 3^9 = 4096 : 19683.
    let (q_0, q_1) = (4096.0 / 23779.0, 19683.0 / 23779.0);
    // 1/4 mean(ce) + 3/4 (q_0 ln(16/9) + q_1 ln(243/16) / 2).
    let weighted = q_0 * (16.0_f64 / 9.0).ln() + q_1 * (243.0_f64 / 16.0).ln() / 2.0;
    let loss = (200.0_f64 / 81.0).ln() / 12.0 + 0.75 * weighted;
    // ce's slope / 12 + 3/4 of kd's times q_0 or q_1 / 2:
    // -1/24 + 3/4 q_1/2 1/2, 1/120 + 3/4 q_0 (-1/2), -1/120 + 3/4 q_1/2.
    let slopes = [-1.0 / 24.0 + 3.0 * q_1 / 16.0, 1.0 / 120.0 - 3.0 * q_0 / 8.0, -1.0 / 120.0 + 3.0 * q_1 / 8.0];
    check(ObjectiveSettings { objective: ObjectiveKind::GroupDistil, ..SETTINGS }, loss, slopes, [4096.0, 19683.0]);
}

#[test]
fn group_distil_with_scope_total_of_three_samples_by_hand() {
    let settings =
        ObjectiveSettings { objective: ObjectiveKind::GroupDistil, scope: Scope::Total, eta: 8.0, ..SETTINGS };
    // Group means of 1/4 ce + 3/4 kd, times 8:
    // 2 ln(10/9) + 6 ln(16/9) = ln(2^2 5^2 / 3^4) + ln(2^24 / 3^12) = ln(2^26 5^2 / 3^16);
    // ln(20/9) + 3 ln(243/16) = ln(2^2 5 / 3^2) + ln(3^15 / 2^12) = ln(5 3^13 / 2^10).
    let (two, three) = (2.0_f64, 3.0_f64);
    let eightfold = [(two.powi(26) * 25.0 / three.powi(16)).ln(), (5.0 * three.powi(13) / two.powi(10)).ln()];
    // eta is 8, so q_g ~ 2^26 5^2 / 3^16 and 5 3^13 / 2^10; times 2^10 3^16 / 5: 2^36 5 : 3^29, about 1 : 200.
    let parts = [two.powi(36) * 5.0, three.powi(29)];
    let (q_0, q_1) = (parts[0] / (parts[0] + parts[1]), parts[1] / (parts[0] + parts[1]));
    let loss = (q_0 * eightfold[0] + q_1 * eightfold[1]) / 8.0;
    // Slopes of 1/4 ce + 3/4 kd: -1/8 + 3/8 = 1/4, 1/40 - 3/8 = -7/20, -1/40 + 3/4 = 29/40.
    // Times q_1 / 2, q_0 and q_1 / 2.
    check(settings, loss, [q_1 / 8.0, -7.0 * q_0 / 20.0, 29.0 * q_1 / 80.0], parts);
}
