"""From the command line to a server that listens, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import getpass
import ipaddress
import logging
import os
import shlex
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from libhetero.dashboard.configuration import FIRST_PORT, LOOPBACK, TRIED, DashboardConfig
from libhetero.errors import ConfigurationError, UserError
from libhetero.files import absolute_path

MISSING = "the dashboard needs Starlette and uvicorn; install them with: pip install 'libhetero[dashboard]'"
LINGER = 2  # seconds that open connections are waited for in the end


def run(config: DashboardConfig, tell: Callable[[str], None] = lambda line: None) -> None:
    """Serve runs until Ctrl-C, or make one selection anew.

    Parameters
    ----------
    config : which runs, and to whom.
    tell : called with each line for the terminal.

    Raises
    ------
    UserError : one line on a folder that is no run, or an address that cannot be listened at.
    """
    from libhetero.dashboard.runs import CONFIG, ServedRuns, find_runs

    folders = find_runs(config.runs)
    watched = [Path(absolute_path(name)) for name in config.runs if not (Path(name) / CONFIG).is_file()]
    runs = ServedRuns(folders, watched)
    if config.repeat is not None:
        _repeat(config, runs, tell)
        return
    serve(config, runs, tell)


def _repeat(config: DashboardConfig, runs: Any, tell: Callable[[str], None]) -> None:
    from libhetero.dashboard.selections import FOLDER, again

    if len(runs) != 1:
        raise ConfigurationError(f"--repeat is of one run; got {len(runs)}. Name the one whose particles are chosen.")
    made = again(runs[0], Path(str(config.repeat)), config.name)
    tell(f"{made.name}: {made.count} particles\nwrote {runs[0].folder / FOLDER / made.name}/{made.files[0]}")


def serve(
    config: DashboardConfig,
    runs: Any,
    tell: Callable[[str], None],
    started: Callable[[Any, str], object] = lambda server, address: None,
) -> None:
    """Serve some runs until the server is told to stop.

    Parameters
    ----------
    runs : a `libhetero.dashboard.runs.ServedRuns`.
    tell : called with each line for the terminal.
    started : called with the uvicorn server before it listens, and the address with its token.
    """
    try:
        import uvicorn

        from libhetero.dashboard.app import Dashboard, application
    except ModuleNotFoundError as error:
        if error.name not in ("uvicorn", "starlette", "anyio", "h11"):
            raise
        raise UserError(f"{MISSING} (no {error.name})") from None
    from libhetero.dashboard.security import Gate, Tokens

    listening = listen(config.host, config.port)
    port = listening.getsockname()[1]
    address = address_of(config.host, port)
    tokens = Tokens(lambda token: tell(f"a browser is in; for another one: {address}/?token={token}"))
    dashboard = Dashboard(runs, config.readonly, lambda: server.should_exit)
    gate = Gate(application(dashboard), tokens, names_of(config.host, port), port, config.readonly)
    settings = uvicorn.Config(
        gate, log_level="error", access_log=False, server_header=False, ws="none", timeout_graceful_shutdown=LINGER
    )

    class Server(uvicorn.Server):
        """Ends what runs before it waits for what is being answered, as that may wait for a worker."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """End."""
            await asyncio.to_thread(dashboard.close)
            await super().shutdown(sockets)

    server = Server(settings)
    shown = f"{address}/?token={tokens.token}"
    for line in _greeting(config, runs, shown, port):
        tell(line)
    started(server, shown)
    if not config.nobrowser and _has_a_screen():
        webbrowser.open(shown)
    while_it_serves = _quiet_once(lambda: server.should_exit)
    try:
        with _ended_by_signals(server), while_it_serves:
            server.run(sockets=[listening])
        tell("stopped")
    finally:
        dashboard.close()
        listening.close()


@contextlib.contextmanager
def _quiet_once(ends: Callable[[], bool]) -> Iterator[None]:
    """Let the server say nothing once it ends: that pages which follow a run were cut off is no error."""
    logger = logging.getLogger("uvicorn.error")

    def told(record: logging.LogRecord) -> bool:
        return not ends()

    logger.addFilter(told)
    try:
        yield
    finally:
        logger.removeFilter(told)


@contextlib.contextmanager
def _ended_by_signals(server: Any) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a terminal that closes end the server, and no more than that: jobs are to be stopped.

    uvicorn raises the signals that have ended it once more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens at an address.

    Parameters
    ----------
    port : None for the first that is free of some.

    Raises
    ------
    ConfigurationError : if it cannot be listened at.
    """
    tried = range(FIRST_PORT, FIRST_PORT + TRIED) if port is None else (port,)
    reason = ""
    for one in tried:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            found = socket.socket(family, socket.SOCK_STREAM)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((host, one))
            found.listen(128)
            return found
        except OSError as error:
            found.close()
            reason = os.strerror(error.errno) if isinstance(error.errno, int) and error.errno > 0 else str(error)
            if error.errno != errno.EADDRINUSE:
                break
    where = f"--port {port}" if port is not None else f"ports {tried[0]} to {tried[-1]}"
    raise ConfigurationError(
        f"{where}: cannot listen at {host} ({reason}); expected an address of this machine and a port that is free. "
        "Choose others with --host and --port."
    )


def address_of(host: str, port: int) -> str:
    """Return the address by which a browser of this machine comes in."""
    if host in ("0.0.0.0", "::"):
        host = LOOPBACK
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def names_of(host: str, port: int) -> frozenset[str]:
    """Return the hosts by which a server may be called, as a browser writes them."""
    names = {LOOPBACK, "localhost", "[::1]", f"[{host}]" if ":" in host else host.lower()}
    if not _is_loopback(host):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        names |= {entry[4][0] for entry in _own_addresses()}
    return frozenset({f"{name}:{port}" for name in names} | ({*names} if port == 80 else set()))


def _own_addresses() -> list[Any]:
    try:
        return socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    except OSError:
        return []


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _greeting(config: DashboardConfig, runs: Any, shown: str, port: int) -> list[str]:
    names = ", ".join(run.name for run in runs.all()[:5]) + (f" and {len(runs) - 5} more" if len(runs) > 5 else "")
    lines = [f"{len(runs)} run(s): {names}" + (", to look at only" if config.readonly else ""), f"open {shown}"]
    if _is_loopback(config.host):
        machine = shlex.quote(f"{_user()}@{socket.gethostname()}")
        lines.append(f"from another machine: ssh -L {port}:{LOOPBACK}:{port} {machine}, and the same address there")
    else:
        lines.append(
            f"warning: whoever reaches {config.host} and has this address may look and run programs; nothing is "
            "encrypted. Safer: leave --host out, and ssh -L."
        )
    return [*lines, "stop with Ctrl-C"]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without a name, as in a container
        return "USER"


def _has_a_screen() -> bool:
    """Return whether a browser would appear before the user, and not in this terminal or on a far machine."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
