"""What changes while a page looks: lines of a log, the state of a run, its samples; and the jobs. Server-sent events.

A stream looks at the files a few times a second, which costs less than it is to be told by every file system there is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from libhetero.dashboard.jobs import Jobs
from libhetero.dashboard.refusals import Refusal
from libhetero.dashboard.runs import ServedRun, stamp_of
from libhetero.errors import UserError

EVERY = 0.5  # seconds
SILENT = 15.0  # seconds after which a word is sent, so that what lies between keeps the connection
MOST = 64  # streams at a time
MOST_LINES = 2000  # of a log in one event


class Streams:
    """The streams that are open.

    Parameters
    ----------
    ends : whether the server is about to stop.
    """

    def __init__(self, ends: Callable[[], bool] = lambda: False) -> None:
        self.ends = ends
        self.count = 0

    def response(self, changes: Callable[[], list[tuple[str, str, Any]]]) -> StreamingResponse:
        """Return a stream of what changes.

        Parameters
        ----------
        changes : gives what is new since it was asked last: name of the event, its number or "", and its JSON.

        Raises
        ------
        Refusal : 503 where too many are open.
        """
        if self.count >= MOST:
            raise Refusal(503, f"{MOST} pages look on already; close one of them")
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._events(changes), media_type="text/event-stream", headers=headers)

    async def _events(self, changes: Callable[[], list[tuple[str, str, Any]]]) -> AsyncIterator[str]:
        self.count += 1
        silent = SILENT
        try:
            while not self.ends():
                for name, number, value in await run_in_threadpool(changes):
                    silent = 0.0
                    identity = f"id: {number}\n" if number else ""
                    yield f"event: {name}\n{identity}data: {json.dumps(value)}\n\n"
                if silent >= SILENT:
                    silent = 0.0
                    yield ": looking\n\n"
                await asyncio.sleep(EVERY)
                silent += EVERY
        finally:
            self.count -= 1


def of_run(run: ServedRun, since: int, plain: Callable[[Any], Any]) -> Callable[[], list[tuple[str, str, Any]]]:
    """Return what tells of a run: "state" (with `state`, `epoch`, `epochs`), "log" (a line) and "samples".

    Parameters
    ----------
    since : the first line that is told.
    plain : makes JSON of a value.
    """
    seen: dict[str, Any] = {"next": since, "state": None, "samples": stamp_of(run.folder / "samples.png")}

    def changes() -> list[tuple[str, str, Any]]:
        found: list[tuple[str, str, Any]] = []
        try:
            state, (lines, count) = run.state(), run.lines(seen["next"])
        except (UserError, OSError) as error:
            return [("warning", "", {"error": str(error)})] if seen["state"] is not None else []
        if state != seen["state"]:
            seen["state"] = state
            found.append(("state", "", plain(state)))
        first = count - len(lines)
        if lines and first < seen["next"]:  # taken up again at an earlier step
            found.append(("restart", "", {}))
        found += [("log", str(first + place + 1), plain(line)) for place, line in enumerate(lines[:MOST_LINES])]
        seen["next"] = first + min(len(lines), MOST_LINES)
        samples = stamp_of(run.folder / "samples.png")
        if samples != seen["samples"]:
            seen["samples"] = samples
            url = f"/api/runs/{run.number}/file?path=samples.png&v={samples[1] if samples else 0}"
            found.append(("samples", "", {"url": url}))
        return found

    return changes


def of_jobs(jobs: Jobs) -> Callable[[], list[tuple[str, str, Any]]]:
    """Return what tells of the jobs: "jobs", all of them, whenever something of one changes."""
    seen = -1

    def changes() -> list[tuple[str, str, Any]]:
        nonlocal seen
        if jobs.version == seen:
            return []
        seen = jobs.version
        return [("jobs", "", [job.described() for job in jobs.all()])]

    return changes
