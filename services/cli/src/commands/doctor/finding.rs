//! What was found, and how bad it is.

use serde_json::{Value, json};

use crate::output::table::{Cell, Table};
use crate::output::tone::{Palette, Tone};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Ok,
    /// It could not be looked at.
    Skipped,
    /// It works, and may not for long.
    Warn,
    /// It does not work.
    Fail,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Skipped => "skipped",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }

    fn cell(self) -> Cell {
        let tone = match self {
            Level::Ok => Tone::Good,
            Level::Skipped => Tone::Plain,
            Level::Warn => Tone::Busy,
            Level::Fail => Tone::Bad,
        };
        Cell::new(self.name().to_uppercase(), tone)
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What it is about, such as `slot movies/main`.
    pub(super) subject: String,
    /// In words.
    pub(super) what: String,
    /// What to do about it; empty when nothing is to be done, or nobody knows.
    pub(super) remedy: String,
}

impl Finding {
    fn new(level: Level, subject: &str, what: &str, remedy: &str) -> Self {
        Self {
            level,
            subject: subject.to_owned(),
            what: what.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    pub(super) fn ok(subject: &str, what: &str) -> Self {
        Self::new(Level::Ok, subject, what, "")
    }

    pub(super) fn skipped(subject: &str, what: &str) -> Self {
        Self::new(Level::Skipped, subject, what, "")
    }

    pub(super) fn warn(subject: &str, what: &str, remedy: &str) -> Self {
        Self::new(Level::Warn, subject, what, remedy)
    }

    pub(super) fn fail(subject: &str, what: &str, remedy: &str) -> Self {
        Self::new(Level::Fail, subject, what, remedy)
    }
}

/// All that was found.
#[derive(Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// Adds what was found.
    pub(super) fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    /// Whether something does not work.
    pub(super) fn has_failed(&self) -> bool {
        self.count(Level::Fail) > 0
    }

    fn count(&self, level: Level) -> usize {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.level == level).count()
    }

    pub(super) fn to_json(&self) -> Value {
        let finding = |finding: &Finding| {
            json!({
                "level": finding.level.name(),
                "subject": finding.subject,
                "finding": finding.what,
                "remedy": finding.remedy,
            })
        };
        let findings: Value = self.findings.iter().map(finding).collect();
        json!({ "findings": findings, "failed": self.count(Level::Fail), "warned": self.count(Level::Warn) })
    }

    pub(super) fn render(&self, palette: Palette) -> String {
        let mut table = Table::new(["LEVEL", "ABOUT", "FINDING"]);
        for finding in &self.findings {
            table.row([
                finding.level.cell(),
                Cell::from(&finding.subject),
                Cell::from(&finding.what),
            ]);
        }
        let mut text = table.render(palette);
        let bad = self.findings.iter().filter(|one| !one.remedy.is_empty());
        let remedies: Vec<&Finding> = bad.collect();
        if !remedies.is_empty() {
            text.push_str(&format!(
                "\n{}\n",
                palette.paint(Tone::Heading, "WHAT TO DO")
            ));
        }
        for finding in remedies {
            let subject = Cell::from(&finding.subject).render(palette);
            let remedy = Cell::from(&finding.remedy).render(palette);
            text.push_str(&format!("{subject}: {remedy}\n"));
        }
        let (failed, warned) = (self.count(Level::Fail), self.count(Level::Warn));
        text.push_str(&format!("\n{failed} failed, {warned} to look after\n"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_golden() {
        let mut report = Report::default();
        report.add([
            Finding::ok("trainer http://t:1", "serving"),
            Finding::warn("cluster", "no scorer is live", "start one"),
            Finding::skipped("registry http://r:1", "it is older"),
        ]);
        assert!(!report.has_failed());
        report.add([Finding::fail("slot movies/main", "blocked: v2", "look")]);
        assert!(report.has_failed());
        let expected = "\
LEVEL    ABOUT                FINDING
OK       trainer http://t:1   serving
WARN     cluster              no scorer is live
SKIPPED  registry http://r:1  it is older
FAIL     slot movies/main     blocked: v2

WHAT TO DO
cluster: start one
slot movies/main: look

1 failed, 1 to look after
";
        assert_eq!(report.render(Palette::new(false)), expected);
        let json = report.to_json();
        assert_eq!((&json["failed"], &json["warned"]), (&json!(1), &json!(1)));
        assert_eq!(
            json["findings"][1],
            json!({ "level": "warn", "subject": "cluster", "finding": "no scorer is live", "remedy": "start one" })
        );
    }
}
