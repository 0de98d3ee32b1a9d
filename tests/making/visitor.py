"""A browser without a window: asks a dashboard over the network, with its cookie, and keeps to what browsers send."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from libhetero.dashboard.configuration import DashboardConfig
from libhetero.dashboard.recipe import serve
from libhetero.dashboard.runs import ServedRuns

PATIENCE = 120.0  # seconds that anything may take


class Said:
    """An answer.

    Parameters
    ----------
    status : of HTTP.
    headers : by their names in small letters.
    body : as sent.
    """

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def array(self) -> np.ndarray:
        """The body as numbers, of the kind and shape that the headers say."""
        values = np.frombuffer(self.body, self.headers["x-dtype"])
        shape = self.headers.get("x-shape")
        return values if shape is None else values.reshape([int(part) for part in shape.split(",")])


class Visitor:
    """Asks one server.

    Parameters
    ----------
    address : with the token, as the server tells it.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.host, self.token_path, self.cookie = parts.netloc, f"{parts.path}?{parts.query}", ""
        self.told: list[str] = []

    def enter(self) -> Said:
        """Show the token, and keep the cookie."""
        said = self.ask("GET", self.token_path)
        self.cookie = said.headers.get("set-cookie", "").split(";")[0]
        return said

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Said:
        """Ask with these headers in place of those that a browser sends; "" leaves one out."""
        usual = {"Host": self.host, "Cookie": self.cookie}
        if method not in ("GET", "HEAD"):
            usual |= {"Origin": f"http://{self.host}", "Content-Type": "application/json"}
        usual |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in usual.items():
                if value:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Said(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Said:
        """Look at something."""
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Said:
        """Send JSON."""
        return self.ask("POST", path, json.dumps(body).encode(), **headers)

    def ended(self, job: int) -> dict[str, Any]:
        """Wait until a job has ended; return what is told of it."""
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            told = self.get(f"/api/jobs/{job}").json
            if told["state"] not in ("queued", "running"):
                return told
            time.sleep(0.05)
        raise TimeoutError(str(told))

    @contextmanager
    def following(self, path: str) -> Iterator[Iterator[tuple[str, str, Any]]]:
        """Follow a stream of events; each is its name, its number and its JSON."""
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        connection.request("GET", path, headers={"Host": self.host, "Cookie": self.cookie})
        answer = connection.getresponse()

        def events() -> Iterator[tuple[str, str, Any]]:
            held: dict[str, str] = {}
            for line in answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    held[name] = value
                elif "event" in held:
                    yield held["event"], held.get("id", ""), json.loads(held["data"])
                    held = {}

        try:
            yield events()
        finally:
            connection.sock.close() if connection.sock else None
            answer.close()
            connection.close()


@contextmanager
def visited(folders: Sequence[Path], watched: Sequence[Path] = (), **options: Any) -> Iterator[Visitor]:
    """Serve some runs in a thread, and those that appear in watched folders; yield a visitor that has no cookie yet."""
    begun: dict[str, Any] = {}
    ready = threading.Event()
    told: list[str] = []

    def started(server: Any, address: str) -> None:
        begun.update(server=server, address=address)
        ready.set()

    config = DashboardConfig(tuple(map(str, folders)), port=0, nobrowser=True, **options)
    thread = threading.Thread(
        target=serve, args=(config, ServedRuns(folders, watched), told.append, started), daemon=True
    )
    thread.start()
    if not ready.wait(PATIENCE):
        raise TimeoutError("the server did not start")
    visitor = Visitor(begun["address"])
    visitor.told = told
    try:
        yield visitor
    finally:
        begun["server"].should_exit = True
        thread.join(PATIENCE)
        if thread.is_alive():
            raise TimeoutError("the server did not end")
