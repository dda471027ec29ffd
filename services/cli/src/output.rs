//! What is printed, and where: results to standard output, talk to standard error.

pub(crate) mod table;
pub(crate) mod screen;
pub(crate) mod tone;
pub(crate) mod units;
pub(crate) mod names;
pub(crate) mod json;

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::args::{Color, Format};
use crate::failure::Failure;
use crate::output::table::one_line;
use crate::output::tone::{Palette, Tone};

/// Where and how to print.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    stdout: Palette,
    stderr: Palette,
    redraws: bool,
}

impl Output {
    /// Looks at the terminal and at `NO_COLOR` once.
    pub(crate) fn new(format: Format, color: Color) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
        let colours = |is_terminal: bool| match color {
            Color::Auto => !no_color && !is_dumb && is_terminal,
            Color::Always => true,
            Color::Never => false,
        };
        let stdout = Palette::new(colours(io::stdout().is_terminal()));
        Self {
            format,
            stdout: if format == Format::Wide {
                stdout.wide()
            } else {
                stdout
            },
            stderr: Palette::new(colours(io::stderr().is_terminal())),
            redraws: !is_dumb && io::stderr().is_terminal(),
        }
    }

    /// Prints a result that has no name, either as JSON or YAML or as a text for people.
    pub(crate) fn result(
        &self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce(Palette) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.print(&format!("{:#}\n", json())),
            Format::Yaml => self.print(&yaml(&json())?),
            Format::Table | Format::Wide => self.print(&text(self.stdout)),
            Format::Name => Err(Failure::usage(
                "there is nothing here that has a name: use `-o table` or `-o json`",
            )),
        }
    }

    /// Prints a result that has names: those alone, as JSON or as a text for people.
    pub(crate) fn named<N: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = N>,
        json: impl FnOnce() -> Value,
        text: impl FnOnce(Palette) -> String,
    ) -> Result<(), Failure> {
        if self.format != Format::Name {
            return self.result(json, text);
        }
        let lines = names
            .into_iter()
            .map(|name| format!("{}\n", one_line(name.as_ref())));
        self.print(&lines.collect::<String>())
    }

    /// Whether names alone are printed.
    pub(crate) fn is_names(&self) -> bool {
        self.format == Format::Name
    }

    /// Prints one of many results that come one after the other: JSON on one line each, YAML as a document each.
    pub(crate) fn item(
        &self,
        name: &str,
        json: impl FnOnce() -> Value,
        text: impl FnOnce(Palette) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.print(&format!("{}\n", json())),
            Format::Yaml => self.print(&format!("---\n{}", yaml(&json())?)),
            Format::Table | Format::Wide => self.print(&text(self.stdout)),
            Format::Name => self.print(&format!("{}\n", one_line(name))),
        }
    }

    fn print(&self, rendered: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(rendered.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|error| Failure::from_stdout(&error))
    }

    /// Tells the user something that is no result.
    pub(crate) fn note(&self, text: &str) {
        self.talk(&format!("{text}\n"));
    }

    /// Prints a text as it is, whatever the format: a script or a page that has only one.
    pub(crate) fn verbatim(&self, text: &str) -> Result<(), Failure> {
        self.print(text)
    }

    /// Tells what to do next; scripts, which read JSON, have no use for it.
    pub(crate) fn advise(&self, text: &str) {
        if matches!(self.format, Format::Table | Format::Wide) {
            self.note(text);
        }
    }

    /// Tells why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.exit() == crate::failure::Exit::Ok {
            return;
        }
        for line in failure.lines() {
            let line = one_line(&line);
            let painted = match line.strip_prefix("error:") {
                Some(rest) => format!("{}{rest}", self.stderr.paint(Tone::Bad, "error:")),
                None => line,
            };
            self.note(&painted);
        }
    }

    /// Whether a line on standard error can be replaced by a newer one.
    pub(crate) fn redraws(&self) -> bool {
        self.redraws
    }

    /// Replaces the line that was drawn last, in a terminal that [redraws](Self::redraws). Wrapping is off while it
    /// prints, because a wrapped line could not be replaced.
    pub(crate) fn redraw(&self, line: &str) {
        self.talk(&format!("\r\x1b[2K\x1b[?7l{line}\x1b[?7h"));
    }

    /// When nobody can be told, there is nothing left to do about it.
    fn talk(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        let _ = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
    }
}

/// The value as YAML, without the styles that fold long texts over several lines.
fn yaml(value: &Value) -> Result<String, Failure> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let mut text = serde_saphyr::to_string_with_options(value, options)
        .map_err(|error| Failure::new(format!("cannot write the answer as YAML: {error}")))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_is_golden() {
        let value = json!({
            "active": [{ "version": 2, "weight": 0.5 }],
            "converged": true,
            "error": null,
            "model": "movies",
            "pending": [],
        });
        assert_eq!(
            yaml(&value).unwrap(),
            "active:\n- version: 2\n  weight: 0.5\nconverged: true\nerror: null\nmodel: movies\npending: []\n"
        );
    }

    #[test]
    fn texts_that_look_like_something_else_stay_texts() {
        let quoted = yaml(&json!({ "a": "true", "b": "1", "c": "", "d": "null" })).unwrap();
        for line in quoted.lines() {
            let value = line.split_once(": ").unwrap().1;
            assert!(value.starts_with(['"', '\'']), "{quoted}");
        }
    }
}
