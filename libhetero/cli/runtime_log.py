"""What JAX's C++ runtime and compiler write: what ends a run, and what is of no use to a user. Read here alone.

Written for the coordination service of JAX 0.10 and 0.11, and checked with 0.10.2. The words are nobody's
promise. With a later version, start two processes, kill either, and compare stderr with the logs in
`tests/cli/test_runtime_log.py`. Where the words are others, nothing is lost but the one line: the log is
then passed on as it is.

The compiler, XLA, writes of compilations that take long and how to file a bug; a failure of its own reaches Python as
an error, and is told in one line. `Chatter` tells such lines from what else native code writes by the source file that
each names; what others say, as the driver of a GPU that cannot be used, is for people to read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

JAX_VERSIONS = ("0.10", "0.11")
_LOG_LINE = re.compile(r"^([IWEF])\d{4} [\d:.]+ +\d+ (\S+?):\d+\]")
_CONTINUED = (" ", "\t", "***", ":", "\n", "RPC:", "Additional GRPC", "The tasks have crashed")
_SERVICE = ("coordination_service", "preemption_", "client.h", "error_reporting", "distributed/")
_FATAL = "JAX distributed service detected fatal errors"
_SILENT = re.compile(r"stopped sending heartbeats\):\s*\n((?:.*?\b\d+\s*\n)+)")

_DATED = re.compile(r"^(?:([IWEF])\d{4} [\d:.]+ +\d+|\d{4}-\d\d-\d\d [\d:.]+: ([IWEF])) (\S+?):\d+\]")
# Passes, the choice of kernels by their speed, and the report of memory that did not suffice, which Python tells.
_COMPILER = re.compile(
    r"(?:.*/)?(?:slow_operation_alarm|hlo_\w+|\w*constant_folding|algebraic_simplifier|while_loop_\w+|spmd_\w+"
    r"|sharding_propagation|\w*_compiler|ptx_compiler\w*|subprocess_compilation|cpu_aot_loader"
    r"|\w*autotun\w*|\w+_algorithm_picker|buffer_comparator|redzone_\w+|\w*delay_kernel\w*|(?:cuda|gpu|rocm)_timer"
    r"|bfc_allocator)\.(?:cc|h)$"
)
_BEFORE = "WARNING: All log messages before absl::InitializeLog()"
_MORE = re.compile(
    r"\s|\*{3}|%|\[Compiling module|The operation took|Constant folding an instruction|This isn't necessarily a bug"
    r"|If you'd like to file a bug|Very slow compile|$"
)


class Chatter:
    """Tells, line after line, what the compiler says of itself from what people are to read.

    Its messages of every level but F, which ends the process, go with the lines that follow them. Messages of any other
    source file are not its own.
    """

    def __init__(self) -> None:
        self._within = False

    def takes(self, line: str) -> bool:
        """Return whether a line is the compiler's."""
        match = _DATED.match(line)
        if match:
            self._within = "F" not in (match[1], match[2]) and bool(_COMPILER.match(match[3]))
        elif self._within:
            self._within = bool(_MORE.match(line))
        return self._within or line.startswith(_BEFORE)


def follow(lines: Iterable[str], pass_on: Callable[[str], None]) -> tuple[str, str | None]:
    """Pass on what a process says, but keep back what the service says from its first word on.

    Parameters
    ----------
    lines : of its stderr, with their ends.
    pass_on : called with each line that is not the service's.

    Returns
    -------
    held : what the service said.
    reason : which process it lost, in words for a user; None if it lost none.
    """
    held: list[str] = []
    of_service = False
    for line in lines:
        match = _LOG_LINE.match(line)
        if match:
            of_service = any(name in match[2] for name in _SERVICE)
        elif not line.startswith(_CONTINUED):
            of_service = of_service and bool(re.match(r"\S*\d\s*$", line))
        if of_service:
            held.append(line)
        else:
            pass_on(line)
    text = "".join(held)
    return text, _loss(text)


def _loss(text: str) -> str | None:
    """Return which process the coordination service lost, from its log; None if it lost none."""
    if _FATAL not in text:
        return None
    found = _SILENT.search(text)
    if found:
        names = ", ".join(re.findall(r"\d+(?=\s*$)", found[1], re.MULTILINE))
        return f"process {names} has died or cannot be reached any more; its own messages may say why."
    if "DEADLINE_EXCEEDED" in text or "RegisterTask" in text or "Barrier" in text:
        return (
            "not all processes came together in time; start one with each --procid from 0 to --nprocs - 1, "
            "and see what the others say."
        )
    return "process 0, which holds the run together, has died or cannot be reached; its own messages may say why."
