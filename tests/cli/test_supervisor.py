"""Which processes have company, and need a parent that tells what ended their run."""

from argparse import Namespace

from libhetero.cli.supervisor import is_one_of_several


def test_who_has_company() -> None:
    alone = Namespace(coordinator=None, nprocs=None)
    assert not is_one_of_several(alone, {})
    assert not is_one_of_several(Namespace(), {"SLURM_STEP_NUM_TASKS": "4"}), "a program of one process"
    assert is_one_of_several(alone, {"SLURM_STEP_NUM_TASKS": "4"})
    assert is_one_of_several(Namespace(coordinator="a:1", nprocs=2), {})
    assert not is_one_of_several(Namespace(coordinator="a:1", nprocs=1), {})
