//! Starts fake services and runs the command against them.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use decant_chassis::server::Routes;
use decant_chassis::server::{self, Serving};
use decant_chassis::tasks::{Failures, Tasks};
use decant_chassis::telemetry::Telemetry;
use decant_proto::access::v1::access_service_server::AccessServiceServer;
use decant_proto::admin::v1::admin_service_server::AdminServiceServer;
use decant_proto::registry::v1::registry_service_server::RegistryServiceServer;
use decant_proto::rollout::v1::rollout_service_server::RolloutServiceServer;
use decant_proto::scorer::v1::scorer_service_server::ScorerServiceServer;
use decant_proto::trainer::v1::trainer_service_server::TrainerServiceServer;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::fakes::Fake;

/// All services at one address, until this is dropped with its runtime.
pub(crate) struct Server {
    pub(crate) fake: Arc<Fake>,
    address: SocketAddr,
    _tasks: (Tasks, Failures),
}

/// What a run of the command left.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Server {
    pub(crate) async fn start(fake: Fake) -> Self {
        let fake = Arc::new(fake);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_health, with_health) = server::common(&Telemetry::none()).unwrap();
        let routes = Routes::new(TrainerServiceServer::from_arc(Arc::clone(&fake)))
            .add_service(RegistryServiceServer::from_arc(Arc::clone(&fake)))
            .add_service(AccessServiceServer::from_arc(Arc::clone(&fake)))
            .add_service(AdminServiceServer::from_arc(Arc::clone(&fake)))
            .add_service(RolloutServiceServer::from_arc(Arc::clone(&fake)))
            .add_service(ScorerServiceServer::from_arc(Arc::clone(&fake)));
        let (tasks, failures) = Tasks::new();
        tasks.spawn(
            "fake services",
            server::serve(
                listener,
                with_health(routes),
                Serving::default(),
                tasks.stop_token(),
            ),
        );
        Self {
            fake,
            address,
            _tasks: (tasks, failures),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The command with its services here, and an environment that does not depend on who runs the tests.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = decant(arguments);
        for variable in ["DECANT_TRAINER", "DECANT_REGISTRY", "DECANT_SCORER"] {
            command.env(variable, self.url());
        }
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments)).await
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) async fn table(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stdout
    }

    /// Runs a command that must succeed, and returns what it printed as JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["-o", "json"]].concat();
        serde_json::from_str(&self.table(&arguments).await).unwrap()
    }
}

/// The command without services.
pub(crate) fn decant(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_decant"));
    command
        .args(arguments)
        .env_clear()
        .env("USER", "ada")
        .stdin(Stdio::null());
    command
}

pub(crate) async fn run(mut command: Command) -> Ran {
    let output: Output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command until it has said something on standard error, and interrupts it.
pub(crate) async fn interrupt_after(command: Command, words: &str) -> Ran {
    interrupt(command, words.to_owned(), |child| {
        Box::new(child.stderr.take().unwrap())
    })
    .await
}

/// The same for standard output.
pub(crate) async fn interrupt_after_stdout(command: Command, words: &str) -> Ran {
    interrupt(command, words.to_owned(), |child| {
        Box::new(child.stdout.take().unwrap())
    })
    .await
}

async fn interrupt(
    mut command: Command,
    words: String,
    take: impl FnOnce(&mut Child) -> Box<dyn Read + Send> + Send + 'static,
) -> Ran {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut watched = BufReader::new(take(&mut child));
        let mut said = String::new();
        // A command that ends without the words ends this as well, and fails the test by its exit code.
        while !said.contains(&words) && watched.read_line(&mut said).unwrap() > 0 {}
        let id = child.id().to_string();
        let killed = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(killed.success());
        watched.read_to_string(&mut said).unwrap();
        let is_stdout = child.stdout.is_none();
        let rest = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = if is_stdout {
            (said, text(rest.stderr))
        } else {
            (text(rest.stdout), said)
        };
        Ran {
            code: rest.status.code(),
            stdout,
            stderr,
        }
    });
    ended.await.unwrap()
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
