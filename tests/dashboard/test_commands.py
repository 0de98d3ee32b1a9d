"""Commands: what the page shows is what a user would type, and what the programs take."""

from __future__ import annotations

import json
import shlex
import threading

import numpy as np
import pytest

from libhetero.dashboard.commands import command_for
from libhetero.dashboard.refusals import Refusal
from libhetero.dashboard.runs import ServedRun
from libhetero.dashboard.selections import save
from libhetero.errors import UserError


@pytest.fixture
def served(run):
    found = ServedRun(0, run, "gmm_00")
    save(found, "few", np.arange(12), "", {})
    return found


def parsed(load_program, asked):
    """Return the options that the program makes of a command; it is refused as the program refuses it."""
    name, *words = shlex.split(asked.line)
    return load_program(name).build_parser().parse_args(words)


@pytest.mark.parametrize(
    "kind, options, said",
    [
        ("embed", {"method": "pca", "classes": "auto", "lists": True}, "--method pca --classes auto --lists"),
        ("embed", {"classes": 4, "lists": False}, "--classes 4"),
        ("segment", {"p_value": 0.05, "eps": 0.8, "feature": "motion"}, "--pvalue 0.05 --eps 0.8 --feature motion"),
        ("analyze", {}, ""),
        ("validate", {}, ""),
    ],
)
def test_programs_that_take_a_run(served, load_program, kind, options, said) -> None:
    asked = command_for(served, kind, None, options)
    program, folder, *words = asked.words
    assert folder == str(served.folder) and sorted(words) == sorted(said.split())
    options = vars(parsed(load_program, asked))
    assert str(served.folder) in (options.get("folder"), options.get("run"))


def test_a_selection_is_segmented_again(served, load_program) -> None:
    asked = command_for(served, "segment", "few", {"feature": "motion"})
    listed = served.folder / "selections" / "few" / "few.txt"
    assert asked.words == ("e2hype_segment.py", str(served.folder), "--ind", str(listed), "--feature", "motion")
    assert np.loadtxt(listed, dtype=int).tolist() == list(range(12)) and asked.title == "segment few of gmm_00"
    assert parsed(load_program, asked).ind == str(listed)
    with pytest.raises(Refusal, match="embed: of all particles of a run"):
        command_for(served, "embed", "few", {})


def test_a_selection_is_trained_on_as_the_run_was(served, load_program) -> None:
    """Its list in place of the run's, its reference where it lies, a folder that there is not."""
    typed = "e2hype_refine.py p.star --datadir d --decoder=mlp --model gmm.txt --niter 3 --set mlp_width=16 --path a"
    params = {"cmd": typed, "particles": "p.star"}
    (served.folder / "0_e2hype_params.json").write_text(json.dumps(params))
    asked = command_for(served, "train", "few", {"epochs": 5})
    options = parsed(load_program, asked)
    assert options.particles == str(served.folder / "selections/few/few.lst") and options.niter == 5
    assert options.decoder == "mlp" and options.set == ["mlp_width=16"] and not hasattr(options, "datadir")
    assert options.model == str(served.folder.parent / "gmm.txt")
    assert options.path == str(served.folder.parent / "gmm_00_few")
    (served.folder.parent / "gmm_00_few").mkdir()
    assert parsed(load_program, command_for(served, "train", "few", {})).path.endswith("gmm_00_few_2")
    named = command_for(served, "train", "few", {"path": "mine"})
    assert parsed(load_program, named).path == str(served.folder.parent / "mine")


@pytest.mark.parametrize(
    "typed, options, expected",
    [
        ("--niter 40", {"epochs": 20}, {"niter": 20}),
        ("--niter=40 --batchsz 8", {"epochs": 20, "batch_size": 64}, {"niter": 20, "batchsz": 64}),
        ("--invert", {"contrast": 1}, {"invert_or_noinvert": 1}),
        ("", {"decoder": "pointtransformer"}, {"decoder": "pointtransformer"}),
        ("--remat --niter 2", {"remat": False, "learning_rate": 1e-3}, {"niter": 2}),
    ],
)
def test_what_is_asked_for_takes_the_place_of_what_the_run_had(served, load_program, typed, options, expected) -> None:
    """Also where it is what the program does without a word."""
    params = {"cmd": f"e2hype_refine.py p.star --decoder mlp {typed}", "particles": "p.star"}
    (served.folder / "0_e2hype_params.json").write_text(json.dumps(params))
    options = vars(parsed(load_program, command_for(served, "train", "few", options)))
    assert "remat" not in options
    assert {name: options[name] for name in expected} == expected


def test_of_a_run_whose_command_is_not_known_the_main_options_are(served, load_program) -> None:
    options = parsed(load_program, command_for(served, "train", "few", {}))
    assert options.decoder == "mlp" and options.niter == 3 and options.batchsz == 10


