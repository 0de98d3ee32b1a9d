"""How an address is answered: in a thread, as JSON or as raw numbers, and a refusal in one line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Shaped
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from libhetero.dashboard.refusals import Refusal, one_line_of, wrong
from libhetero.dashboard.security import LARGEST_BODY, BodyTooLarge
from libhetero.errors import UserError

LOGGER = logging.getLogger(__name__)
LONGEST = 2000  # letters of a message
Answer = Callable[[Request, Any], Any]


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line."""
    return " ".join(str(error).split())[:LONGEST]


def answering(answer: Answer, most: int | None = None) -> Callable[[Request], Any]:
    """Return an endpoint that answers in a thread of its own, and refuses in one line.

    Parameters
    ----------
    answer : called with the request and what its body holds, {} without one; gives JSON, or a whole response.
    most : threads that it may have at once, so that others are answered meanwhile; None for any number.
    """
    turn: Any = contextlib.nullcontext() if most is None else asyncio.Semaphore(most)

    async def endpoint(request: Request) -> Response:
        try:
            body = await _body(request) if request.method == "POST" else {}
            async with turn:
                found = await run_in_threadpool(answer, request, body)
        except Refusal as error:
            return JSONResponse({"error": one_line(error)}, error.status)
        except UserError as error:
            return JSONResponse({"error": one_line(error)}, 400)
        except BodyTooLarge:
            return JSONResponse({"error": f"a body of more than {LARGEST_BODY} bytes"}, 413)
        except Exception as error:  # of the machine, or a defect of ours: the page is told, and the log has all of it
            LOGGER.debug("%s %s", request.method, request.url.path, exc_info=True)
            return JSONResponse({"error": one_line_of(error)[:LONGEST]}, 500)
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
    """Return an array as its bytes, little-endian, with what it is in the headers X-Dtype, X-Count and X-NAME."""
    values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    told = {"x-dtype": values.dtype.name, "x-count": str(len(values))}
    told |= {f"x-{name}": str(value) for name, value in headers.items() if value is not None}
    return Response(values.tobytes(), media_type="application/octet-stream", headers=told)


def whole_number(text: str, what: str, otherwise: int | None = None) -> int:
    """Return a whole number of an address.

    Raises
    ------
    Refusal : for what is none.
    """
    if not text and otherwise is not None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 11):
        raise wrong(f"{what}: {text[:40]!r}; expected a whole number from 0")
    return int(text)
