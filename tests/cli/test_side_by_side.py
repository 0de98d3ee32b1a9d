"""Rows side by side: at the same time, in order within a row, lines with the row's name; none outlives a failure."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from libhetero.cli import stages
from libhetero.cli.side_by_side import Row, run_side_by_side
from libhetero.errors import UserError

WAITS_FOR_OTHER = """
import pathlib, sys, time
own, other = sys.argv[1:]
pathlib.Path(own).touch()
limit = time.monotonic() + 30
while not pathlib.Path(other).exists():
    if time.monotonic() > limit:
        sys.exit(1)
    time.sleep(0.01)
print(own, 'å', flush=True)
print('complains', file=sys.stderr, flush=True)
print('no end', end='')
"""
NOTES = "import sys\nopen('order', 'a').write(sys.argv[1])\n"
SLOW = """
import os, signal, sys, time
def stop(*_):
    open("in_order", "a").write("x")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
open(f"begun_{sys.argv[1]}", "w").close()
time.sleep(60)
"""
FAILS = "import pathlib, sys, time\nwhile not pathlib.Path('begun_1').exists():\n    time.sleep(0.01)\nsys.exit(3)\n"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the small programs, in which they run."""
    for name, text in (("waits.py", WAITS_FOR_OTHER), ("notes.py", NOTES), ("slow.py", SLOW), ("fails.py", FAILS)):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(stages, "CHECKOUT", tmp_path)
    return tmp_path


def test_rows_run_at_the_same_time_and_tell_whose_line_it_is(programs: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [
        Row("one", (("meet", "waits.py a b"), ("first note", "notes.py 1"), ("second note", "notes.py 2"))),
        Row("other", (("meet too", "waits.py b a"),)),
    ]
    told: list[float] = []
    results = run_side_by_side(rows, programs, {"LANG": "C"}, told.append)
    assert [[stage.name for stage in row] for row in results] == [["meet", "first note", "second note"], ["meet too"]]
    assert all(stage.seconds > 0 and stage.processor_seconds > 0 for row in results for stage in row)
    assert (programs / "order").read_text() == "12" and told == [0.25, 0.5, 0.75, 1.0]
    lines = capsys.readouterr().out.splitlines()
    assert {"one   | ## meet", "one   | $ notes.py 2", "other | b å", "other | no end"} <= set(lines)
    assert sum("complains" in line for line in lines) == 2
    assert all(line.startswith(("one   |", "other |")) for line in lines)


def test_where_one_fails_the_others_are_ended(programs: Path) -> None:
    rows = [Row("one", (("long", "slow.py 1"),)), Row("other", (("bad", "fails.py"), ("never", "notes.py 1")))]
    with pytest.raises(UserError, match=r"bad: failed with the message above; the command was: fails\.py"):
        run_side_by_side(rows, programs)
    assert (programs / "in_order").read_text() == "x" and not (programs / "order").exists()


def test_ctrl_c_is_waited_for_in_all(programs: Path) -> None:
    code = (
        "import pathlib\nfrom libhetero.cli import stages\n"
        "from libhetero.cli.side_by_side import Row, run_side_by_side\n"
        "stages.CHECKOUT = pathlib.Path('.').absolute()\n"
        "run_side_by_side([Row(n, ((n, f'slow.py {n}'),)) for n in '12'], stages.CHECKOUT)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(stages.__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=programs, env=environment, start_new_session=True)
    limit = time.monotonic() + 30
    while not all((programs / f"begun_{number}").exists() for number in "12"):
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) != 0
    assert (programs / "in_order").read_text() == "xx"
