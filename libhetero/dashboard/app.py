"""Which address answers what: the whole interface between the server and its page; docs/dashboard.md lists it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import libhetero
from libhetero.dashboard import images, selections
from libhetero.dashboard.columns import Columns, embeddings_of, limits, segmentations_of
from libhetero.dashboard.refusals import Refusal, missing, wrong
from libhetero.dashboard.runs import ServedRun
from libhetero.dashboard.security import LARGEST_BODY, QUIET_POLICY, BodyTooLarge
from libhetero.errors import UserError

LOGGER = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"
SHOWN_FILES = {
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".mrc": "application/octet-stream",
    ".pdb": "chemical/x-pdb",
    ".cxc": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".lst": "text/plain; charset=utf-8",
    ".star": "text/plain; charset=utf-8",
    ".cs": "application/octet-stream",
    ".html": "text/html; charset=utf-8",
}
KEPT_AS_FILES = (".mrc", ".cs", ".lst", ".star", ".cxc", ".pdb")  # which a browser saves
Answer = Callable[[Request, Any], Any]


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line."""
    return " ".join(str(error).split())[:2000]


def answering(answer: Answer) -> Callable[[Request], Any]:
    """Return an endpoint that answers in a thread of its own, and refuses in one line.

    Parameters
    ----------
    answer : called with the request and the JSON of its body, None without one; gives JSON, or a whole response.
    """

    async def endpoint(request: Request) -> Response:
        try:
            body = await _body(request) if request.method == "POST" else None
            found = await run_in_threadpool(answer, request, body)
        except Refusal as error:
            return JSONResponse({"error": one_line(error)}, error.status)
        except UserError as error:
            return JSONResponse({"error": one_line(error)}, 400)
        except BodyTooLarge:
            return JSONResponse({"error": f"a body of more than {LARGEST_BODY} bytes"}, 413)
        return found if isinstance(found, Response) else JSONResponse(plain(found))

    return endpoint


async def _body(request: Request) -> Any:
    data = await request.body()
    if request.url.path.endswith("/import"):
        return data
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise wrong("expected a body of application/json")
    try:
        value = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise wrong("expected a body of JSON") from None
    if not isinstance(value, dict):
        raise wrong("expected a JSON object")
    return value


def _no_number(name: str) -> float:
    raise ValueError(name)


