//! Images of Decant, built as their users build them, and containers of them that have no more than the strictest cluster
//! gives: no root, no capability, no writable root, no shell, and no network unless a test says so.
//!
//! Needs buildah, runc and the base image that `deploy/bootstrap.sh images` makes, and root.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Process, programs};

/// Who the programs run as.
const USER: u32 = 65_532;

/// What the images stand on, in the tests.
const BASE: &str = "localhost/base";

/// The network that a container has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// None at all.
    Nothing,
    /// That of this machine.
    Machine,
}

/// Images in a store of their own, which is gone when this is dropped.
pub struct Images {
    folder: TempDir,
}

impl Images {
    /// Builds these images from the programs that were built beside the tests.
    pub fn build(names: &[&str]) -> Self {
        let base = std::env::var_os("DECANT_IMAGE_BASE").expect(
            "DECANT_IMAGE_BASE is not set: run `deploy/bootstrap.sh images` and `eval \"$(deploy/bootstrap.sh env)\"`",
        );
        // In memory where that is possible: the store copies whole images again and again.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let images = Self {
            folder: folder.unwrap(),
        };
        let path = |name: &str| images.folder.path().join(name);
        let store = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            path("store"),
            path("run")
        );
        std::fs::write(path("storage.conf"), store).unwrap();

        let context = path("base");
        std::fs::create_dir(&context).unwrap();
        std::fs::copy(base, context.join("base.tar")).unwrap();
        std::fs::write(context.join("Dockerfile"), "FROM scratch\nADD base.tar /\n").unwrap();
        let mut command = images.command("buildah");
        command.args(["build", "--quiet", "--tag", BASE]);
        succeed(command.arg(context));

        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/images.sh");
        let mut command = images.command(script);
        command.args(["--engine", "buildah", "--base", BASE, "--tag", "test"]);
        succeed(command.arg("--binaries").arg(programs()).args(names));
        images
    }

    /// What an image says of itself: user, variables, labels.
    pub fn config(&self, name: &str) -> Value {
        let mut command = self.command("buildah");
        command.args(["inspect", "--type", "image", &image(name)]);
        let inspected: Value = serde_json::from_str(&succeed(&mut command)).unwrap();
        inspected["OCIv1"]["config"].clone()
    }

    /// Unpacks an image, to run it.
    pub fn container(&self, name: &str) -> Container {
        let mut command = self.command("buildah");
        command.args(["from", "--pull-never", "--name", name, &image(name)]);
        succeed(&mut command);
        let mut command = self.command("buildah");
        let root = succeed(command.args(["mount", name]));
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        Container {
            name: name.to_owned(),
            // Control groups are named after it, and those are the machine's.
            id: format!("decant-test-{}-{name}", std::process::id()),
            root: PathBuf::from(root.trim()),
            folder,
            config: self.config(name),
        }
    }

    /// A command whose store is ours.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env(
                "CONTAINERS_STORAGE_CONF",
                self.folder.path().join("storage.conf"),
            )
            .env("BUILDAH_ISOLATION", "chroot");
        command
    }
}

/// An unpacked image. One process at a time runs in it; what is left of that ends when this is dropped.
pub struct Container {
    name: String,
    id: String,
    root: PathBuf,
    folder: PathBuf,
    config: Value,
}

impl Container {
    /// The folder that is its root, seen from outside.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Runs the image's program to its end.
    pub fn run(&self, reach: Reach, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        self.prepare(reach, arguments, variables);
        self.runc("run").output().unwrap()
    }

    /// Starts the image's program on this machine's network, and waits until it serves.
    pub fn start(&self, variables: &[(&str, &str)]) -> Process {
        self.prepare(Reach::Machine, &[], variables);
        Process::run(&self.name, self.runc("run"))
    }

    /// Runs a further command beside the one that runs.
    pub fn exec(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("runc");
        command
            .arg("--root")
            .arg(self.folder.join("state"))
            .args(["exec", &self.id])
            .args(arguments);
        command.output().unwrap()
    }

    fn runc(&self, verb: &str) -> Command {
        let mut command = Command::new("runc");
        command
            .arg("--root")
            .arg(self.folder.join("state"))
            .args([verb, "--bundle"])
            .arg(&self.folder)
            .arg(&self.id);
        command
    }

    /// Writes what the runtime is to do, as the OCI's runtime specification has it.
    fn prepare(&self, reach: Reach, arguments: &[&str], variables: &[(&str, &str)]) {
        let mut command = texts(&self.config["Entrypoint"]);
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut environment = texts(&self.config["Env"]);
        let own = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        environment.extend(own);
        let mut namespaces = vec!["pid", "ipc", "uts", "mount"];
        if reach == Reach::Nothing {
            namespaces.push("network");
        }
        let namespaces: Vec<Value> = namespaces
            .iter()
            .map(|kind| json!({ "type": kind }))
            .collect();
        let memory = |place: &str, options: &[&str]| json!({ "destination": place, "type": "tmpfs", "source": "tmpfs", "options": options });
        let state = format!("uid={USER}");
        let specification = json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": { "uid": USER, "gid": USER },
                "args": command,
                "env": environment,
                "cwd": self.config["WorkingDir"],
                "capabilities": {},
                "noNewPrivileges": true,
            },
            "root": { "path": self.root, "readonly": true },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                memory("/dev", &["nosuid", "mode=755"]),
                memory("/tmp", &["nosuid", "nodev", "mode=1777"]),
                memory("/var/lib/decant", &["nosuid", "nodev", "mode=750", state.as_str()]),
            ],
            "linux": { "namespaces": namespaces },
        });
        std::fs::write(self.folder.join("config.json"), specification.to_string()).unwrap();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Fails when nothing is left, which is what is wanted.
        let _ = Command::new("runc")
            .arg("--root")
            .arg(self.folder.join("state"))
            .args(["delete", "--force", &self.id])
            .output();
    }
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten();
    texts
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

/// What `deploy/images.sh` calls an image.
fn image(name: &str) -> String {
    format!("localhost/decant-{name}:test")
}

/// Runs a command that must succeed, and returns what it printed.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        let program = command.get_program();
        panic!("{program:?} does not run: {error}; `deploy/bootstrap.sh images` installs it")
    });
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
