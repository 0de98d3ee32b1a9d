"""Batch scripts: bash accepts them, the program their commands, and a preempted job is queued again."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.rglob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_and_the_program_accept_it(script, load_program) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    commands = re.findall(r"e2hype_refine\.py ([^\n&]*)", script.read_text())
    assert commands
    for command in commands:
        options = load_program("e2hype_refine.py").build_parser().parse_args(shlex.split(command))
        assert options.particles and options.path


def test_shellcheck_finds_nothing() -> None:
    """shellcheck comes with the extra `test`."""
    beside = Path(sys.executable).with_name("shellcheck")
    program = beside if beside.exists() else shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed: pip install 'libhetero[test]'")
    done = subprocess.run([program, "--severity=style", *SCRIPTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def _fake(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(("ending", "requeued"), [("exit 143", True), ("exit 1", False)])
def test_a_preempted_job_is_queued_again(tmp_path, ending, requeued) -> None:
    # As the real ones: srun itself dies of SIGTERM, and scancel reaches the tasks, of which it gives the code.
    _fake(
        tmp_path,
        "srun",
        f"trap 'exit 137' TERM; trap 'sleep 0.3; {ending}' USR1; echo $$ > started.tmp; "
        "mv started.tmp started; while true; do sleep 0.1; done",
    )
    _fake(tmp_path, "scancel", '[ "$*" = "--signal=TERM 17" ] && kill -USR1 "$(cat started)"')
    _fake(tmp_path, "scontrol", 'echo "$@" > requeued')
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    script = EXAMPLES / "slurm" / "preemptible.sh"
    job = subprocess.Popen(["bash", script, "particles.star"], cwd=tmp_path, env=environment)
    limit = time.monotonic() + 30
    while not (tmp_path / "started").exists():
        assert time.monotonic() < limit and job.poll() is None
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=30) == (143 if requeued else 1)
    assert (tmp_path / "requeued").exists() == requeued
    if requeued:
        assert (tmp_path / "requeued").read_text() == "requeue 17\n"


def test_a_finished_job_is_not_queued_again(tmp_path) -> None:
    _fake(tmp_path, "srun", "exit 0")
    _fake(tmp_path, "scontrol", "touch requeued")
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    script = EXAMPLES / "slurm" / "preemptible.sh"
    subprocess.run(["bash", script, "particles.star"], cwd=tmp_path, env=environment, check=True, timeout=30)
    assert not (tmp_path / "requeued").exists()
