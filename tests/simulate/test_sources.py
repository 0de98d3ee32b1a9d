"""Structures from files: pieces by chains, by domains, by k-means, and maps."""

import json
from pathlib import Path

import gemmi
import numpy as np
import pytest

from libhetero.errors import DataError, UserError
from libhetero.io import write_volume
from libhetero.simulate import sources
from libhetero.simulate.configuration import ImagingConfig
from libhetero.simulate.sets import motion_of
from tests.making.rendering import collect
from tests.reference.shared_data import shared_file


@pytest.fixture
def model(tmp_path: Path) -> str:
    """Three chains A, B, C of carbon atoms along x, and one oxygen of chain Z beside B."""
    structure, rng = gemmi.Structure(), np.random.default_rng(0)
    structure.add_model(gemmi.Model(1))
    for name, x in (("A", 0), ("B", 20), ("C", 40), ("Z", 22)):
        chain = gemmi.Chain(name)
        for number in range(1, 2 if name == "Z" else 16):
            residue = gemmi.Residue()
            residue.name, residue.seqid = "ALA", gemmi.SeqId(number, " ")
            atom = gemmi.Atom()
            atom.name, atom.element = "CA", gemmi.Element("O" if name == "Z" else "C")
            atom.pos = gemmi.Position(x + rng.normal(), *rng.normal(size=2))
            atom.b_iso = 30
            residue.add_atom(atom)
            chain.add_residue(residue)
        structure[0].add_chain(chain)
    path = tmp_path / "model.pdb"
    structure.write_pdb(str(path))
    return str(path)


def _json(tmp_path: Path, values: object) -> str:
    path = tmp_path / "pieces.json"
    path.write_text(json.dumps(values))
    return str(path)


def test_an_element_that_scatters_by_no_table_is_said_of_its_file(model: str, tmp_path: Path) -> None:
    odd = tmp_path / "odd.pdb"
    odd.write_text("HETATM    1  X   UNX A   1       0.000   0.000   0.000  1.00 20.00           X\n")
    with pytest.raises(DataError, match=r"odd.pdb: element 'X' has no electron form factor"):
        sources.load_model(str(odd), None)


def test_segments_are_lists_of_chains(model: str, tmp_path: Path) -> None:
    segments = [{"segment": "body", "rna": ["A"], "protein": ["C"]}, {"name": "arm", "p": ["B"]}]
    found = sources.segmented_model(model, _json(tmp_path, segments), 50.0)
    assert found.names == ("body", "arm")
    for chain, piece in (("A", 0), ("B", 1), ("C", 0), ("Z", 1)):
        assert set(found.piece[found.atoms.chain == chain]) == {piece}
    assert (found.atoms.b_factor == 50).all()
    points = found.points()
    assert np.abs(np.average(points.position, axis=0, weights=points.weight)).max() < 1e-3
    assert (sources.whole_model(model, None).atoms.b_factor == 30).all()


def test_domains_bring_hinge_and_axis(model: str, tmp_path: Path) -> None:
    domains = {
        "body": {"selection": [["A", None], ["B", [1, 5]]]},
        "arm": {
            "selection": [["C", None], ["B", [[6, 10], [11, 15]]]],
            "pivot": [25.0, 1.0, 2.0],
            "axis_u": [0.0, 0.0, 2.0],
        },
    }
    entry = {"file": "model.pdb", "body": "body", "domains": domains}
    found = sources.model_in_domains(model, _json(tmp_path, [entry]), 50.0)
    assert np.bincount(found.piece[found.atoms.chain == "B"]).tolist() == [5, 10]
    hinge, axis = found.hinges[1]
    original = sources.load_model(model, None).position
    shift = original[0] - found.atoms.position[0]
    np.testing.assert_allclose(hinge + shift, [25, 1, 2], atol=1e-4)
    np.testing.assert_allclose(axis, [0, 0, 1])


def test_compact_pieces_are_the_blobs(model: str) -> None:
    found = sources.model_in_compact_pieces(model, 2, 0, 50.0)
    by_chain = [set(found.piece[found.atoms.chain == chain]) for chain in "ABC"]
    assert by_chain[1] == {0} and {tuple(s) for s in by_chain} == {(0,), (1,), (2,)}


def test_maps_are_pieces_in_one_frame(tmp_path: Path) -> None:
    volume = np.zeros((16, 16, 16), np.float32)
    volume[8, 8, 8], volume[8, 8, 12] = 1.0, 0.5
    write_volume(tmp_path / "one.mrc", volume, 3.0)
    write_volume(tmp_path / "two.mrc", volume[::-1], 3.0)
    paths = [str(tmp_path / "one.mrc"), str(tmp_path / "two.mrc")]
    found = sources.maps_as_pieces(paths, 3.0)
    assert found.names == ("one", "two")
    points = found.points()
    assert points.position[:2].tolist() == [[0, 0, 0], [12, 0, 0]]
    np.testing.assert_array_equal(found.map(0, 16, 3.0), volume)
    with pytest.raises(DataError, match="give --apix 3"):
        sources.whole_map(paths[0], 4.0)


