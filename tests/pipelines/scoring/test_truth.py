"""A truth folder is read by its schema, and joined with the particles of its own stack alone."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from libhetero.errors import ConfigurationError, DataError, UserError
from libhetero.io import MrcsWriter
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.particles import load_particles
from libhetero.pipelines.scoring.truth import open_truth, places_in_truth
from tests.making.oracles import simulated

COUNT = 8


@pytest.fixture(scope="module", params=["mixture", "assembly", "motion", "moving mixture"])
def whole(request, tmp_path_factory):
    kind, moving = request.param.split()[-1], (2,) if "moving" in request.param else ()
    return simulated(tmp_path_factory.mktemp("simulated") / "set", kind, COUNT, moving=moving)


@pytest.fixture
def copied(whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "truth")
    return tmp_path / "truth"


@pytest.mark.parametrize("value", [None, True, -1, 0, 1.5, 1e308, 10**400, "text", [], {}, [["a"]]])
def test_every_key_of_the_document_takes_its_own_kind_alone(copied, value) -> None:
    said = json.loads((copied / "truth.json").read_text())
    for key in said:
        (copied / "truth.json").write_text(json.dumps(said | {key: value}))
        try:
            opened = open_truth(copied)
        except UserError as error:
            line = str(error)
        else:
            line = ""
            assert opened.particles == COUNT and opened.box_size > 0
        assert not line or line.startswith(str(copied)) and "\n" not in line, (key, line)


def test_a_particle_without_pieces_has_no_map(copied) -> None:
    if not (copied / "states.npy").exists():
        pytest.skip("no states")
    states = np.load(copied / "states.npy")
    states[2] = 0
    np.save(copied / "states.npy", states)
    with pytest.raises(DataError, match="states.npy: (particle 3 has no piece|.*core)"):
        open_truth(copied).map(2)


def test_a_key_that_is_missing_is_named(copied) -> None:
    said = json.loads((copied / "truth.json").read_text())
    for key in ("particles", "box_size", "pixel_size"):
        (copied / "truth.json").write_text(json.dumps({name: said[name] for name in said if name != key}))
        with pytest.raises(UserError, match=f"truth.json: .*lacks {key}"):
            open_truth(copied)


@pytest.mark.parametrize("text", ["", "0 1\n", "0 1\n" * COUNT, "a b\n", "0 nan\n", "0 1 2\n"])
def test_labels_that_are_not_of_every_particle_once(copied, text) -> None:
    if (copied / "labels.txt").exists():
        (copied / "labels.txt").write_text(text)
        with pytest.raises(DataError, match="labels.txt: "):
            open_truth(copied)


def other_arrays(array: np.ndarray):
    yield from (array[1:], array[:, :1][:, 0], array.astype(str), array.astype(object), array.astype(complex))
    if array.dtype.kind == "f":
        yield np.full_like(array, np.nan)
    else:
        yield np.full_like(array, 2)


def test_arrays_are_of_their_kind_and_shape(copied) -> None:
    for path in copied.glob("*.npy"):
        array = np.load(path)
        for other in other_arrays(array):
            np.save(path, other, allow_pickle=True)
            with pytest.raises(DataError, match=f"{path.name}: "):
                open_truth(copied)
        np.save(path, array)
        data = path.read_bytes()
        for text in (b"", b"text", data[:70], data[:-1]):
            path.write_bytes(text)
            with pytest.raises(DataError, match=f"{path.name}: "):
                open_truth(copied)
        path.write_bytes(data)
    if (copied / "atoms.npz").exists():
        with np.load(copied / "atoms.npz") as file:
            atoms = dict(file)
        wrong = ({"piece": atoms["piece"] + 90}, {"piece": atoms["piece"][1:]}, {"position": atoms["position"][:, :2]})
        for change in wrong:
            np.savez(copied / "atoms.npz", **atoms | change)
            with pytest.raises(DataError, match="atoms.npz: .*piece|atoms.npz: position"):
                open_truth(copied)


def test_a_motion_without_its_hinges_is_refused(whole, copied) -> None:
    if whole.kind == "motion":
        said = json.loads((copied / "truth.json").read_text())
        (copied / "truth.json").write_text(json.dumps(said | {"hinges": said["hinges"][1:]}))
        with pytest.raises(DataError, match="3 axes; expected 3 of each"):
            open_truth(copied)


def test_a_structure_that_moves_without_its_hinges_is_refused(whole, copied) -> None:
    if whole.kind == "mixture" and whole.angles is not None:
        said = json.loads((copied / "truth.json").read_text())
        one = said["moving_structures"][0]
        for other, words in (
            ({**one, "hinges": one["hinges"][1:]}, "structure 1 has 2 hinges and 3 axes; expected 3 of each"),
            ({**one, "structure": 0}, "angles.npy: turns structures that truth.json does not name"),
        ):
            (copied / "truth.json").write_text(json.dumps(said | {"moving_structures": [other]}))
            with pytest.raises(DataError, match=words):
                open_truth(copied)


def test_a_truth_is_of_its_own_stack_alone(whole, tmp_path) -> None:
    """A stack of other images, as one cut out of it is, has other particles at the same places."""
    particles = load_particles(DataConfig(str(whole.folder.parent / "particles.star")))
    np.testing.assert_array_equal(places_in_truth(particles.take(np.array([5, 2])), whole), [5, 2])
    n = int(particles.box_size[0])
    for count in (COUNT - 1, COUNT + 1):
        with MrcsWriter(tmp_path / "particles.mrcs", n, count, 1.0) as writer:
            writer.write(np.zeros((count, n, n), np.float32))
        cut = dataclasses.replace(particles, files=(str(tmp_path / "particles.mrcs"),)).take(slice(0, COUNT - 1))
        with pytest.raises(DataError, match=rf"of {count} images; expected particles of one"):
            places_in_truth(cut, whole)


def test_as_many_particles_of_several_stacks_are_not_taken_for_those_of_one(whole) -> None:
    particles = load_particles(DataConfig(str(whole.folder.parent / "particles.star")))
    two = dataclasses.replace(particles, files=(*particles.files, "/other.mrcs"))
    with pytest.raises(DataError, match="from 2 stacks; expected particles of one"):
        places_in_truth(two, whole)


def test_the_folder_of_the_set_does_too_and_another_is_refused(copied, tmp_path):
    assert open_truth(tmp_path).folder == copied
    (copied / "truth.json").unlink()
    with pytest.raises(ConfigurationError, match=r"holds no truth.json; expected the folder truth of a set"):
        open_truth(tmp_path)
