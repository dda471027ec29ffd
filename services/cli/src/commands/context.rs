//! `decant context`: clusters by name, and the one to talk to.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::contexts::{self, Contexts, KEYS, Stored};
use crate::failure::{Exit, Failure};
use crate::output::table::{Cell, Table};
use crate::output::tone::{Palette, Tone};
use crate::settings::{Setting, Settings};

/// The subcommands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List all contexts.
    List,
    /// Talk to this cluster from now on, unless another is named.
    Use {
        /// Its name.
        #[arg(value_parser = contexts::check_name)]
        name: String,
    },
    /// Show what holds for a call, and who said so; or what a context sets.
    Show {
        /// Its name; all that holds now unless given.
        #[arg(value_parser = contexts::check_name)]
        name: Option<String>,
    },
    /// Make a context, or change one; what is not named stays. The file is written anew: comments in it are lost.
    Set {
        /// Its name.
        #[arg(value_parser = contexts::check_name)]
        name: String,
        /// registry=URL[,URL...], trainer=URL, scorer=URL, ca=FILE, certificate=FILE, key=FILE, token_file=FILE, allow_plaintext=true, output=FORMAT or
        /// timeout=DURATION; nothing after the = takes the key away.
        #[arg(value_name = "KEY=VALUE", required = true, value_parser = change)]
        changes: Vec<(String, String)>,
    },
    /// Forget a context.
    Remove {
        /// Its name.
        #[arg(value_parser = contexts::check_name)]
        name: String,
    },
}

/// Reads a change; unknown keys are refused.
fn change(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("KEY=VALUE is expected, such as registry=http://10.0.0.1:7420")?;
    if !KEYS.contains(&key) {
        return Err(format!("`{key}` is none of {}", KEYS.join(", ")));
    }
    Ok((key.to_owned(), value.trim().to_owned()))
}

/// Carries out `decant context`.
pub(crate) fn execute(context: &Context, command: Command) -> Result<Exit, Failure> {
    let mut contexts = Contexts::load()?;
    match command {
        Command::List => list(context, &contexts)?,
        Command::Show { name: None } => {
            show_settings(context, &Settings::resolve(&context.global, &contexts)?)?;
        }
        Command::Show { name: Some(name) } => show(context, &name, contexts.get(&name)?)?,
        Command::Use { name } => {
            contexts.get(&name)?;
            contexts.current = Some(name.clone());
            save(
                context,
                &contexts,
                &name,
                &format!("{name} is used from now on"),
            )?;
        }
        Command::Set { name, changes } => set(context, contexts, &name, changes)?,
        Command::Remove { name } => {
            if contexts.contexts.remove(&name).is_none() {
                return Err(contexts::unknown(&name));
            }
            let was_used = contexts.current.take_if(|used| *used == name).is_some();
            save(context, &contexts, &name, &format!("{name} is removed"))?;
            if was_used {
                context
                    .output
                    .note("no context is used now: what is built in holds");
            }
        }
    }
    Ok(Exit::Ok)
}

fn set(
    context: &Context,
    mut contexts: Contexts,
    name: &str,
    changes: Vec<(String, String)>,
) -> Result<(), Failure> {
    let stored = contexts.contexts.entry(name.to_owned()).or_default();
    for (key, value) in changes {
        if let Some(place) = stored.value(&key) {
            *place = Some(value).filter(|value| !value.is_empty());
        }
    }
    stored.check().map_err(Failure::usage)?;
    save(context, &contexts, name, &format!("{name} is set"))?;
    if contexts.current.is_none() {
        context.output.advise(&format!(
            "`decant context use {name}` makes it the one to talk to; `--context {name}` names it for one call"
        ));
    }
    Ok(())
}

fn save(context: &Context, contexts: &Contexts, name: &str, done: &str) -> Result<(), Failure> {
    let file = contexts.save()?.display().to_string();
    context.output.named(
        [name],
        || json!({ "context": name, "current": contexts.current, "file": file }),
        |_| format!("{done}\n"),
    )
}

