//! What a recipe's values must be.

use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use super::{DistillSpec, Recipe, StudentSpec, TeacherKind, TeacherSpec};
use crate::distill::Loss;
use crate::network::FitOptions;
use crate::spec::Violation;

/// Names of the rows that every job's table of quality has.
const RESERVED: [&str; 2] = ["lr", "ensemble"];

const WIDTHS: RangeInclusive<usize> = 1..=4096;
const EPOCHS: RangeInclusive<usize> = 1..=10_000;
const MOST_LAYERS: usize = 16;
const MOST_FOLDS: usize = 50;
const MOST_UNLABELLED: f32 = 20.0;

pub(super) fn check(recipe: &Recipe, violations: &mut Vec<Violation>) {
    let mut names = HashSet::new();
    for (position, teacher) in recipe.teachers.iter().enumerate() {
        let mut at = At {
            path: format!("teachers[{position}]"),
            violations,
        };
        at.name(&teacher.name, &mut names);
        at.teacher(teacher);
    }
    if recipe.students.is_empty() {
        violations.push(Violation::of_key(
            "students",
            "is required: a job makes at least one student",
        ));
    }
    for (position, student) in recipe.students.iter().enumerate() {
        let mut at = At {
            path: format!("students[{position}]"),
            violations,
        };
        at.name(&student.name, &mut names);
        at.student(student);
    }
    if let Some(distill) = &recipe.distill {
        let mut at = At {
            path: "distill".to_owned(),
            violations,
        };
        at.distill(distill);
        if recipe.teachers.is_empty() {
            let needs =
                "a loss against teachers needs at least one of [[teachers]], but none is given";
            let loss = match distill.loss {
                Loss::CrossEntropy => "cross_entropy",
                Loss::Kl => "kl",
                Loss::Mse => "mse",
            };
            at.refuse("loss", loss, needs);
        }
    }
    if recipe.publish.teacher && recipe.teachers.is_empty() {
        violations.push(Violation::new(
            "publish.teacher",
            true,
            "needs at least one of [[teachers]], but none is given",
        ));
    }
}

/// A place in the job file.
struct At<'v> {
    path: String,
    violations: &'v mut Vec<Violation>,
}

impl At<'_> {
    fn refuse(&mut self, key: &str, value: impl Display, reason: impl Display) {
        self.violations.push(Violation::new(
            format!("{}.{key}", self.path),
            value,
            reason,
        ));
    }

    fn within<T: PartialOrd + Display>(&mut self, key: &str, value: T, range: &RangeInclusive<T>) {
        // NaN is in no range.
        if !range.contains(&value) {
            let reason = format!("must be in {}..={}", range.start(), range.end());
            self.refuse(key, value, reason);
        }
    }

    fn positive(&mut self, key: &str, value: f32) {
        if !(value.is_finite() && value > 0.0) {
            self.refuse(key, value, "must be finite and above 0");
        }
    }

    fn name(&mut self, name: &str, seen: &mut HashSet<String>) {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
        };
        if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
            self.refuse(
                "name",
                name,
                "must be 1 to 64 of a-z, 0-9, `-`, `_` and `.`",
            );
        } else if RESERVED.contains(&name) {
            self.refuse("name", name, "is the name of a row that every job has");
        } else if !seen.insert(name.to_owned()) {
            self.refuse(
                "name",
                name,
                "is given to another teacher or student already",
            );
        }
    }

    fn teacher(&mut self, teacher: &TeacherSpec) {
        self.network(teacher.embedding, &teacher.hidden);
        self.positive("weight", teacher.weight);
        self.fit(&teacher.fit_options());
        match teacher.cross {
            Some(cross) if teacher.kind != TeacherKind::Dcn => {
                self.refuse(
                    "cross",
                    cross,
                    "only a teacher of kind `dcn` has cross layers",
                );
            }
            Some(cross) => self.within("cross", cross, &(1..=MOST_LAYERS)),
            None => {}
        }
    }

    fn student(&mut self, student: &StudentSpec) {
        self.network(student.embedding, &student.hidden);
        if student.l2.is_empty() {
            self.refuse("l2", "[]", "needs at least one weight decay to try");
        }
        for options in student.fit_options() {
            let before = self.violations.len();
            self.fit(&options);
            if self.violations.len() > before {
                break;
            }
        }
    }

    fn network(&mut self, embedding: usize, hidden: &[usize]) {
        self.within("embedding", embedding, &WIDTHS);
        if hidden.is_empty() || hidden.len() > MOST_LAYERS {
            self.refuse(
                "hidden",
                format!("{hidden:?}"),
                format!("must name the widths of 1 to {MOST_LAYERS} layers"),
            );
        }
        if let Some(width) = hidden.iter().find(|width| !WIDTHS.contains(width)) {
            let reason = format!(
                "width {width} is not in {}..={}",
                WIDTHS.start(),
                WIDTHS.end()
            );
            self.refuse("hidden", format!("{hidden:?}"), reason);
        }
    }

    fn fit(&mut self, options: &FitOptions) {
        self.within("epochs", options.epochs, &EPOCHS);
        self.within("patience", options.patience, &EPOCHS);
        self.within("batch_size", options.batch_size, &(1..=1 << 20));
        self.positive("learning_rate", options.learning_rate);
        self.within("l2", options.l2, &(0.0..=1.0));
        self.within("embedding_l2", options.embedding_l2, &(0.0..=1.0));
        for (key, share) in [
            ("dropout", options.dropout),
            ("averaging", options.averaging),
        ] {
            if !(0.0..1.0).contains(&share) {
                self.refuse(key, share, "must be at least 0 and below 1");
            }
        }
    }

    fn distill(&mut self, distill: &DistillSpec) {
        self.within("alpha", distill.alpha, &(0.0..=1.0));
        self.positive("temperature", distill.temperature);
        if distill.loss != Loss::Kl && distill.temperature != 1.0 {
            self.refuse(
                "temperature",
                distill.temperature,
                "only the loss `kl` has a temperature",
            );
        }
        self.within("folds", distill.folds, &(0..=MOST_FOLDS));
        self.within("unlabelled", distill.unlabelled, &(0.0..=MOST_UNLABELLED));
    }
}
