"""What ended the run of several processes, read from the log of JAX's coordination service."""

from importlib.metadata import version

from libhetero.cli.runtime_log import JAX_VERSIONS, follow

SILENT = """\
E1126 11:37:38.513262   30830 coordination_service.cc:1549] [17959586243567237985] Use error polling to propagate the following error to all tasks: UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):
1
The tasks have crashed. Check the task logs for an earlier error, or scheduler events (e.g. preemption, eviction) to debug further. [type.googleapis.com/tensorflow.CoordinationServiceError='']
F1126 11:37:38.513786   30841 client.h:80] Terminating process because the JAX distributed service detected fatal errors. absl::Status: UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):
1

RPC: /xla.coordination.CoordinationService/PollForError [type.googleapis.com/tensorflow.CoordinationServiceError='']
*** Check failure stack trace: ***
    @     0x7f28c5a40634  absl::lts_20260107::log_internal::LogMessage::SendToLog()
"""
GONE = """\
F1126 11:37:43.010661   31232 client.h:80] Terminating process because the JAX distributed service detected fatal errors. absl::Status: UNAVAILABLE: Failed to send RPC to coordination service.
Additional GRPC error information from remote target coordination_service while calling /xla.coordination.CoordinationService/PollForError:
:UNKNOWN:Error received from peer  {grpc_status:14, grpc_message:"Socket closed"}
"""


def _reason(text: str) -> str | None:
    return follow(text.splitlines(keepends=True), lambda line: None)[1]


def test_the_words_are_those_of_this_jax() -> None:
    assert version("jax").startswith(tuple(f"{known}." for known in JAX_VERSIONS)), "check the words; see the module"


def test_the_process_that_went_silent_is_named() -> None:
    assert _reason(SILENT).startswith("process 1 has died")
    assert _reason(SILENT.replace("\n1\n", "\n1\n12\n")).startswith("process 1, 12 has died")


def test_the_loss_of_process_0_is_named() -> None:
    assert _reason(GONE).startswith("process 0, which holds the run together, has died")


def test_other_failures_are_not_explained_away() -> None:
    assert _reason("F1126 11:37:43.010661   31232 buffer.cc:80] Check failed: size > 0\n") is None


def test_only_what_the_service_says_is_kept_back() -> None:
    passed: list[str] = []
    text = "a warning\n" + SILENT + "Traceback (most recent call last):\n"
    held, reason = follow(text.splitlines(keepends=True), passed.append)
    assert held == SILENT
    assert passed == ["a warning\n", "Traceback (most recent call last):\n"]
    assert reason is not None
