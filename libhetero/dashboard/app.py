"""Which address answers what: the whole interface between the server and its page; docs/dashboard.md lists it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import libhetero
from libhetero.dashboard import commands, compare, images, live, regions, selections, session, volumes
from libhetero.dashboard.answers import Answer, answering, one_line, plain, raw, whole_number
from libhetero.dashboard.columns import Columns, limits
from libhetero.dashboard.jobs import Jobs, Work
from libhetero.dashboard.refusals import Refusal, missing, wrong
from libhetero.dashboard.runs import ServedRun, ServedRuns
from libhetero.dashboard.security import QUIET_POLICY
from libhetero.dashboard.workers import Workers

STATIC = Path(__file__).parent / "static"
TEXT = "text/plain; charset=utf-8"
SHOWN_FILES = {
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".mrc": "application/octet-stream",
    ".hdf": "application/octet-stream",
    ".pdb": "chemical/x-pdb",
    ".cxc": TEXT,
    ".txt": TEXT,
    ".json": "application/json",
    ".lst": TEXT,
    ".star": TEXT,
    ".cs": "application/octet-stream",
    ".html": "text/html; charset=utf-8",
}
KEPT_AS_FILES = (".mrc", ".hdf", ".cs", ".lst", ".star", ".cxc", ".pdb")  # which a browser saves


class Dashboard:
    """What the server answers.

    Parameters
    ----------
    runs : that are shown.
    readonly : whether nothing is written into them.
    ends : whether the server is about to stop.
    """

    def __init__(self, runs: ServedRuns, readonly: bool = False, ends: Callable[[], bool] = lambda: False) -> None:
        self.runs, self.readonly = runs, readonly
        self.jobs, self.streams = Jobs(), live.Streams(ends)
        self.projections, self.decoder = images.Projections(), Workers()
        self._asking = threading.Lock()

    def close(self) -> None:
        """Stop all that runs."""
        self.jobs.close()
        self.projections.close()
        self.decoder.close()

    def run_numbered(self, number: Any) -> ServedRun:
        """Return a run by its number.

        Raises
        ------
        Refusal : for a number of none.
        """
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(self.runs):
            raise missing(f"run {str(number)[:20]}: there are {len(self.runs)}, from 0")
        return self.runs[number]

    def run_of(self, request: Request) -> ServedRun:
        """Return the run whose number stands in the address."""
        return self.run_numbered(request.path_params["run"])

    def columns_of(self, request: Request) -> Columns:
        """Return the columns of the run whose number stands in the address."""
        return Columns(self.run_of(request), keep=not self.readonly)

    # What runs are -------------------------------------------------------------------------

    def session(self, request: Request, body: Any) -> Any:
        """Tell of all runs."""
        told = {"version": libhetero.__version__, "readonly": self.readonly}
        return told | {"runs": [session.described(run) for run in self.runs.all()]}

    def list_columns(self, request: Request, body: Any) -> Any:
        """Tell of the columns of a run; with ?list=1 those of its list as well, which is read for it."""
        columns = self.columns_of(request)
        if request.query_params.get("list"):
            columns.run.particles()
        return [column.described() for column in columns.all().values()]

    def column(self, request: Request, body: Any) -> Any:
        """Give the values of a column."""
        columns, name = self.columns_of(request), request.query_params.get("name", "")
        if name.startswith("list/"):
            columns.run.particles()
        values = columns.values(name)
        low, high = limits(values)
        return raw(values, minimum=low, maximum=high)

    def categories(self, request: Request, body: Any) -> Any:
        """Give the names of a column's categories."""
        column = self.columns_of(request).column(request.query_params.get("name", ""))
        return [] if column.categories is None else column.categories()

    def images(self, request: Request, body: Any) -> Any:
        """Give images of particles, projections of the model, or what is left."""
        run, what = self.run_of(request), request.query_params.get("what", "image")
        if what not in images.KINDS:
            raise wrong(f"what: {what[:40]!r}; expected {', '.join(images.KINDS)}")
        rows = run.rows(_numbers(request.query_params.get("rows", "")), images.MOST)
        shown = images.stored_images(run, rows) if what == "image" else self.projections.images(run, rows, what)
        return raw(shown, shape=",".join(map(str, shown.shape)))

    def file(self, request: Request, body: Any) -> Any:
        """Give a file of a run."""
        run = self.run_of(request)
        path = run.inside(request.path_params.get("path") or request.query_params.get("path", ""))
        kind = SHOWN_FILES.get(path.suffix.lower())
        if kind is None or path.name.startswith("."):
            raise Refusal(403, f"{path.name}: a kind of file that is not shown; expected {', '.join(SHOWN_FILES)}")
        saved = path.suffix.lower() in KEPT_AS_FILES or bool(request.query_params.get("save"))
        return FileResponse(
            path,
            media_type=kind,
            headers={"content-security-policy": QUIET_POLICY},
            filename=path.name if saved else None,
            content_disposition_type="attachment" if saved else "inline",
        )

    # Training ------------------------------------------------------------------------------

    def log(self, request: Request, body: Any) -> Any:
        """Give lines of a run's log."""
        run, since = self.run_of(request), whole_number(request.query_params.get("since", ""), "since", 0)
        lines, count = run.lines(since)
        return {"lines": lines, "next": count, **run.state()}

    def events(self, request: Request, body: Any) -> Any:
        """Follow a run."""
        since = request.headers.get("last-event-id") or request.query_params.get("since", "")
        number = whole_number(since if since.isdigit() else "", "since", 0)
        return self.streams.response(live.of_run(self.run_of(request), number, plain))

    # Volumes and regions -------------------------------------------------------------------

    def make_volumes(self, request: Request, body: Any) -> Any:
        """Have volumes made, unless they are there."""
        run, columns = self.run_of(request), self.columns_of(request)
        wanted = volumes.wanted(run, columns, body)
        work = Work(
            "volumes",
            wanted.title,
            wanted.words,
            run.number,
            lambda: volumes.series_of(run, wanted.name),
            lambda job: self.decoder.evaluate(run, list(wanted.words), lambda said: self.jobs.note(job, said)),
            partial(self.decoder.close, run),
        )
        if not wanted.named and volumes.is_current(run, wanted.name):
            return self.jobs.done(work, work.result()).described()
        return self.jobs.add(work).described()

    def mixture(self, request: Request, body: Any) -> Any:
        """Give the Gaussians of a file."""
        run = self.run_of(request)
        path = run.inside(request.query_params.get("path", ""))
        if path.suffix != ".txt":
            raise wrong(f"{path.name}: expected a .txt of Gaussians")
        found = volumes.mixture(run, path)
        return raw(found, shape=",".join(map(str, found.shape)))

    def gaussians(self, request: Request, body: Any) -> Any:
        """Tell of a run's Gaussians."""
        found = regions.gaussians_of(self.run_of(request), request.query_params.get("segmentation"))
        return {"count": len(found), "columns": list(regions.COLUMNS), "units": list(regions.UNITS)}

    def raw_gaussians(self, request: Request, body: Any) -> Any:
        """Give a run's Gaussians."""
        found = regions.gaussians_of(self.run_of(request), request.query_params.get("segmentation"))
        return raw(found, shape=",".join(map(str, found.shape)))

    def regions(self, request: Request, body: Any) -> Any:
        """Tell of the regions of a segmentation."""
        return regions.described(self.run_of(request), request.query_params.get("segmentation"))

    def save_regions(self, request: Request, body: Any) -> Any:
        """Write regions that were changed by hand."""
        return regions.save(self.run_of(request), body)

    # Selections ----------------------------------------------------------------------------

    def save_selection(self, request: Request, body: Any) -> Any:
        """Write a selection."""
        run, columns = self.run_of(request), self.columns_of(request)
        rows, how = self._chosen(run, columns, body)
        made, name = body.get("made", ""), body.get("name")
        if not isinstance(made, str) or len(made) > 2000 or not isinstance(name, str):
            raise wrong("expected name, and made, a text of at most 2000 letters")
        saved = selections.save(run, name, rows, made, how, replace=body.get("replace") is True)
        urls = [f"/api/runs/{run.number}/file?path=selections/{name}/{one}" for one in saved.files]
        return {"name": name, "count": saved.count, "files": urls, "command": saved.command, "written": saved.written}

    def count_selection(self, request: Request, body: Any) -> Any:
        """Tell which particles an expression chooses, and write nothing."""
        rows, _ = self._chosen(self.run_of(request), self.columns_of(request), body)
        return {"count": len(rows), "rows": selections.text_of_rows(rows)}

    def _chosen(self, run: ServedRun, columns: Columns, body: Any) -> tuple[np.ndarray, dict[str, Any]]:
        how = body.get("how") or {}
        if not isinstance(how, dict):
            raise wrong("how: expected an object")
        if "rows" not in body:
            return np.flatnonzero(selections.chosen(run, columns, how)), how
        rows = selections.rows_of_text(body["rows"], run)
        try:
            same = np.array_equal(np.flatnonzero(selections.chosen(run, columns, how)), rows) if how else True
        except Refusal:  # as of more steps than an expression may have
            same = False
        return rows, how if same else {}  # what does not choose these repeats nothing

    def import_selection(self, request: Request, body: Any) -> Any:
        """Tell which particles a file of numbers names."""
        rows = selections.rows_of_file(self.run_of(request), request.query_params.get("file", "the file"), body)
        return {"count": len(rows), "rows": selections.text_of_rows(rows)}

    def rows_of_selection(self, request: Request, body: Any) -> Any:
        """Give the rows of a selection."""
        rows = selections.read_rows(self.run_of(request), request.path_params["name"])
        return raw(rows.astype(np.uint32))

    # Jobs ----------------------------------------------------------------------------------

    def _asked(self, body: Any) -> tuple[ServedRun, commands.Asked]:
        run = self.run_numbered(body.get("run"))
        selection, options = body.get("selection"), body.get("options")
        options = {} if options is None else options
        if not isinstance(options, dict) or not (selection is None or isinstance(selection, str)):
            raise wrong("expected run, kind, and if wanted selection, a name, and options, an object")
        return run, commands.command_for(run, str(body.get("kind")), selection, options, self.jobs.making())

    def command(self, request: Request, body: Any) -> Any:
        """Tell the command for what is asked for."""
        return commands.described(self._asked(body)[1])

    def start_job(self, request: Request, body: Any) -> Any:
        """Run the command for what is asked for."""
        with self._asking:  # so that two who ask at once get two folders
            run, asked = self._asked(body)
            made = partial(_made, run, asked)
            job = self.jobs.add(Work(asked.kind, asked.title, asked.words, run.number, made, makes=asked.makes))
        if asked.kind == "train" and asked.makes is not None:
            self.runs.expect(asked.makes)
        return job.described()

    def list_jobs(self, request: Request, body: Any) -> Any:
        """Tell of all jobs."""
        return [job.described() for job in self.jobs.all()]

    def job(self, request: Request, body: Any) -> Any:
        """Tell of a job."""
        return self.jobs.job(request.path_params["job"]).described()

    def job_log(self, request: Request, body: Any) -> Any:
        """Give lines of a job's log."""
        since = whole_number(request.query_params.get("since", ""), "since", 0)
        return self.jobs.job(request.path_params["job"]).log(since)

    def cancel_job(self, request: Request, body: Any) -> Any:
        """Stop a job."""
        return self.jobs.cancel(request.path_params["job"]).described()

    def job_events(self, request: Request, body: Any) -> Any:
        """Follow all jobs."""
        return self.streams.response(live.of_jobs(self.jobs))

    # Two runs ------------------------------------------------------------------------------

    def _pair(self, request: Request) -> tuple[Columns, Columns]:
        numbers = [whole_number(one, "runs") for one in request.query_params.get("runs", "").split(",")]
        if len(numbers) != 2:
            raise wrong("runs: expected two numbers, such as 0,1")
        first, second = (Columns(self.run_numbered(one), keep=not self.readonly) for one in numbers)
        return first, second

    def compare(self, request: Request, body: Any) -> Any:
        """Tell how far two runs agree."""
        return compare.comparison(self._pair(request))

    def compared_rows(self, request: Request, body: Any) -> Any:
        """Give the row of the second run that each particle of the first is in."""
        first, second = self._pair(request)
        return raw(compare.matched_rows(first.run, second.run).astype(np.int32))

    def routes(self) -> list[Any]:
        """Return every address and what answers it."""
        return [
            *(Route(f"/api{path}", answering(answer), methods=["GET"]) for path, answer in self._looked_at().items()),
            Route("/api/runs/{run:int}/images", answering(self.images, images.AT_ONCE), methods=["GET"]),
            *(Route(f"/api{path}", answering(answer), methods=["POST"]) for path, answer in self._done().items()),
            Route("/api/jobs/{job:int}", answering(self.cancel_job), methods=["DELETE"]),
            Route("/runs/{run:int}/files/{path:path}", answering(self.file)),
        ]

    def _looked_at(self) -> dict[str, Answer]:
        run = "/runs/{run:int}"
        return {
            "/session": self.session,
            f"{run}/columns": self.list_columns,
            f"{run}/column": self.column,
            f"{run}/categories": self.categories,
            f"{run}/log": self.log,
            f"{run}/events": self.events,
            f"{run}/file": self.file,
            f"{run}/mixture": self.mixture,
            f"{run}/gaussians": self.gaussians,
            f"{run}/gaussians/raw": self.raw_gaussians,
            f"{run}/regions": self.regions,
            run + "/selections/{name}/rows": self.rows_of_selection,
            "/jobs": self.list_jobs,
            "/jobs/{job:int}": self.job,
            "/jobs/{job:int}/log": self.job_log,
            "/events": self.job_events,
            "/compare": self.compare,
            "/compare/rows": self.compared_rows,
        }

    def _done(self) -> dict[str, Answer]:
        run = "/runs/{run:int}"
        return {
            f"{run}/volumes": self.make_volumes,
            f"{run}/regions": self.save_regions,
            f"{run}/selections": self.save_selection,
            f"{run}/selections/count": self.count_selection,
            f"{run}/selections/import": self.import_selection,
            "/commands": self.command,
            "/jobs": self.start_job,
        }


