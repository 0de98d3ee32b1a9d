"""The version and the report: complete, true of this machine, without the user's name, whatever JAX does."""

from __future__ import annotations

import os
import platform
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import libhetero
from libhetero.pipelines import version
from libhetero.pipelines.version import VersionConfig, run

PROJECT = Path(__file__).resolve().parents[2]


def _line(lines: list[str], title: str) -> str:
    return next(line for line in lines if line.startswith(f"{title}: ")).removeprefix(f"{title}: ")


def test_without_an_option_it_is_the_version_alone() -> None:
    assert run(VersionConfig()) == [f"libhetero {libhetero.__version__}"]


def test_the_report_is_true_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    lines = run(VersionConfig(report=True))
    assert lines[0] == f"libhetero {libhetero.__version__}"
    assert _line(lines, "Python").startswith(platform.python_version())
    assert _line(lines, "devices") == "3 x cpu (JAX's backend: cpu)"
    assert f"cores for this process: {len(os.sched_getaffinity(0))}" in _line(lines, "processor")
    assert re.fullmatch(r"[\d.]+ GiB, free [\d.]+ [GM]iB", _line(lines, "memory"))
    assert f"jax {metadata.version('jax')}" in _line(lines, "packages").split(", ")
    assert "XLA_FLAGS=--xla_force_host_platform_device_count=3" in _line(lines, "environment")
    assert all("\n" not in line for line in lines)


def test_it_tells_of_every_package_that_users_install() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["dashboard"], *extras["tensorboard"]]
    assert {re.match(r"[\w.-]+", each)[0] for each in asked} <= set(version.PACKAGES)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("import sys; sys.exit('no kernel image is available')", "exit code 1: no kernel image is available"),
        ("import os; os.abort()", "exit code -6: it says nothing"),
        ("print('two plugins found')", "no devices named: two plugins found"),
        ("print('[1, [2, [3]]]')", "no devices named: [1, [2, [3]]]"),
        ("print()", "no devices named: it says nothing"),
    ],
)
def test_where_jax_does_not_start_the_report_says_so(asked: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "ASKED", asked)
    lines = run(VersionConfig(report=True))
    assert _line(lines, "devices") == f"JAX does not start: {told}"
    assert lines[-1].startswith("environment: ")


def test_other_words_about_the_devices_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins write to the same place, at the end of the process too, and not always UTF-8."""
    asked = (
        "import sys\nsys.stdout.buffer.write(b'plugin \\xff\\n')\nprint('[\"tpu\", [[\"v5\", 2147483648]]]')\n"
        "print('[1, 2]')\nprint('bye')"
    )
    monkeypatch.setattr(version, "ASKED", asked)
    assert _line(run(VersionConfig(report=True)), "devices") == "1 x v5 of 2 GiB (JAX's backend: tpu)"


def test_where_jax_hangs_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "ASKED", "import time; time.sleep(60)")
    monkeypatch.setattr(version, "PATIENCE", 1)
    assert _line(run(VersionConfig(report=True)), "devices") == "JAX does not start: no answer in 1 s"


def test_a_gpu_that_jax_does_not_name_shows_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "ASKED", "print('[\"cpu\", []]')")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'NVIDIA A100, 550.54.15, 40960 MiB'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert _line(run(VersionConfig(report=True)), "nvidia-smi") == "NVIDIA A100, 550.54.15, 40960 MiB"


def test_the_home_folder_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "ASKED", "print('[\"cpu\", []]')")
    monkeypatch.setenv("HOME", str(Path(libhetero.__file__).parents[1]))
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/usr/lib:{os.environ['HOME']}/lib:{os.environ['HOME']}2/lib")
    lines = run(VersionConfig(report=True))
    assert _line(lines, "installed in") == "~/libhetero"
    assert f"LD_LIBRARY_PATH=/usr/lib:~/lib:{os.environ['HOME']}2/lib" in _line(lines, "environment")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cannot open (HOME/lib/libcudart.so)", "cannot open (~/lib/libcudart.so)"),
        ("No module named 'HOME/x.py'", "No module named '~/x.py'"),
        ("It lies in HOME.", "It lies in ~."),
        ('File "HOME", line 3', 'File "~", line 3'),
        ("--xla_dump_to=HOME/dump,HOME", "--xla_dump_to=~/dump,~"),
        ("LINK/lib:/usr/lib:LINK", "~/lib:/usr/lib:~"),
        ("HOME2/lib:HOME.old:/mntHOME:/mnt/.HOME:HOME-b", "HOME2/lib:HOME.old:/mntHOME:/mnt/.HOME:HOME-b"),
    ],
)
def test_the_home_folder_is_not_told_wherever_it_stands(text: str, told: str, tmp_path: Path, monkeypatch) -> None:
    """The home folder is a link to another disk, as on many clusters; both of its names are found."""
    home, linked = tmp_path / "disk" / "alice", tmp_path / "home"
    home.mkdir(parents=True)
    linked.symlink_to(home)
    monkeypatch.setenv("HOME", str(linked))
    for name, other in ((linked, home), (home, linked)):
        said, expected = (each.replace("HOME", str(name)).replace("LINK", str(other)) for each in (text, told))
        assert version.without_home(said) == expected


@pytest.mark.parametrize("home", ["/", "~", ""])
def test_a_home_that_is_none_takes_nothing_out(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version.os.path, "expanduser", lambda path: home)
    assert version.without_home("/usr/lib: ~/lib /") == "/usr/lib: ~/lib /"


def test_the_program_prints_it(load_program, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_program("e2hype_version.py").main([]) == 0
    assert capsys.readouterr() == (f"libhetero {libhetero.__version__}\n", "")
