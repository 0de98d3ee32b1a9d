"""Cutting an end off a core: the thinnest neck is found, and the table is completed."""

import json
from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.simulate.cut import cut_core
from libhetero.simulate.domains import complete_domains
from libhetero.simulate.sources import load_model, model_in_domains
from tests.making.atoms import dumbbell, write_model
from tests.reference.shared_data import shared_file

NECK = 41  # first residue of the end that hangs on


def test_the_end_with_the_thinnest_neck() -> None:
    atoms = dumbbell()
    cut = cut_core(atoms, np.zeros(50, int), share=(0.15, 0.3))
    assert (cut.chain, cut.ranges, cut.contacts) == ("A", ((NECK, 50),), 1)
    assert cut.share == pytest.approx(0.2)
    np.testing.assert_allclose(cut.pivot, [20.5, 0, 0], atol=1e-4)
    arm = atoms.position[NECK - 1 :].mean(axis=0) - cut.pivot
    assert np.linalg.norm(cut.axis) == pytest.approx(1)
    assert abs(cut.axis @ arm) < 1e-6 * np.linalg.norm(arm)


def test_an_end_that_touches_nothing_turns_about_the_gap() -> None:
    atoms = dumbbell()
    atoms.position[NECK - 1 :] += [30, 0, 0]
    cut = cut_core(atoms, np.zeros(50, int), share=(0.15, 0.3))
    assert cut.contacts == 0 and cut.ranges == ((NECK, 50),)
    np.testing.assert_allclose(cut.pivot, [35.5, 0, 0], atol=1e-4)


def test_residues_of_other_pieces_are_left_alone() -> None:
    piece = np.zeros(50, int)
    piece[44:46] = 1
    cut = cut_core(dumbbell(), piece, share=(0.12, 0.3))
    assert cut.ranges == ((NECK, 44), (47, 50))


def test_a_core_without_an_end_of_that_size() -> None:
    with pytest.raises(DataError, match="expected one to cut off"):
        cut_core(dumbbell(), np.ones(50, int))


def test_a_table_is_completed_and_a_complete_one_kept(tmp_path: Path) -> None:
    model, table = write_model(tmp_path / "model.pdb", dumbbell()), tmp_path / "table.json"
    table.write_text(json.dumps({"body": "all", "domains": {"all": {"selection": [["A", None]]}}}))
    one = complete_domains(model, table, 1, tmp_path / "one.json")
    structure = model_in_domains(str(model), str(one), None)
    assert structure.names[0] == "all" and len(structure.names) == 2
    pivot = structure.hinges[1][0] + load_model(str(model), None).position.mean(axis=0)
    np.testing.assert_allclose(pivot, [20.5, 0, 0], atol=0.01)  # given in the frame of the model
    again = complete_domains(model, one, 1, tmp_path / "again.json")
    assert json.loads(again.read_text()) == json.loads(one.read_text())


def test_the_receptor_is_cut_between_two_domains(tmp_path: Path) -> None:
    """FnIII-2 and FnIII-3 of the insulin receptor meet at residues 590 to 597."""
    model = shared_file("structures", "transporter", "4ZXB.cif.gz")
    table = shared_file("structures", "transporter", "domains.json")
    path = complete_domains(model, table, 3, tmp_path / "domains.json")
    entry = json.loads(path.read_text())
    (added,) = set(entry["domains"]) - {"receptor", "fab1_83-7", "fab2_83-14"}
    [[chain, [[first, last]]]] = entry["domains"][added]["selection"]
    assert chain == "E" and 585 <= first <= 600 and last > 900
    assert len(model_in_domains(str(model), str(path), 50.0).hinges) == 3
