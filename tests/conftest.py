"""Four virtual CPU devices for every test, chosen before JAX starts; programs as modules."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_force_host_platform_device_count=4",
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
    ]
)

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
