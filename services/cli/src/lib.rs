//! The command line of Decant, in the order in which a call goes through it: arguments, the services it talks to, the
//! commands, the rows that a user types, and what is printed. Results go to standard output, talk to standard error.

mod args;
mod arguments;
mod contexts;
mod settings;
mod context;
mod remote;
mod failure;
mod commands;
mod columns;
mod output;
mod partial;
mod complete;
mod trace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use decant_chassis::telemetry::command::Command as Trace;

use crate::args::Cli;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::settings::Settings;

/// Runs the command that the arguments (the program's name first) ask for, and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // A shell that asks what may come next is no call.
    if let Some(exit) = complete::answer(&arguments) {
        return exit.into();
    }
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and the version are "errors" too, which go to standard output and end well. There is nobody left to
            // tell when printing fails.
            let _ = usage.print();
            return if usage.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Ok.into()
            };
        }
    };
    let settings = if cli.command.is_local() {
        Ok(Settings::without_contexts(&cli.global))
    } else {
        Settings::load(&cli.global)
    };
    let format = match &settings {
        Ok(settings) => settings.output.value,
        Err(_) => cli.global.output.unwrap_or_default(),
    };
    let output = Output::new(format, cli.global.color);
    let trace = trace::begin(&cli, &arguments);
    let exit = match settings.and_then(|settings| execute(cli, &settings, output, &trace)) {
        Ok(exit) => exit,
        Err(failure) => {
            output.failure(&failure);
            failure.exit()
        }
    };
    trace.end(exit == Exit::Ok);
    exit.into()
}

fn execute(cli: Cli, settings: &Settings, output: Output, trace: &Trace) -> Result<Exit, Failure> {
    // One connection and little work: a thread pool would only cost start-up time.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    runtime.block_on(trace.follow(async {
        let context = Context::new(cli.global, settings, output)?;
        Box::pin(commands::execute(&context, cli.command)).await
    }))
}
