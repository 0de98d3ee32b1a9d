"""What benchmarks/faults.py calls survived, and one of its faults through the program."""

import json

import numpy as np
import pytest


@pytest.fixture
def faults(load):
    return load("faults")


@pytest.fixture
def reference(faults, tmp_path):
    """A run that looks like one as far as the trials look."""
    for name in ("set", "whole"):
        (tmp_path / name).mkdir()
    stack = bytes(faults.HEADER) + np.zeros(faults.IMAGES * faults.IMAGE // 4, np.float32).tobytes()
    (tmp_path / "set" / "particles.mrcs").write_bytes(stack)
    (tmp_path / "whole" / "config.json").write_text('{"format_version": 2}')
    return faults.Reference(tmp_path, np.array([3.0, 2.0, 1.0]), 1.0)


def test_exit_code_and_one_line_are_checked(faults):
    line = "e2hype_refine.py: set/particles.mrcs: image 3 is gone\n"
    warned = "e2hype_refine.py: warning: step 3 is skipped\n"
    assert faults.check(1, warned + line, 1, "particles.mrcs", r"image \d+") == warned + line
    faults.check(0, warned, 0)
    for found, said, code, *patterns in (
        (0, "", 1),
        (1, line, 0),
        (1, 2 * line, 1),
        (0, line, 0),
        (1, "", 1),
        (1, line, 1, "image 7"),
        (-9, "", 1),
    ):
        with pytest.raises(faults.NotSurvived):
            faults.check(found, said, code, *patterns)


def test_losses_are_compared_step_by_step(faults, reference, tmp_path):
    trial = faults.Trial(tmp_path / "trial", reference, np.random.default_rng(0))
    trial.run.mkdir()

    def log(*losses, first=1):
        lines = [{"step": first + place, "epoch": 1.0, "loss": loss} for place, loss in enumerate(losses)]
        (trial.run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    log(3.0, 2.0, 1.000001)
    trial.compare()
    for wrong, message in (((3.0, 2.1, 1.0), "from step 2 on"), ((3.0, 2.0), "2 lines")):
        log(*wrong)
        with pytest.raises(faults.NotSurvived, match=message):
            trial.compare()
    log(3.0, 2.0, 1.0, first=2)
    with pytest.raises(faults.NotSurvived, match="other steps"):
        trial.compare()


def test_a_stack_is_damaged_and_mended(faults, reference, tmp_path):
    trial = faults.Trial(tmp_path / "trial", reference, np.random.default_rng(0))
    trial.overwrite([2, 5], np.nan)
    images = np.fromfile(trial.stack, np.float32, offset=faults.HEADER).reshape(faults.IMAGES, -1)
    assert np.flatnonzero(~np.isfinite(images).all(axis=1)).tolist() == [2, 5]
    trial.mend()
    assert np.isfinite(np.fromfile(trial.stack, np.float32)).all()


def test_an_older_folder_is_tried_through_the_program(faults, reference, capsys):
    options = faults.build_parser().parse_args(["--trials", "1", "--only", "older_folder"])
    assert list(faults.trials(options, reference)) == [("older_folder", [""])]
    assert not capsys.readouterr().err
