//! The objectives against an independent PyTorch float64 reference, through `groupdistil debug objective`.

use crate::support;

#[test]
fn objectives_equal_the_pytorch_reference_over_200_steps() {
    let binary = env!("CARGO_BIN_EXE_groupdistil");
    support::run_python("objectives_equal_the_pytorch_reference", "objective_reference.py", &[binary]);
}

#[test]
fn a_replay_that_cannot_be_says_which_step_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let (given, out) = (folder.path().join("in.json"), folder.path().join("out.json"));
    let run = |text: &str| {
        std::fs::write(&given, text).unwrap();
        let arguments = ["debug", "objective", given.to_str().unwrap(), "--out", out.to_str().unwrap()];
        let output = support::expect_exit(&mut support::groupdistil(&arguments), 1);
        String::from_utf8(output.stderr).unwrap()
    };
    let step = |groups: &str| {
        format!(
            r#"{{"objective": "kd", "train_counts": [3], "steps": [
                {{"logits": [[0, 1]], "teacher_logits": [[0, 1]], "labels": [0], "groups": [0]}},
                {{"logits": [[0, 1]], "teacher_logits": [[0, 1]], "labels": [0], "groups": {groups}}}]}}"#
        )
    };
    let message = run(&step("[1]"));
    assert!(message.contains("step 1") && message.contains("group of sample 0 is 1, expected 0 to 0"), "{message}");
    let message = run(&step("[0, 0]"));
    assert!(message.contains("groups has 2 values, expected 1"), "{message}");
    let message = run(r#"{"objective": "kdd", "train_counts": [3], "steps": []}"#);
    assert!(message.contains("kdd") && message.contains("group-distil"), "{message}");
    let message = run(r#"{"objective": "kd", "temperature": 0, "train_counts": [3], "steps": []}"#);
    assert!(message.contains("temperature is 0, expected a finite number > 0"), "{message}");
    assert!(!out.exists());
}
