"""Find tritonserver in the nvidia-pytriton wheel, check that it can run here, and lay out its backends."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from lookalike_service.embedded.errors import PackageMissing

__all__ = ["Installation", "find_installation", "lay_out_backends", "server_environment"]

_PYTHONS = ((3, 11), (3, 12))
_INSTALL = "install what is missing with: pip install 'lookalike[embedded]'"
# What the stages import in Triton's own processes.
_MODULES = {"numpy": "numpy", "cv2": "opencv-python-headless", "PIL": "pillow", "onnxruntime": "onnxruntime"}
_BACKENDS = Path(__file__).with_name("backends")


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the parts of the wheel lie."""

    server: Path
    stub: Path
    python_backend: Path
    caches: Path
    libraries: Path


def find_installation() -> Installation:
    """Find the wheel and check every package that its processes will import.

    Raises PackageMissing, with the command that helps.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.version_info[:2] not in _PYTHONS:
        raise PackageMissing(f"the embedded Triton runs on Python 3.11 or 3.12, and this is {version}")
    package = importlib.util.find_spec("pytriton")
    if package is None or not package.submodule_search_locations:
        raise PackageMissing(f"the package nvidia-pytriton, which holds tritonserver, is not installed; {_INSTALL}")
    root = Path(package.submodule_search_locations[0])
    triton = root / "tritonserver"
    found = Installation(
        server=triton / "bin" / "tritonserver",
        stub=triton / "python_backend_stubs" / version / "triton_python_backend_stub",
        python_backend=triton / "backends" / "python",
        caches=triton / "caches",
        libraries=root.parent / "nvidia_pytriton.libs",
    )
    for path in (found.server, found.stub, found.python_backend, found.libraries):
        if not path.exists():
            message = (
                f"nvidia-pytriton holds no {path.name} for Python {version}; version 0.7.0 for Linux on x86-64 does"
            )
            raise PackageMissing(f"{message}: pip install --force-reinstall 'nvidia-pytriton==0.7.0'")
    _check_modules()
    _check_stub(found)
    return found


def server_environment(installation: Installation) -> dict[str, str]:
    """The environment in which tritonserver and its stubs find this very Python.

    The stub takes `python3` from PATH, so that must be the one we run on; raises PackageMissing when it is not.
    """
    python3 = Path(sys.executable).with_name("python3")
    if not python3.exists() or python3.resolve() != Path(sys.executable).resolve():
        message = f"{python3} is not the Python that runs this ({sys.executable}), but Triton would use it"
        raise PackageMissing(f"{message}; run from a virtual environment: python3.11 -m venv .venv")
    environment = dict(os.environ)
    environment["PATH"] = f"{python3.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    libraries = sysconfig.get_config_var("LIBDIR")
    shared = sysconfig.get_config_var("INSTSONAME")
    if libraries and shared and Path(libraries, shared).exists() and ".so" in shared:
        # The stub links against libpython; prefer this Python's own over another of the system.
        known = environment.get("LD_LIBRARY_PATH")
        environment["LD_LIBRARY_PATH"] = f"{libraries}{os.pathsep}{known}" if known else libraries
    # One thread per instance is the repository's choice; a linear algebra pool in each of them is nobody's.
    environment.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONUNBUFFERED="1")
    # The model repository is the user's; no stub leaves compiled files in it.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return environment


def lay_out_backends(installation: Installation, directory: Path) -> Path:
    """Build the directory for --backend-directory under `directory` and return it.

    The libraries are copied, since Triton refuses symbolic links to them; the folder that their RPATH points to is
    a link.
    """
    shutil.rmtree(directory, ignore_errors=True)
    backends = directory / "pytriton" / "tritonserver" / "backends"
    python = backends / "python"
    python.mkdir(parents=True)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        shutil.copy2(installation.python_backend / name, python)
    shutil.copy2(installation.stub, python)
    (directory / "nvidia_pytriton.libs").symlink_to(installation.libraries)
    for backend in _BACKENDS.iterdir():
        if backend.is_dir():
            shutil.copytree(backend, backends / backend.name, ignore=shutil.ignore_patterns("__pycache__"))
            # Its instances take turns on the cores by locking bytes of this.
            (backends / backend.name / "cores").touch()
    return backends


def _check_modules() -> None:
    for module, package in _MODULES.items():
        if importlib.util.find_spec(module) is None:
            raise PackageMissing(f"the package {package}, which the served stages need, is not installed; {_INSTALL}")
    numpy = importlib.metadata.version("numpy")
    if int(numpy.split(".")[0]) >= 2:
        message = f"numpy {numpy} is installed, but the embedded Triton answers empty tensors with numpy 2"
        raise PackageMissing(f"{message}; install 1.26: pip install 'numpy<2'")


def _check_stub(installation: Installation) -> None:
    """Called with nothing the stub complains about its arguments, unless the loader misses libpython before that."""
    environment = server_environment(installation)
    try:
        command = [installation.stub]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        raise PackageMissing(f"{installation.stub} cannot be run here ({error}); Linux on x86-64 is needed") from error
    said = result.stdout + result.stderr
    if "error while loading shared libraries" in said:
        library = f"libpython{sys.version_info.major}.{sys.version_info.minor}"
        message = f"Triton's Python backend needs a shared library that is not here ({said.strip()[-200:]})"
        raise PackageMissing(f"{message}; on Debian or Ubuntu: apt-get install {library} (or {library}t64)")
