"""From the command line to a server, and its end by a signal."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from libhetero.dashboard import recipe, session
from libhetero.dashboard.app import Dashboard
from libhetero.dashboard.configuration import DashboardConfig
from libhetero.dashboard.recipe import address_of, listen, names_of
from libhetero.errors import ConfigurationError, UserError
from tests.making.visitor import Visitor, visited

PROGRAM = Path(__file__).resolve().parents[2] / "programs" / "e2hype_dashboard.py"


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 0), (signal.SIGTERM, 0)])
def test_the_program_serves_until_it_is_told_to_stop(run, tmp_path, number, code) -> None:
    command = [sys.executable, str(PROGRAM), str(run), "--nobrowser", "--port", "0"]
    environment = os.environ | {
        "PYTHONPATH": str(PROGRAM.parents[1]),
        "JAX_PLATFORMS": "nowhere",
    }  # it computes nothing
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    )
    try:
        lines = [process.stdout.readline() for _ in range(4)]
        address = re.search(r"http://\S+", lines[1])[0]
        assert "1 run(s): gmm_00" in lines[0] and "ssh -L " in lines[2]
        visitor = Visitor(address)
        assert visitor.enter().status == 303 and visitor.get("/api/session").status == 200
        for what in (
            "columns?list=1",
            "column?name=pca1",
            "images?rows=1",
            "regions",
            "gaussians/raw?segmentation=motion",
        ):
            assert visitor.get(f"/api/runs/0/{what}").status == 200, what
        chosen = visitor.post("/api/runs/0/selections", {"name": "a", "how": {"column": "z1", "from": 0}})
        assert chosen.status == 200 and chosen.json["count"] > 0
        with visitor.following("/api/events") as events:  # a page that looks on does not keep it
            next(events)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code and err == "" and out.rstrip().endswith("stopped")


SLOW = """
import runpy, sys, time
from libhetero.dashboard import session

described = session.described
session.described = lambda run: time.sleep(4) or described(run)
sys.exit(runpy.run_path(sys.argv[1])["main"](sys.argv[2:]))
"""


def test_ctrl_c_while_something_long_is_answered_tells_no_defect(run, tmp_path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(PROGRAM), str(run), "--nobrowser", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROGRAM.parents[1])},
        cwd=tmp_path,
    )
    try:
        address = re.search(r"http://\S+", [process.stdout.readline() for _ in range(4)][1])[0]
        visitor = Visitor(address)
        visitor.enter()
        threading.Thread(target=lost, args=(visitor,), daemon=True).start()
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and err == "" and out.rstrip().endswith("stopped")


def lost(visitor) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        visitor.get("/api/session")


def test_what_runs_is_ended_before_what_waits_for_it_is_given_up(run, monkeypatch) -> None:
    """A request that waits for a worker is answered, as the worker is ended first."""
    ended, said = threading.Event(), []
    monkeypatch.setattr(Dashboard, "close", lambda dashboard: ended.set())
    monkeypatch.setattr(session, "described", lambda served: {"in time": ended.wait(60)})
    with visited([run]) as visitor:
        visitor.enter()
        asks = threading.Thread(target=lambda: said.append(visitor.get("/api/session")))
        asks.start()
        time.sleep(0.5)
    asks.join(60)
    assert said[0].status == 200 and said[0].json["runs"] == [{"in time": True}]


def test_without_its_packages_it_says_what_to_install(run, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UserError, match=r"pip install 'libhetero\[dashboard\]'"):
        run_recipe(run)


def run_recipe(folder, **options) -> list[str]:
    told: list[str] = []
    recipe.run(DashboardConfig((str(folder),), nobrowser=True, **options), told.append)
    return told


def test_an_address_that_is_taken_is_refused_and_the_next_port_is_found() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"--port {port}: cannot listen at 127.0.0.1"):
            listen("127.0.0.1", port)
    with listen("127.0.0.1", None) as one, listen("127.0.0.1", None) as other:
        assert one.getsockname()[1] < other.getsockname()[1]
    with pytest.raises(ConfigurationError, match="cannot listen at 192.0.2.1"):
        listen("192.0.2.1", 0)


def test_the_names_of_a_server() -> None:
    assert names_of("127.0.0.1", 80) >= {"127.0.0.1", "localhost", "127.0.0.1:80"}
    assert names_of("127.0.0.1", 9000) == {"127.0.0.1:9000", "localhost:9000", "[::1]:9000"}
    assert f"{socket.gethostname().lower()}:9000" in names_of("0.0.0.0", 9000)
    assert address_of("0.0.0.0", 9) == "http://127.0.0.1:9" and address_of("::1", 9) == "http://[::1]:9"


@pytest.mark.parametrize(
    "options, said",
    [
        ({"port": -1}, "--port: expected 0 to 65535"),
        ({"port": 70000}, "--port: expected 0 to 65535"),
        ({"host": "a b"}, "--host: expected an address"),
        ({"name": "a"}, "--name goes with --repeat"),
    ],
)
def test_wrong_options_are_refused(options, said) -> None:
    with pytest.raises(ConfigurationError, match=said):
        DashboardConfig(("run",), **options)


def test_one_selection_is_repeated_for_one_run(run, tmp_path) -> None:
    with pytest.raises(UserError, match="no such file"):
        run_recipe(run, repeat=str(tmp_path / "none.json"))


def test_a_file_in_place_of_a_record_is_refused(run) -> None:
    with pytest.raises(UserError):
        run_recipe(run, repeat=str(run / "config.json"))