def _made(run: ServedRun, asked: commands.Asked) -> dict[str, Any]:
    """Return what the page is told of what a command has made: a map by its address, a run by its name."""
    if asked.makes is None:
        return {}
    if asked.makes.is_relative_to(run.folder):
        return {"url": f"/api/runs/{run.number}/file?path={quote(str(asked.makes.relative_to(run.folder)))}"}
    return {"run": asked.makes.name}


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if len(parts) > images.MOST:
        raise wrong(f"rows: {len(parts)} particles; expected at most {images.MOST} at a time")
    return [whole_number(part, "rows") for part in parts]


def application(dashboard: Dashboard) -> Starlette:
    """Return the application that answers with what a dashboard knows, and with its page."""

    async def nowhere(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        return JSONResponse({"error": f"{request.method} {request.url.path[:200]}: no such address"}, status)

    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": f"a defect of the program: {type(error).__name__}: {one_line(error)}"}, 500)

    static: Any = StaticFiles(directory=STATIC, html=True) if STATIC.is_dir() else _no_page
    routes = [*dashboard.routes(), Mount("/", static)]
    return Starlette(routes=routes, exception_handlers={404: nowhere, 405: nowhere, 500: failed})


async def _no_page(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("The page is not installed.", 404)(scope, receive, send)
