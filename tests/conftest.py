"""Four virtual CPU devices and quick compilation for every test, chosen before JAX starts; programs as modules."""

import gc
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import jaxtyping
import pytest

PROJECT = Path(__file__).resolve().parent.parent
MOST_KEPT = 2**30  # bytes of compiled programs on disk

os.environ["JAX_PLATFORMS"] = "cpu"


def load_file(path: Path) -> ModuleType:
    """Return a file as a module of its own."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def kept_programs() -> Path:
    """Return the folder of what tests have compiled, emptied once it holds more than `MOST_KEPT`."""
    cache = load_file(PROJECT / "libhetero" / "cli" / "compilation_cache.py")
    folder = cache.cache_folder({"XDG_CACHE_HOME": str(PROJECT / ".pytest_cache")})
    if folder.exists() and sum(entry.stat().st_size for entry in folder.iterdir()) > MOST_KEPT:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


quick = load_file(PROJECT / "libhetero" / "cli" / "quick_compilation.py")
if "LIBHETERO_TESTS_XLA_FLAGS" not in os.environ:  # workers take over what pytest's own process has found
    os.environ["LIBHETERO_TESTS_XLA_FLAGS"] = " ".join(quick.known(quick.QUICK))
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=4 {os.environ['LIBHETERO_TESTS_XLA_FLAGS']}"
# Half the time to compile, to slower code, which is right for data this small. Processes that tests start take it over.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"
# One thread of NumPy's and scikit-learn's products: those of several workers would wait for each other.
for name in quick.ONE_THREAD:
    os.environ.setdefault(name, "1")
# What a worker, or a process that a test starts, has compiled, the others find, and so do later sessions: JAX names an
# entry by the program, its own version, the flags and the devices; libhetero the folder by the instruction set.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(kept_programs())
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

jaxtyping.install_import_hook("libhetero", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")


# Tracing makes millions of objects that live: Python looks through them for those that do not a tenth as often.
gc.set_threshold(50_000, 20, 100)

MOST_MEMORY = 3 * 2**29  # bytes a worker may hold of what it has compiled

# The files that take longest, begun first, so that workers end together.
LONGEST = (
    "pipelines/test_refine.py",
    "pipelines/test_recorded_losses.py",
    "pipelines/test_refine_processes.py",
    "benchmarks/test_assembly_and_motion.py",
    "benchmarks/test_mixture.py",
    "models/hype/test_start.py",
    "models/gmm/test_motions.py",
    "models/hype/latent/test_class_search.py",
    "models/hype/test_model.py",
    "benchmarks/test_speed.py",
    "benchmarks/test_scaling.py",
    "pipelines/run/test_image_faults.py",
    "pipelines/run/test_watching.py",
    "pipelines/run/test_budget.py",
    "pipelines/test_changed_list.py",
    "models/test_devices.py",
    "pipelines/test_refined_poses.py",
    "pipelines/test_searched_poses.py",
    "pipelines/test_tilt_series.py",
    "test_tutorials.py",
)


SLOW = PROJECT / "tests" / "slow.txt"  # test functions that `make test` leaves out


def pytest_configure(config: pytest.Config) -> None:
    """Add to a report of the session what shared fixtures took."""
    if config.getoption("xmlpath", None):
        config.pluginmanager.register(load_file(PROJECT / "tests" / "fixture_times.py"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that are listed as slow; put the tests of the longest files first."""
    slow = {line for line in SLOW.read_text(encoding="utf-8").splitlines() if not line.startswith("#")}
    for item in items:
        if item.nodeid.split("[")[0] in slow:
            item.add_marker("slow")
    place = {PROJECT / "tests" / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="module", autouse=True)
def forgotten_programs() -> Iterator[None]:
    """Forget what was compiled once a module is done and the worker holds gigabytes of it."""
    yield
    held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if "jax" in sys.modules and held > MOST_MEMORY:
        sys.modules["jax"].clear_caches()


@pytest.fixture(scope="session")
def load_program() -> Callable[[str], ModuleType]:
    """Return a function that loads a program by its name, such as e2hype_refine.py."""

    def load(name: str) -> ModuleType:
        return load_file(PROJECT / "programs" / name)

    return load


@pytest.fixture
def list_program(
    load_program: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[str], tuple[int, str, str]]:
    """Return a function that runs e2hype_list.py in an empty folder and returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    module = load_program("e2hype_list.py")

    def run(command: str) -> tuple[int, str, str]:
        code = module.main(command.split())
        return code, *capsys.readouterr()

    return run
