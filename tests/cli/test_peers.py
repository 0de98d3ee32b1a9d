"""What users of other programs type is answered with what it is called here, and ours exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from libhetero.cli.peers import ELSEWHERE, INPUT, NO_NEED, OUTPUT, PEERS

PROGRAMS = Path(__file__).resolve().parents[2] / "programs"


@pytest.mark.parametrize(
    ("program", "command", "hint"),
    [
        ("e2hype_refine.py", "particles.star --zdim 8", "--zdim 8 (here it is --nmid)"),
        ("e2hype_refine.py", "particles.star -n 50", "(here it is --niter)"),
        ("e2hype_refine.py", "particles.star --angpix=1.2", "(here it is --apix)"),
        ("e2hype_refine.py", "--i particles.star --o run", "(leave --i out: what is read is named without a flag)"),
        ("e2hype_refine.py", "particles.star --o run", "(here it is --path)"),
        ("e2hype_refine.py", "particles.star --gpu 0", "CUDA_VISIBLE_DEVICES"),
        ("e2hype_make3d.py", "particles.star map.mrc -o map.mrc", "what is written is named last, without a flag"),
        ("e2hype_classify.py", "particles.star found --K 5", "(here it is --classes)"),
        ("e2hype_eval.py", "run --pc 1 --K 5", "(here it is --all_classes)"),
        ("e2hype_make3d.py", "particles.star map.mrc --K 5", "unknown option or argument: --K 5; see"),
        ("e2hype_refine.py", "particles.star --uninvert-data", "(here it is --invert)"),
        ("e2hype_make3d.py", "particles.star map.mrc --uninvert-data", "(here it is --invert)"),
        ("e2hype_classify.py", "particles.star found --invert-data", "(here it is --noinvert)"),
        ("e2hype_list.py", "a.star b.star --combine --o c.star", "(here it is --union)"),
        ("e2hype_list.py", "a.star --o c.star", "(here it is --output)"),
        ("e2hype_score.py", "run --zdim 8", "unknown option or argument: --zdim 8; see"),
    ],
)
def test_a_flag_of_another_program_gets_a_hint(program, command, hint, load_program, capsys):
    assert load_program(program).main(command.split()) == 2
    told = capsys.readouterr().err
    assert hint in told and told.count("\n") == 1


def test_every_flag_that_is_hinted_at_exists_and_none_that_exists_is_hinted_away(load_program):
    programs = sorted(path.name for path in PROGRAMS.glob("e2hype_*.py"))
    ours = {
        flag
        for name in programs
        for action in load_program(name).build_parser()._actions
        for flag in action.option_strings
    }
    assert {flag for flags in PEERS.values() for flag in flags} <= ours
    assert set(ELSEWHERE) <= ours
    assert not set(NO_NEED) & ours and not (set(INPUT) | set(OUTPUT)) & ours - {"--particles"}