fn list(context: &Context, contexts: &Contexts) -> Result<(), Failure> {
    let is_current = |name: &String| contexts.current.as_ref() == Some(name);
    context.output.named(
        contexts.contexts.keys(),
        || {
            let one = |(name, stored): (&String, &Stored)| {
                json!({ "name": name, "current": is_current(name), "settings": settings(stored) })
            };
            contexts.contexts.iter().map(one).collect()
        },
        |palette| {
            let mut table = Table::new([
                "CURRENT",
                "NAME",
                "REGISTRY",
                "+TRAINER",
                "+SCORER",
                "+CA",
                "+CERTIFICATE",
                "+KEY",
                "+TOKEN FILE",
                "+ALLOW PLAINTEXT",
                "+OUTPUT",
                "+TIMEOUT",
            ]);
            for (name, stored) in &contexts.contexts {
                let cell = |value: &Option<String>| Cell::from(value.as_deref().unwrap_or(""));
                table.row([
                    Cell::new(if is_current(name) { "*" } else { "" }, Tone::Good),
                    Cell::from(name),
                    cell(&stored.registry),
                    cell(&stored.trainer),
                    cell(&stored.scorer),
                    cell(&stored.ca),
                    cell(&stored.certificate),
                    cell(&stored.key),
                    cell(&stored.token_file),
                    cell(&stored.allow_plaintext),
                    cell(&stored.output),
                    cell(&stored.timeout),
                ]);
            }
            table.render(palette)
        },
    )?;
    if contexts.contexts.is_empty() {
        context
            .output
            .advise("there is no context yet; `decant context set NAME registry=URL` makes one");
    }
    Ok(())
}

fn settings(stored: &Stored) -> Value {
    let values = stored.set().into_iter();
    let values: Map<String, Value> = values
        .map(|(key, value)| (key.to_owned(), Value::from(value)))
        .collect();
    Value::Object(values)
}

fn show(context: &Context, name: &str, stored: &Stored) -> Result<(), Failure> {
    context.output.named(
        [name],
        || json!({ "name": name, "settings": settings(stored) }),
        |palette| {
            let mut table = Table::new(["KEY", "VALUE"]);
            for (key, value) in stored.set() {
                table.row([key, value].map(Cell::from));
            }
            table.render(palette)
        },
    )
}

/// What holds, and who said it.
fn show_settings(context: &Context, settings: &Settings) -> Result<(), Failure> {
    let rows = rows(settings);
    let name = settings.context.as_deref();
    context.output.named(
        name,
        || {
            let one = |(key, value, source): &(&str, String, &str)| {
                (key.to_string(), json!({ "value": value, "source": source }))
            };
            let values: Map<String, Value> = rows.iter().map(one).collect();
            json!({ "context": name, "settings": values })
        },
        |palette| render(name, &rows, palette),
    )
}

fn render(name: Option<&str>, rows: &[(&str, String, &str)], palette: Palette) -> String {
    let mut table = Table::new(["KEY", "VALUE", "FROM"]);
    table.row([
        Cell::from("context"),
        Cell::from(name.unwrap_or("")),
        Cell::from(""),
    ]);
    for (key, value, source) in rows {
        table.row([Cell::from(*key), Cell::from(value), Cell::from(*source)]);
    }
    table.render(palette)
}

fn rows(settings: &Settings) -> Vec<(&'static str, String, &'static str)> {
    let text = |setting: &Setting<String>| (setting.value.clone(), setting.source.name());
    let output = clap::ValueEnum::to_possible_value(&settings.output.value);
    let output = output.map_or_else(String::new, |value| value.get_name().to_owned());
    let timeout = settings.timeout.value;
    let timeout = timeout.map_or_else(
        || "each command's".to_owned(),
        |timeout| format!("{} s", timeout.as_secs_f64()),
    );
    let values = [
        text(&settings.registry),
        text(&settings.trainer),
        text(&settings.scorer),
        text(&settings.ca),
        text(&settings.certificate),
        text(&settings.key),
        text(&settings.token_file),
        (
            settings.allow_plaintext.value.to_string(),
            settings.allow_plaintext.source.name(),
        ),
        (output, settings.output.source.name()),
        (timeout, settings.timeout.source.name()),
    ];
    KEYS.into_iter()
        .zip(values)
        .map(|(key, (value, source))| (key, value, source))
        .collect()
}