@pytest.mark.parametrize(
    "values, words",
    [
        ([{"segment": "one", "chains": ["A"]}], "at least 2 segments"),
        ({"body": "A"}, "at least 2 segments"),
        ([{"segment": "a", "c": ["A"]}, {"segment": "b", "c": ["Q"]}], "none of its chains"),
    ],
)
def test_wrong_segments_are_said(values: object, words: str, model: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        sources.segmented_model(model, _json(tmp_path, values), 50.0)


def test_wrong_domains_are_said(model: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected one entry"):
        sources.model_in_domains(model, _json(tmp_path, [{"domains": {}}]), 50.0)
    with pytest.raises(DataError, match="not valid JSON"):
        sources.model_in_domains(model, model, 50.0)
    with pytest.raises(DataError, match="no such file"):
        sources.segmented_model(model, str(tmp_path / "none.json"), 50.0)


DOMAIN = {"selection": [["A", None]], "pivot": [0, 0, 1], "axis_u": [0, 0, 1]}


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ({}, "lacks selection"),
        ({"selection": "A"}, "selection: expected a list, got a text"),
        ({"selection": [["A", [1]]]}, "are no residues"),
        ({"selection": [["A", [1, [2, 3]]]]}, "are no residues"),
        ({"selection": [["A", ["1", "2"]]]}, "got a text"),
        ({"selection": [["A", [1, 2**40]]]}, "a whole number of at most 2147483648"),
        ({**DOMAIN, "axis_u": [0, 0, 0]}, "expected a direction"),
        ({**DOMAIN, "axis_u": [0, 0]}, "a list of 3 values, got 2"),
        ({**DOMAIN, "pivot": [0, 0, 1e300]}, "a number of at most 1000000"),
        ({**DOMAIN, "pivot": {"x": 1}}, "got an object"),
    ],
)
def test_domains_of_another_kind_are_said(domain: object, words: str, model: str, tmp_path: Path) -> None:
    path = _json(tmp_path, {"body": "core", "domains": {"core": {"selection": [["B", None]]}, "arm": domain}})
    with pytest.raises(DataError, match=words) as told:
        sources.model_in_domains(model, path, 50.0)
    assert str(told.value).startswith(path) and "\n" not in str(told.value)


def test_a_core_that_is_no_domain(model: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the core, core, is none of its domains"):
        sources.model_in_domains(model, _json(tmp_path, {"body": "core", "domains": {"arm": DOMAIN}}), 50.0)


@pytest.mark.parametrize("text", [100000 * "[", "[NaN]", "[" + 5000 * "1" + "]", '{"a":"\\ud800"}', "\x00"])
def test_what_is_no_json(text: str, model: str, tmp_path: Path) -> None:
    (tmp_path / "pieces.json").write_text(text)
    with pytest.raises(DataError, match=r"pieces\.json: (not valid JSON|expected)"):
        sources.segmented_model(model, str(tmp_path / "pieces.json"), 50.0)


def test_ribosome_in_nine_segments() -> None:
    model = shared_file("structures", "ribosome", "50S_Ecoli_MAVEn_segmented.cif.gz")
    segments = shared_file("structures", "ribosome", "50S_segments9.json")
    found = sources.segmented_model(str(model), str(segments), 50.0)
    expected = [entry["atoms"] for entry in json.loads(segments.read_text())]
    assert np.bincount(found.piece).tolist() == expected
    assert 200 < found.points().diameter < 320


def test_transporter_moves_in_its_domains() -> None:
    model = shared_file("structures", "transporter", "4ZXB.cif.gz")
    domains = shared_file("structures", "transporter", "domains.json")
    found = sources.model_in_domains(str(model), str(domains), 50.0)
    assert len(found.names) == 3 and set(found.hinges) == {1, 2}
    for k, (hinge, _) in found.hinges.items():
        points = found.points()
        assert np.linalg.norm(points.position[points.piece == k] - hinge, axis=1).min() < 12
    imaging = ImagingConfig(particles=4, box_size=24, pixel_size=10.0, snr=None)
    block = collect(motion_of(found, imaging, 0.3))
    assert np.isfinite(block.images).all() and block.angle[:, 1:].std() > 0


def test_a_name_that_is_no_text_is_told(model: str) -> None:
    lines = Path(model).read_bytes().splitlines(keepends=True)
    atoms = [i for i, line in enumerate(lines) if line.startswith(b"ATOM")]
    lines[atoms[0]] = lines[atoms[0]][:21] + b"\xff" + lines[atoms[0]][22:]
    Path(model).write_bytes(b"".join(lines))
    with pytest.raises(DataError, match="model.pdb: a name in it is no text"):
        sources.whole_model(model, None)
