"""Work spread over processes of this machine.

Processes are started afresh, not forked: JAX does not survive a fork. This module loads nothing
heavy, so that a new process can be told its number of threads before JAX is loaded.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from libhetero.errors import DataError

Work = Callable[[Any], Any]  # takes a step, returns its result
Pool = Callable[[Iterable[Any]], Iterator[Any]]  # takes steps, yields results as they come


@contextlib.contextmanager
def workers(work: Work, processes: int, environment: dict[str, str]) -> Iterator[Pool]:
    """Yield something that does steps of work: here for one process, else in processes of its own.

    They end with the context, at once when an error leaves it.

    Parameters
    ----------
    work : takes one step and returns its result; picklable, as are steps and results.
    processes : how many.
    environment : variables to set in the new processes before `work` reaches them.
    """
    if processes == 1:
        yield lambda steps: map(work, steps)
        return
    context = multiprocessing.get_context("spawn")
    payload, started = pickle.dumps(work), []
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            arguments = (theirs, payload, environment)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            started.append((process, ours))
        yield lambda steps: _spread(steps, started)
    finally:
        for process, connection in started:
            connection.close()
            process.terminate()
        for process, _ in started:
            process.join()


def _spread(steps: Iterable[Any], started: list[tuple[Any, Connection]]) -> Iterator[Any]:
    """Give each process a step whenever it is free; yield the results as they come."""
    steps, missing = iter(steps), object()
    process_of: dict[Any, Any] = {connection: process for process, connection in started}
    free, busy = list(process_of), set()
    while True:
        while free and (step := next(steps, missing)) is not missing:
            _send(free[-1], step, process_of[free[-1]])
            busy.add(free.pop())
        if not busy:
            return
        for connection in wait(list(busy)):
            result = _receive(connection, process_of[connection])
            busy.remove(connection)
            free.append(connection)
            yield result


def _send(connection: Connection, step: Any, process: Any) -> None:
    try:
        connection.send(step)
    except (BrokenPipeError, ConnectionResetError):
        raise _death(process) from None


def _receive(connection: Any, process: Any) -> Any:
    try:
        done, result = connection.recv()
    except (EOFError, ConnectionResetError):
        raise _death(process) from None
    if not done:
        raise result
    return result


def _death(process: Any) -> DataError:
    """Say how a process ended that should not have."""
    process.join()
    code = process.exitcode
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    hint = ", as when memory runs out: try fewer --processes" if code == -signal.SIGKILL else ""
    return DataError(f"a process at work {how}{hint}; the others were ended.")


def _serve(connection: Connection, payload: bytes, environment: dict[str, str]) -> None:
    """Do steps as they come, until the other end of the connection is closed."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; one answers it
    work = pickle.loads(payload)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            step = connection.recv()
            try:
                reply = True, work(step)
            except Exception as error:
                error.add_note("".join(traceback.format_exception(error)))
                reply = False, error
            connection.send(reply)
