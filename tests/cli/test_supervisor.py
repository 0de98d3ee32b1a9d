"""What ended the run of several processes, read from the log of JAX's coordination service."""

import io
from argparse import Namespace

from libhetero.cli.supervisor import _pass_on, describe_loss, is_one_of_several

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


def test_the_process_that_went_silent_is_named() -> None:
    assert describe_loss(SILENT).startswith("process 1 has died")
    assert describe_loss(SILENT.replace("\n1\n", "\n1\n12\n")).startswith("process 1, 12 has died")


def test_the_loss_of_process_0_is_named() -> None:
    assert describe_loss(GONE).startswith("process 0, which holds the run together, has died")


def test_other_failures_are_not_explained_away() -> None:
    assert describe_loss("F1126 11:37:43.010661   31232 buffer.cc:80] Check failed: size > 0\n") is None


def test_only_what_the_service_says_is_kept_back(capsys) -> None:
    held = _pass_on(io.StringIO("a warning\n" + SILENT + "Traceback (most recent call last):\n"))
    assert held == SILENT
    assert capsys.readouterr().err == "a warning\nTraceback (most recent call last):\n"


def test_who_has_company() -> None:
    alone = Namespace(coordinator=None, nprocs=None)
    assert not is_one_of_several(alone, {})
    assert not is_one_of_several(Namespace(), {"SLURM_STEP_NUM_TASKS": "4"}), "a program of one process"
    assert is_one_of_several(alone, {"SLURM_STEP_NUM_TASKS": "4"})
    assert is_one_of_several(Namespace(coordinator="a:1", nprocs=2), {})
    assert not is_one_of_several(Namespace(coordinator="a:1", nprocs=1), {})
