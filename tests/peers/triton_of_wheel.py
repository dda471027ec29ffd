"""Triton as PyTriton's wheel carries it: the server, its Python backend, and what they need to find each other."""

import os
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytriton
import tritonclient.grpc

ROOT = Path(pytriton.__file__).parent / "tritonserver"
LIBRARIES = Path(pytriton.__file__).parent.parent / "nvidia_pytriton.libs"
SERVER = ROOT / "bin" / "tritonserver"
BACKEND_STUB = "triton_python_backend_stub"


def library_path() -> str:
    """LD_LIBRARY_PATH for Triton. The process that its Python backend starts is linked to libpython, and must find that
    of this interpreter before any other of the same minor version, whose standard library would not fit."""
    folders = [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH"), str(LIBRARIES)]
    return ":".join(filter(None, folders))


def assemble_backends(folder: Path) -> None:
    """Puts the Python backend together as Triton wants it: its stub for this version of Python beside its library."""
    python = folder / "python"
    python.mkdir(parents=True)
    for file in (ROOT / "backends" / "python").iterdir():
        (python / file.name).symlink_to(file)
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    (python / BACKEND_STUB).symlink_to(ROOT / "python_backend_stubs" / minor / BACKEND_STUB)


def versions(port: int) -> dict[str, str]:
    """That of the wheel, and that which the Triton on this port says of itself."""
    server = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}").get_server_metadata()
    return {"pytriton": version("nvidia-pytriton"), "triton": server.version}
