"""Which version is installed, and with --report all that somebody who looks into a problem asks first.

Packages are told as they are installed, without importing them. Devices are asked for in a process of its own: where
JAX does not start, ends the process or hangs, the report says so, and the rest of it stands.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import libhetero
from libhetero.configuration import check_options, option
from libhetero.cores import usable_cores
from libhetero.files import free_memory
from libhetero.telling.amounts import byte_size

PACKAGES = (
    "jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda13-plugin", "libtpu", "flax", "optax", "orbax-checkpoint", "numpy",
    "scipy", "scikit-learn", "umap-learn", "numba", "hdbscan", "matplotlib", "pandas", "mrcfile", "h5py", "gemmi",
    "msgspec", "jaxtyping", "threadpoolctl", "tqdm", "starlette", "uvicorn", "tensorboardX",
)  # fmt: skip
VARIABLES = (
    "JAX_PLATFORMS", "JAX_ENABLE_X64", "JAX_DISABLE_JIT", "JAX_DEBUG_NANS", "JAX_DEFAULT_MATMUL_PRECISION",
    "XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_ALLOCATOR",
    "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "CONDA_DEFAULT_ENV", "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS", "NPROC", "LANG", "LC_ALL",
    "SLURM_JOB_NUM_NODES", "SLURM_NTASKS",
)  # fmt: skip
PATIENCE = 120  # seconds that JAX, and nvidia-smi, may take
ASKED = (
    "import json, jax\n"
    "told = [[d.device_kind, (d.memory_stats() or {}).get('bytes_limit')] for d in jax.local_devices()]\n"
    "print('\\n' + json.dumps([jax.default_backend(), told]))\n"
)


@dataclass(frozen=True)
class VersionConfig:
    """What is told."""

    report: bool = option(
        False,
        "--report",
        help="versions of Python and the packages, devices, memory, cores and system: paste it into a question",
    )

    def __post_init__(self) -> None:
        check_options(self)


def run(config: VersionConfig) -> list[str]:
    """Return the lines to print."""
    version = f"libhetero {libhetero.__version__}"
    if not config.report:
        return [version]
    return [
        version,
        f"installed in: {without_home(str(Path(libhetero.__file__).parent))}",
        f"Python: {platform.python_version()} ({without_home(sys.executable)})",
        f"system: {_system()}",
        f"processor: {_processor()}; cores for this process: {usable_cores()}",
        f"memory: {_memory()}",
        *_devices(),
        *_driver(),
        f"packages: {', '.join(_packages())}",
        f"environment: {', '.join(_variables()) or 'nothing set that matters here'}",
    ]


def without_home(text: str) -> str:
    """Return a text in which the user's home folder is ~, also where it is reached through a link."""
    home = os.path.expanduser("~").rstrip("/")
    if not os.path.isabs(home):  # there is none, or it is all that there is
        return text
    for folder in sorted({home, os.path.realpath(home)} - {"/"}, key=len, reverse=True):
        text = re.sub(rf"(?<![\w./-]){re.escape(folder)}(?![\w-]|\.[\w.-])", "~", text)
    return text


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    library = " ".join(platform.libc_ver())
    return ", ".join(filter(None, (name, f"{platform.system()} {platform.release()}", platform.machine(), library)))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "not known")


def _memory() -> str:
    """Return the memory of the machine, and what is free for this process, which a job's limit may lower."""
    try:
        whole = byte_size(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError):
        whole = "not known"
    free = free_memory()
    return whole if free is None else f"{whole}, free {byte_size(free)}"


def _devices() -> list[str]:
    """Return a line on the devices of JAX, or on why it has none; the GPU's memory is not taken for that."""
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = _output([sys.executable, "-c", ASKED], environment)
    if isinstance(done, str):
        return [f"devices: JAX does not start: {done}"]
    answer = next(filter(None, map(_answer, reversed(done.stdout.splitlines()))), None)
    if answer is None:
        last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "it says nothing")
        return [f"devices: JAX does not start: no devices named: {without_home(last.strip())[:500]}"]
    backend, told = answer
    kinds = [f"{kind}{f' of {byte_size(memory)}' if memory else ''}" for kind, memory in told]
    counted = [f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds)]
    return [f"devices: {', '.join(counted)} (JAX's backend: {backend})"]


def _answer(line: str) -> tuple[str, list[tuple[str, int | None]]] | None:
    """Return the backend, and kind and memory of each device, if this line of what was `ASKED` names them."""
    try:
        backend, told = json.loads(line)
        devices = [(str(kind), None if memory is None else int(memory)) for kind, memory in told]
    except (ValueError, TypeError, RecursionError):
        return None
    return str(backend), devices


def _driver() -> list[str]:
    """Return a line on NVIDIA's driver, where there is one: a GPU that JAX does not name shows up here."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    done = _output(query, dict(os.environ))
    said = done if isinstance(done, str) else "; ".join(done.stdout.splitlines())
    return [f"nvidia-smi: {said}"]


def _output(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess | str:
    """Return what a command gave, or in one line why it gave nothing."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {PATIENCE} s"
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return done
    last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it says nothing")
    return f"exit code {done.returncode}: {without_home(last.strip())[:500]}"


def _packages() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return found


def _variables() -> list[str]:
    return [f"{name}={without_home(os.environ[name])}" for name in VARIABLES if name in os.environ]