def plain(value: Any) -> Any:
    """Return what JSON holds in place of a value: numbers that are not finite are null."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def raw(values: Shaped[np.ndarray, "..."], **headers: Any) -> Response:
    """Return an array as its bytes, little-endian, with what it is in the headers."""
    values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    told = {"x-dtype": values.dtype.name, "x-count": str(len(values))}
    told |= {f"x-{name}": str(value) for name, value in headers.items()}
    return Response(values.tobytes(), media_type="application/octet-stream", headers=told)


class Dashboard:
    """What the server answers.

    Parameters
    ----------
    runs : that are shown, by number.
    readonly : whether nothing is written into them.
    """

    def __init__(self, runs: list[ServedRun], readonly: bool = False) -> None:
        self.runs, self.readonly = runs, readonly
        self.columns = [Columns(run, keep=not readonly) for run in runs]

    def run_of(self, request: Request) -> ServedRun:
        """Return the run whose number stands in the address.

        Raises
        ------
        Refusal : for a number of none.
        """
        number = request.path_params["run"]
        if number >= len(self.runs):
            raise missing(f"run {number}: there are {len(self.runs)}, from 0")
        return self.runs[number]

    def columns_of(self, request: Request) -> Columns:
        """Return the columns of the run whose number stands in the address."""
        return self.columns[self.run_of(request).number]

    def session(self, request: Request, body: Any) -> Any:
        """Tell of all runs."""
        told = {"version": libhetero.__version__, "readonly": self.readonly}
        return told | {"runs": [_described(run) for run in self.runs]}

    def list_columns(self, request: Request, body: Any) -> Any:
        """Tell of the columns of a run."""
        return [column.described() for column in self.columns_of(request).all().values()]

    def column(self, request: Request, body: Any) -> Any:
        """Give the values of a column."""
        column = self.columns_of(request).column(request.query_params.get("name", ""))
        values = column.values()
        low, high = limits(values)
        return raw(values, minimum=low, maximum=high)

    def images(self, request: Request, body: Any) -> Any:
        """Give images of particles."""
        run, what = self.run_of(request), request.query_params.get("what", "image")
        if what not in images.KINDS:
            raise wrong(f"what: {what[:40]!r}; expected {', '.join(images.KINDS)}")
        rows = run.rows(_numbers(request.query_params.get("rows", "")), images.MOST)
        found = images.stored_images(run, rows)
        return raw(found, shape=",".join(map(str, found.shape)))

    def file(self, request: Request, body: Any) -> Any:
        """Give a file of a run."""
        run = self.run_of(request)
        name = request.path_params.get("path") or request.query_params.get("path", "")
        path = run.inside(name)
        kind = SHOWN_FILES.get(path.suffix.lower())
        if kind is None or path.name.startswith("."):
            raise Refusal(403, f"{path.name}: a kind of file that is not shown; expected {', '.join(SHOWN_FILES)}")
        headers = {"content-security-policy": QUIET_POLICY}
        saved = path.suffix.lower() in KEPT_AS_FILES
        return FileResponse(
            path,
            media_type=kind,
            headers=headers,
            filename=path.name if saved else None,
            content_disposition_type="attachment" if saved else "inline",
        )

    def rows_of_selection(self, request: Request, body: Any) -> Any:
        """Give the rows of a selection."""
        rows = selections.read_rows(self.run_of(request), request.path_params["name"])
        return raw(rows.astype(np.uint32))

    def routes(self) -> list[Any]:
        """Return every address and what answers it."""

        def at(path: str, answer: Answer, method: str = "GET") -> Route:
            return Route(f"/api{path}", answering(answer), methods=[method])

        return [
            at("/session", self.session),
            at("/runs/{run:int}/columns", self.list_columns),
            at("/runs/{run:int}/column", self.column),
            at("/runs/{run:int}/images", self.images),
            at("/runs/{run:int}/file", self.file),
            at("/runs/{run:int}/selections/{name}/rows", self.rows_of_selection),
            Route("/runs/{run:int}/files/{path:path}", answering(self.file)),
        ]


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if len(parts) > 10 * images.MOST or not all(part.isascii() and part.isdigit() and len(part) < 11 for part in parts):
        raise wrong("rows: expected particles by their row from 0, such as 0,5,9")
    return [int(part) for part in parts]


def _described(run: ServedRun) -> dict[str, Any]:
    """Return what the page is told of a run; what cannot be read is a warning."""
    told: dict[str, Any] = {"run": run.number, "name": run.name, "folder": str(run.folder), "warnings": []}
    told |= {"family": "", "state": "empty", "epoch": 0.0, "epochs": 0, "particles": 0, "box": None, "apix": None}
    told |= {"latent": 0, "embeddings": [], "segmentations": [], "volumes": [], "selections": []}
    for part in (_what, _where, _found):
        try:
            told |= part(run)
        except (UserError, OSError) as error:
            told["warnings"].append(one_line(error))
    return told


def _what(run: ServedRun) -> dict[str, Any]:
    grid = run.grid()
    told = {"family": run.config.family, "particles": run.count}
    return told | ({} if grid is None else {"box": grid[0], "apix": grid[1]})


def _where(run: ServedRun) -> dict[str, Any]:
    return run.state()


def _found(run: ServedRun) -> dict[str, Any]:
    from libhetero.dashboard.tables import columns_of

    embeddings = [
        {
            "name": name,
            "columns": [f"{name}/x", f"{name}/y"] if (folder / "embed_particles.txt").is_file() else [],
            "kind": "pca" if "pca" in name else "umap",
            "classes": (folder / "classes_particles.txt").is_file(),
        }
        for name, folder in embeddings_of(run)
    ]
    made = [{"name": one.name, "count": one.count, "made": one.made} for one in selections.selections_of(run)]
    return {
        "latent": columns_of(run.folder / "mid_00.txt"),
        "embeddings": embeddings,
        "segmentations": [{"name": name, "regions": _regions(folder)} for name, folder in segmentations_of(run)],
        "selections": made,
    }


def _regions(folder: Path) -> int:
    from libhetero.pipelines.regions.record import read_record

    record = read_record(folder)
    return 0 if record is None else record.count


def application(dashboard: Dashboard) -> Starlette:
    """Return the application that answers with what a dashboard knows, and with its page."""

    async def nowhere(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        return JSONResponse({"error": f"{request.method} {request.url.path[:200]}: no such address"}, status)

    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": f"a defect of the program: {type(error).__name__}: {one_line(error)}"}, 500)

    static: Any = StaticFiles(directory=STATIC, html=True, check_dir=False) if STATIC.is_dir() else _no_page
    routes = [*dashboard.routes(), Mount("/", static)]
    return Starlette(routes=routes, exception_handlers={404: nowhere, 405: nowhere, 500: failed})


async def _no_page(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("The page is not installed.", 404)(scope, receive, send)
