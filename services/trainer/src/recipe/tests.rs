use super::*;

const RECIPE: &str = r#"
[[teachers]]
name = "deep"
kind = "deepfm"
embedding = 16
hidden = [64, 32]
learning_rate = 0.001
dropout = 0.3

[[teachers]]
name = "crossed"
kind = "dcn"
cross = 3

[[students]]
name = "d8"
embedding = 8
l2 = [0.0, 0.0001]

[distill]
loss = "kl"
temperature = 2.0
alpha = 0.7
"#;

fn parse(text: &str) -> Result<Recipe, SpecError> {
    Recipe::parse(text.parse().unwrap())
}

fn refused(from: &str, to: &str) -> String {
    assert!(RECIPE.contains(from), "{from}");
    parse(&RECIPE.replace(from, to)).unwrap_err().to_string()
}

#[test]
fn a_whole_recipe() {
    let recipe = parse(RECIPE).unwrap();
    let [deep, crossed] = &recipe.teachers[..] else {
        panic!("{recipe:?}")
    };
    assert_eq!(deep.architecture(), Architecture::deepfm(16, &[64, 32]));
    assert_eq!(
        crossed.architecture(),
        Architecture::dcn(16, 3, &[256, 128])
    );
    assert_eq!(
        recipe.students[0].architecture(),
        Architecture::mlp(8, &[32, 16])
    );
    assert_eq!(
        recipe.students[0]
            .fit_options()
            .iter()
            .map(|options| options.l2)
            .collect::<Vec<_>>(),
        [0.0, 0.0001]
    );
    let expected = DistillSpec {
        loss: Loss::Kl,
        temperature: 2.0,
        alpha: 0.7,
        ..DistillSpec::default()
    };
    assert_eq!(recipe.distill, Some(expected));
}

#[test]
fn without_teachers_students_learn_from_labels() {
    let recipe = parse("[[students]]\nname = \"d8\"").unwrap();
    assert_eq!((recipe.teachers.len(), recipe.distill), (0, None));
    let recipe =
        parse("[[teachers]]\nname = \"a\"\nkind = \"mlp\"\n[[students]]\nname = \"d8\"").unwrap();
    assert_eq!(recipe.distill, Some(DistillSpec::default()));
}

#[test]
fn a_teacher_is_published_on_request_only() {
    assert!(!parse(RECIPE).unwrap().publish.teacher);
    let publishing = format!("{RECIPE}\n[publish]\nteacher = true");
    assert!(parse(&publishing).unwrap().publish.teacher);
    for (publish, message) in [
        (
            "[publish]\nteacher = \"deep\"",
            "publish.teacher = \"deep\": invalid type",
        ),
        (
            "[publish]\nteachers = true",
            "publish.teachers: unknown key",
        ),
        (
            "[[publish]]\nteacher = true",
            "must be a table: write [publish]",
        ),
    ] {
        let error = parse(&format!("{RECIPE}\n{publish}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{publish}: {error}");
    }
    let alone = "[[students]]\nname = \"d8\"\n[publish]\nteacher = true";
    assert_eq!(
        parse(alone).unwrap_err().to_string(),
        "publish.teacher = true: needs at least one of [[teachers]], but none is given"
    );
}

#[test]
fn what_is_wrong_is_named_by_key_value_and_reason() {
    for (from, to, message) in [
        (
            "alpha = 0.7",
            "alpha = 1.5",
            "distill.alpha = 1.5: must be in 0..=1",
        ),
        (
            "alpha = 0.7",
            "alpha = nan",
            "distill.alpha = NaN: must be in 0..=1",
        ),
        ("alpha = 0.7", "alfa = 0.7", "distill.alfa: unknown key"),
        (
            "loss = \"kl\"",
            "loss = \"mse\"",
            "distill.temperature = 2: only the loss `kl` has a temperature",
        ),
        (
            "loss = \"kl\"",
            "loss = \"hinge\"",
            "distill.loss = \"hinge\"",
        ),
        (
            "temperature = 2.0",
            "temperature = 0.0",
            "distill.temperature = 0: must be finite and above 0",
        ),
        (
            "alpha = 0.7",
            "folds = 1000",
            "distill.folds = 1000: must be in 0..=50",
        ),
        (
            "kind = \"dcn\"",
            "kind = \"mlp\"",
            "teachers[1].cross = 3: only a teacher of kind `dcn` has cross layers",
        ),
        ("kind = \"dcn\"", "", "teachers[1].kind: is required"),
        (
            "name = \"crossed\"",
            "name = \"deep\"",
            "teachers[1].name = deep: is given to another",
        ),
        (
            "name = \"d8\"",
            "name = \"deep\"",
            "students[0].name = deep: is given to another",
        ),
        (
            "name = \"d8\"",
            "name = \"ensemble\"",
            "students[0].name = ensemble: is the name of a row",
        ),
        (
            "name = \"d8\"",
            "name = \"../d8\"",
            "students[0].name = ../d8: must be 1 to 64",
        ),
        (
            "[64, 32]",
            "[64, 0]",
            "teachers[0].hidden = [64, 0]: width 0 is not in 1..=4096",
        ),
        (
            "[64, 32]",
            "[]",
            "teachers[0].hidden = []: must name the widths",
        ),
        (
            "embedding = 8",
            "embedding = 0",
            "students[0].embedding = 0: must be in 1..=4096",
        ),
        (
            "embedding = 8",
            "embedding = -1",
            "students[0].embedding = -1",
        ),
        (
            "dropout = 0.3",
            "dropout = 1.0",
            "teachers[0].dropout = 1: must be at least 0 and below 1",
        ),
        (
            "learning_rate = 0.001",
            "learning_rate = 0.0",
            "teachers[0].learning_rate = 0: must be finite and above 0",
        ),
        (
            "l2 = [0.0, 0.0001]",
            "l2 = []",
            "students[0].l2 = []: needs at least one",
        ),
        (
            "l2 = [0.0, 0.0001]",
            "l2 = [-1.0]",
            "students[0].l2 = -1: must be in 0..=1",
        ),
    ] {
        let error = refused(from, to);
        assert!(error.contains(message), "{to}: {error}");
    }
}

#[test]
fn a_loss_needs_a_teacher_and_a_job_a_student() {
    let alone = "[[students]]\nname = \"d8\"\n[distill]\nloss = \"mse\"";
    let error = parse(alone).unwrap_err().to_string();
    assert_eq!(
        error,
        "distill.loss = mse: a loss against teachers needs at least one of [[teachers]], but none is given"
    );
    assert_eq!(
        parse("").unwrap_err().to_string(),
        "students: is required: a job makes at least one student"
    );
    let error = parse("students = 3").unwrap_err().to_string();
    assert!(
        error.contains("students = 3: must be a list of tables"),
        "{error}"
    );
}
