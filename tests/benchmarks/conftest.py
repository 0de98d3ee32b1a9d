"""Benchmarks are scripts: they are loaded as Python does when they are run."""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from libhetero.cli.stages import StageResult
from libhetero.errors import UserError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Load one of the scripts, anew for every test, with their folder on the path."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for path in BENCHMARKS.glob("*.py"):
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    return importlib.import_module


@pytest.fixture
def in_process(
    load: Callable[[str], ModuleType], load_program: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Run stages in this process, to compile once; return the commands run."""
    commands: list[str] = []

    def run_stage(name: str, command: str, folder: Path) -> StageResult:
        program, *arguments = shlex.split(command)
        monkeypatch.chdir(folder)
        commands.append(command)
        if load_program(program).main(arguments):
            raise UserError(f"{name}: failed")
        return StageResult(name, command, 1.0, 2**20)

    for name in ("harness", "mixture"):
        monkeypatch.setattr(load(name), "run_stage", run_stage)
    return commands
