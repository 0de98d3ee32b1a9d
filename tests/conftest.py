"""Four virtual CPU devices and quick compilation for every test, chosen before JAX starts; programs as modules."""

import atexit
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
# Half the time to compile, to slower code, which is right for data this small; processes that tests start inherit it.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
# Half the time to compile, to slower code, which is right for data this small. Processes that tests start take it over.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="libhetero-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

PROJECT = Path(__file__).resolve().parent.parent


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