def test_a_selection_is_reconstructed_with_the_contrast_of_the_run(served, load_program) -> None:
    asked = command_for(served, "reconstruct", "few", {"symmetry": "c4"})
    options = parsed(load_program, asked)
    assert options.output == str(served.folder / "selections/few/few.mrc") and options.sym == "c4"
    assert "--noinvert" in asked.words


def test_a_run_goes_on(served, load_program) -> None:
    options = parsed(load_program, command_for(served, "resume", None, {"epochs": 9}))
    assert options.resume == str(served.folder) and options.niter == 9


def test_regions_that_were_changed_by_hand_are_segmented(served, load_program) -> None:
    (served.folder / "regions_01.txt").write_text("0 0 0 1 1 1\n")
    options = parsed(load_program, command_for(served, "segment", None, {"regions": "regions_01.txt", "name": "mine"}))
    assert options.regions == str(served.folder / "regions_01.txt") and options.name == "mine"
    for wrong in ("regions_02.txt", "../regions_01.txt", "/etc/passwd", "regions.txt", 1):
        with pytest.raises(UserError):
            command_for(served, "segment", None, {"regions": wrong})


@pytest.mark.parametrize(
    "kind, selection, options",
    [
        ("remove", None, {}),
        ("", None, {}),
        ("embed", None, {"method": "tsne"}),
        ("embed", None, {"neighbours": 0}),
        ("embed", None, {"truth": "/etc"}),
        ("embed", None, {"folder": "/etc"}),
        ("embed", None, {"method": {"a": 1}}),
        ("embed", None, {"name": "../../x"}),
        ("embed", None, {"name": "a" * 300}),
        ("embed", None, {"lists": True}),
        ("embed", "few", {}),
        ("segment", None, {"eps": -1}),
        ("segment", None, {"given": "/etc/passwd"}),
        ("train", None, {}),
        ("train", "none", {}),
        ("train", "../x", {}),
        ("train", "few", {"path": "../x"}),
        ("train", "few", {"resume": "x"}),
        ("train", "few", {"reference": "/etc/passwd"}),
        ("reconstruct", "few", {"output": "/tmp/x.mrc"}),
        ("reconstruct", "few", {"mask": "/etc/passwd"}),
        ("reconstruct", None, {}),
    ],
)
def test_what_is_none_of_these_is_refused(served, kind, selection, options) -> None:
    with pytest.raises(UserError) as refused:
        command_for(served, kind, selection, options)
    assert "\n" not in str(refused.value)


def test_values_are_words_and_never_parsed_by_a_shell(served) -> None:
    asked = command_for(served, "embed", None, {"name": "a.b-c"})
    assert asked.words[-2:] == ("--name", "a.b-c")
    with pytest.raises(UserError):
        command_for(served, "embed", None, {"name": "a; rm -rf x"})


def test_commands_and_jobs_are_asked_in_the_same_way(visitor, served, monkeypatch) -> None:
    body = {"kind": "reconstruct", "run": 0, "selection": "few"}
    told = visitor.post("/api/commands", body)
    assert told.status == 200 and told.json["command"].startswith("e2hype_make3d.py ")
    monkeypatch.setattr("libhetero.dashboard.jobs.find_program", lambda name: served.folder / "no_program.py")
    job = visitor.post("/api/jobs", body).json
    assert job["command"] == told.json["command"]
    assert visitor.ended(job["job"])["state"] == "failed"
    assert [one["job"] for one in visitor.get("/api/jobs").json] == [job["job"]]
    assert visitor.get(f"/api/jobs/{job['job']}/log").json["lines"]
    for wrong in ({**body, "run": 7}, {**body, "run": None}, {**body, "run": True}, {**body, "options": []}):
        assert visitor.post("/api/jobs", wrong).status in (400, 404)


def test_trainings_that_wait_have_a_folder_each(visitor, served, monkeypatch) -> None:
    """Also those that are asked for at once; the folder of one that was given up is free again."""
    program = served.folder / "long.py"
    program.write_text("import time; time.sleep(120)")
    monkeypatch.setattr("libhetero.dashboard.jobs.find_program", lambda name: program)
    body, found = {"kind": "train", "run": 0, "selection": "few"}, []
    threads = [
        threading.Thread(target=lambda: found.append(visitor.post("/api/jobs", body).json)) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    folders = {shlex.split(job["command"])[-1]: job["job"] for job in found}
    whole = str(served.folder.parent / "gmm_00_few")
    assert sorted(folders) == [whole, *(f"{whole}_{number}" for number in (2, 3, 4))]
    assert visitor.post("/api/commands", body).json["command"].endswith("gmm_00_few_5")
    for number in folders.values():
        visitor.ask("DELETE", f"/api/jobs/{number}")
    for number in folders.values():
        visitor.ended(number)
    assert visitor.post("/api/commands", body).json["command"].endswith("gmm_00_few")


def test_a_refusal_has_its_status(served) -> None:
    with pytest.raises(Refusal) as refused:
        command_for(served, "train", "none", {})
    assert refused.value.status == 404
