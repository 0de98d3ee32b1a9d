"""Numbering of run folders and the options kept inside."""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from libhetero.cli import next_run_folder, write_params_json


def test_the_first_folder_is_00_and_the_next_follow_the_highest(tmp_path: Path) -> None:
    assert next_run_folder("hype", tmp_path).name == "hype_00"
    (tmp_path / "hype_07").mkdir()
    assert next_run_folder("hype", tmp_path).name == "hype_08"


def test_other_names_do_not_count(tmp_path: Path) -> None:
    for name in ("gmm_12", "hype_3", "hype_old", "xhype_40", "hype_50_old"):
        (tmp_path / name).mkdir()
    assert next_run_folder("hype", tmp_path).name == "hype_00"


def test_after_99_comes_100(tmp_path: Path) -> None:
    (tmp_path / "hype_99").mkdir()
    assert next_run_folder("hype", tmp_path).name == "hype_100"
    assert next_run_folder("hype", tmp_path).name == "hype_101"


def test_a_file_of_that_name_counts(tmp_path: Path) -> None:
    (tmp_path / "hype_00").touch()
    assert next_run_folder("hype", tmp_path).name == "hype_01"


def test_programs_started_together_get_different_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: next_run_folder("hype", tmp_path), range(24)))
    assert {folder.name for folder in folders} == {f"hype_{n:02d}" for n in range(24)}


def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next_run_folder("hype", tmp_path / "absent")


def test_params_hold_the_options_and_the_command(tmp_path: Path) -> None:
    options = argparse.Namespace(batch=8, particles=Path("a.lst"), cmd="e2hype_refine.py a.lst")
    path = write_params_json(tmp_path, "e2hype", options)
    assert path.name == "0_e2hype_params.json"
    values = json.loads(path.read_text())
    assert values == {"batch": 8, "particles": "a.lst", "cmd": "e2hype_refine.py a.lst"}
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
