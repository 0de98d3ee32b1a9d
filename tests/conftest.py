"""Four virtual CPU devices and quick compilation for every test, chosen before JAX starts; programs as modules."""

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import jaxtyping
import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
# Half the time to compile, to slower code, which is right for data this small. Processes that tests start take it over.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
# One thread of NumPy's and scikit-learn's products: those of several workers would wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# What a worker, or a process that a test starts, has compiled, the others find. pytest's own process makes the folder.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="libhetero-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

jaxtyping.install_import_hook("libhetero", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", autouse=True)
def forgotten_programs() -> Iterator[None]:
    """Forget what a module has compiled once it is done: a worker would hold gigabytes of it in the end."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture(scope="session")
def load_program() -> Callable[[str], ModuleType]:
    """Return a function that loads a program by its name, such as e2hype_refine.py."""

    def load(name: str) -> ModuleType:
        path = PROJECT / "programs" / name
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
