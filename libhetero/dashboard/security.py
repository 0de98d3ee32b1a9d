"""Who may ask, and what the page may load: everything that stands between the network and the runs.

A browser shows the token once, in the address that the terminal prints, and gets a cookie for it that no script can
read and no other site can send. Every other request needs this cookie. A request is refused, too, where

- its Host is none of this server's names: another name that leads here is another site's (DNS rebinding);
- it changes something and its Origin is not this server: another site's page has sent it;
- it changes something, and only looking is allowed;
- its body is larger than any that is expected.

What is answered says that nothing may be loaded from elsewhere (Content-Security-Policy), nor shown within another
site's page. The address binds to this machine alone unless `--host` says otherwise; there is no encryption, so that
over a network an `ssh -L` tunnel is the way.
"""

from __future__ import annotations

import html
import json
import secrets
import threading
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = dict[str, Any]
Message = dict[str, Any]
LARGEST_BODY = 64 * 2**20  # bytes: the rows of twelve million particles, as base64
SAFE = ("GET", "HEAD")
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Pages and drawings of a run: shown as they are, and nothing of them is executed.
QUIET_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; sandbox allow-same-origin; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "SAMEORIGIN",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
# What is asked with POST and yet changes nothing.
READING = ("/api/commands", "/selections/import", "/selections/count")


class Tokens:
    """The token that the next browser shows, and the cookies of those that have shown theirs.

    Parameters
    ----------
    announced : called with a new token whenever the one before was used.
    """

    def __init__(self, announced: Callable[[str], object] = lambda token: None) -> None:
        self._announced = announced
        self._lock = threading.Lock()
        self._cookies: set[str] = set()
        self.token = secrets.token_urlsafe(32)

    def exchange(self, token: str) -> str | None:
        """Return a cookie for the token, which is used up; None for a wrong one."""
        with self._lock:
            if not secrets.compare_digest(token.encode(), self.token.encode()):
                return None
            self.token, cookie = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
            self._cookies.add(cookie)
        self._announced(self.token)
        return cookie

    def knows(self, cookie: str) -> bool:
        """Return whether a cookie is of a browser that has shown its token."""
        return any(secrets.compare_digest(cookie.encode(), one.encode()) for one in tuple(self._cookies))


class Gate:
    """The door of the server: what it lets in goes on to the application.

    Parameters
    ----------
    app : what answers, an ASGI application.
    tokens : who may come in.
    names : hosts by which this server may be called, with their port.
    port : that it listens at, which names the cookie: those of one machine share what their browsers keep.
    readonly : whether nothing may be changed.
    """

    def __init__(
        self, app: Callable[..., Any], tokens: Tokens, names: frozenset[str], port: int, readonly: bool = False
    ) -> None:
        self._app, self._tokens, self._names, self._readonly = app, tokens, names, readonly
        self._cookie = f"libhetero_{port}"

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope, headers)
        if refused is not None:
            await _answer(send, scope, *refused)
            return
        token = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        known = self._known(headers.get("cookie", ""))
        if token and scope["path"] == "/" and scope["method"] == "GET":
            cookie = None if known else self._tokens.exchange(token)
            if known or cookie is not None:
                await self._redirect(send, cookie)
                return
            await _answer(send, scope, 403, "wrong token: it was used already, or is of another server")
            return
        if not known:
            await _answer(send, scope, 403, "no token: open the address that e2hype_dashboard.py has printed")
            return
        await self._app(scope, _limited(receive), _with_headers(send))

    def _refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return status and reason where a request is refused whoever asks."""
        host = headers.get("host", "").lower()
        if host not in self._names:
            return 403, f"host {host!r}: this server is {', '.join(sorted(self._names))}"
        if scope["method"] in SAFE:
            return None
        if headers.get("origin", "") != f"http://{host}":
            return 403, f"origin {headers.get('origin', 'none')!r}: expected http://{host}, the page of this server"
        if self._readonly and not scope["path"].endswith(READING):
            return 403, "read-only: started with --readonly, nothing is written and no program is started"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return 413, f"a body of {length} bytes; expected at most {LARGEST_BODY}"
        return None

    def _known(self, text: str) -> bool:
        """Return whether a Cookie header holds one that was given out."""
        try:
            found = SimpleCookie(text).get(self._cookie)
        except CookieError:
            return False
        return found is not None and self._tokens.knows(found.value)

    async def _redirect(self, send: Any, cookie: str | None) -> None:
        headers = [(b"location", b"/"), (b"content-length", b"0"), (b"cache-control", b"no-store")]
        if cookie is not None:
            value = f"{self._cookie}={cookie}; Path=/; HttpOnly; SameSite=Strict"
            headers.append((b"set-cookie", value.encode()))
        headers += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


class BodyTooLarge(Exception):
    """A body that goes on beyond what is expected, whatever its header said."""


def _limited(receive: Any) -> Any:
    """Return what receives a body and ends where it is too large."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_BODY:
            raise BodyTooLarge
        return message

    return limited


def _with_headers(send: Any) -> Any:
    """Return what sends an answer with the headers of all answers; those that it has itself stay."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message["headers"]}
            added = HEADERS | {"content-security-policy": POLICY, "cache-control": "no-store"}
            message["headers"] = [
                *message["headers"],
                *((name.encode(), value.encode()) for name, value in added.items() if name.encode() not in own),
            ]
        await send(message)

    return sending


async def _answer(send: Any, scope: Scope, status: int, reason: str) -> None:
    """Refuse in one line: JSON for the page, a page for people."""
    if scope["path"].startswith("/api/"):
        kind, body = "application/json", json.dumps({"error": reason}).encode()
    else:
        kind = "text/html; charset=utf-8"
        body = (
            "<!doctype html><html lang=en><title>libhetero</title><body style='font-family:sans-serif;margin:4em'>"
            f"<h1>Not allowed</h1><p>{html.escape(reason)}.</p><p>Each address with a token opens one browser; the "
            "terminal in which e2hype_dashboard.py runs shows the one for the next.</p>"
        ).encode()
    headers = HEADERS | {
        "content-type": kind,
        "content-length": str(len(body)),
        "content-security-policy": QUIET_POLICY,
        "cache-control": "no-store",
    }
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
