"""What memory is free, and what is refused before it is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from libhetero.errors import ConfigurationError
from libhetero.files import free_memory, memory, require_memory


@pytest.fixture
def machine(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable:     600 kB\n")
    (tmp_path / "sys" / "fs" / "cgroup").mkdir(parents=True)
    return tmp_path


def test_free_memory_is_that_of_the_machine_or_of_the_group(machine) -> None:
    assert free_memory(machine) == 600 * 1024
    group = machine / "sys" / "fs" / "cgroup"
    (group / "memory.current").write_text("1024\n")
    (group / "memory.max").write_text("max\n")
    assert free_memory(machine) == 600 * 1024
    (group / "memory.max").write_text("4096\n")
    assert free_memory(machine) == 3072
    (group / "memory.current").write_text("9999\n")
    assert free_memory(machine) == 0


@pytest.mark.parametrize(
    ("stat", "free"),
    [
        ("anon 500\nfile 3000\ninactive_file 2500\nactive_file 400\nshmem 100\n", 196 + 2900),
        ("anon 3800\n", 196),
        ("inactive_file 9000\n", 4096),
        ("no table of numbers\n", 196),
    ],
)
def test_files_that_were_read_use_no_memory_of_a_group(machine, stat, free) -> None:
    group = machine / "sys" / "fs" / "cgroup"
    for name, text in (("current", "3900\n"), ("max", "4096\n"), ("stat", stat)):
        (group / f"memory.{name}").write_text(text)
    assert free_memory(machine) == free


def test_a_system_that_does_not_tell_has_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 900 kB\n")
    assert free_memory(tmp_path) is None
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    require_memory(1e30, "--box 64", "choose a smaller one")


def test_what_does_not_fit_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 2**30)
    require_memory(2**30, "--box 64", "choose a smaller one")
    line = "--box 4096: about 2 GiB of memory needed, 1 GiB free; choose a smaller one."
    with pytest.raises(ConfigurationError) as refusal:
        require_memory(2**31, "--box 4096", "choose a smaller one")
    assert str(refusal.value) == line
