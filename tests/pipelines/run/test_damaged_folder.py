"""A run folder whose files are damaged or of something else: one line that names the file and what is wrong in it."""

import copy
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libhetero.errors import UserError
from libhetero.models.families import family_named
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.configuration import RunConfig, new_config, read_config, write_config
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.folder import stored_model, write_arrays
from libhetero.training.configuration import TrainingConfig
from tests.making.images import BOX, PIXEL
from tests.making.models import CONFIGS, make_model
from tests.making.particles import make_particles

VALUES = (None, True, -1, 0, 10**400, 0.5, 1e308, "", "text", [], [1, "two"], {}, {"key": 1}, [[[]]])
TEXTS = (
    "",
    "{",
    "[]",
    "null",
    '{"family": NaN}',
    '{"family": 1e999}',
    '{"family": ' + "9" * 5000 + "}",
    '{"family": "hype", "a": ' + "[" * 100_000 + "}",
    '{"family": "\\ud800"}',
    "\0\0\0\0",
)


def every_place(values: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the keys that lead to every value of a JSON document."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from every_place(value, (*path, key))


def changed(values: Any, path: tuple, new: Any) -> Any:
    """Return a document with one value in place of another; without it where `new` is ABSENT."""
    values = copy.deepcopy(values)
    inner = values
    for key in path[:-1]:
        inner = inner[key]
    if new is ABSENT:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return values


ABSENT = object()


def refusal(call: Callable, *arguments: Any) -> str | None:
    """Return the line of a user's error; None where there is none, and any other error is a fault."""
    try:
        call(*arguments)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("family", ["hype", "gmm"])
def test_every_key_of_the_configuration_takes_its_own_kind_alone(tmp_path, family) -> None:
    """Each of some seventy keys is left out, or holds each of fourteen other things: read, or one line."""
    write_config(tmp_path, new_config(RefineConfig("/p.star", family=family)))
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    refused = 0
    for place in every_place(stored):
        for new in (ABSENT, *VALUES):
            path.write_text(json.dumps(changed(stored, place, new)))
            line = refusal(read_config, tmp_path)
            refused += bool(line)
            assert line is None or (line.startswith(str(path)) and "\n" not in line), (place, new, line)
    assert refused > 400


@pytest.mark.parametrize(
    ("place", "new", "words"),
    [
        (("training", "epochs"), "many", "training.epochs: expected a whole number, got a text"),
        (("training", "epochs"), 1.5, "training.epochs: expected a whole number, got a number with a decimal point"),
        (("data", "preprocess", "deviation"), "x", "data.preprocess.deviation: expected a number"),
        (("data", "particles"), 3, "data.particles: expected a text, got a whole number"),
        (("model",), [], "expected an object .*, got a list"),
        (("model", "dim"), True, "dim: expected a whole number, got true or false"),
        (("family",), {}, "family: expected a text, got an object"),
    ],
)
def test_a_value_of_another_kind_is_told_by_its_key(tmp_path, place, new, words) -> None:
    write_config(tmp_path, new_config(RefineConfig("/p.star")))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()), place, new)))
    with pytest.raises(UserError, match=f"^{path}: .*{words}.*; restore the file"):
        read_config(tmp_path)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_is_no_configuration(tmp_path, text) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(
        UserError, match=r"config.json: (not valid JSON|nested|expected|format_version|the file is empty)"
    ):
        read_config(tmp_path)


def test_what_is_no_file_is_not_opened(tmp_path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(UserError, match="expected a file"):
        read_config(tmp_path)
    (tmp_path / "config.json").rmdir()
    (tmp_path / "config.json").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="expected a file"):
        read_config(tmp_path)
    (tmp_path / "config.json").unlink()
    with open(tmp_path / "config.json", "wb") as file:
        file.truncate(2**27)
    with pytest.raises(UserError, match="134217728 bytes"):
        read_config(tmp_path)


def damages(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield other things that may stand in the place of an array."""
    yield np.array("text")
    yield np.zeros(array.shape, complex)
    yield array[None]
    yield array.astype(object)
    yield np.zeros((0, *array.shape), array.dtype)
    if array.ndim:
        yield array[:-1]
        yield array.reshape(-1)[:1]
        yield np.moveaxis(array, 0, -1)
    for value in (np.nan, np.inf, -1, 2**31 - 1, 1e30):
        if array.dtype.kind == "f" or np.isfinite(value) and abs(value) < 2**31:
            with np.errstate(over="ignore"):  # in half precision
                yield np.full(array.shape, value).astype(array.dtype)


@pytest.fixture(scope="module", params=CONFIGS)
def stored(request, tmp_path_factory):
    """The folder of a model, its configuration and its arrays."""
    folder = tmp_path_factory.mktemp("stored")
    model = make_model(request.param)
    config = RunConfig(
        family=CONFIGS[request.param][0], model=model.config, training=TrainingConfig(), data=DataConfig("toy.star")
    )
    write_arrays(folder, model)
    return folder, config, model.arrays()


def read_back(folder: Path, config: RunConfig):
    return stored_model(folder, config, make_particles(3, BOX, PIXEL))


def test_a_model_is_read_back(stored) -> None:
    folder, config, arrays = stored
    write_arrays(folder, read_back(folder, config))
    with np.load(folder / "model.npz") as again:
        assert set(again) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(again[name], array)


def test_what_a_family_stores_is_what_it_declares(stored) -> None:
    _, config, arrays = stored
    assert family_named(config.family).stored(config.model, arrays).keys() == arrays.keys()


def test_every_array_of_a_model_is_of_its_kind_and_shape(stored, tmp_path) -> None:
    """Each is left out, or is another of a dozen things: a model, or one line that names the array."""
    folder, config, arrays = stored
    declared = family_named(config.family).stored(config.model, arrays)
    refused = 0
    for name, array in arrays.items():
        for new in (ABSENT, *damages(np.asarray(array))):
            other = {key: value for key, value in arrays.items() if key != name}
            other |= {} if new is ABSENT else {name: new}
            np.savez(tmp_path / "model.npz", allow_pickle=True, **other)
            line = refusal(read_back, tmp_path, config)
            refused += bool(line)
            if line is not None:
                assert line.startswith(str(tmp_path / "model.npz")) and "\n" not in line, (name, new, line)
            elif new is ABSENT:
                assert declared[name].optional
            else:
                assert np.isfinite(new).all() and new.ndim == np.ndim(array), (name, new)  # edges may be fewer
    assert refused > 6 * len(arrays)


def test_an_index_that_points_nowhere_is_refused(stored, tmp_path) -> None:
    _, config, arrays = stored
    for name, points in (("edges", "position"), ("level_0_neighbours", "level_0_points")):
        if name in arrays:
            beyond = np.where(arrays[name] == arrays[name].max(), len(arrays[points]), arrays[name])
            np.savez(tmp_path / "model.npz", **arrays | {name: beyond})
            with pytest.raises(UserError, match=f"model.npz: {name}: holds .* expected less than"):
                read_back(tmp_path, config)


def test_a_model_of_other_images_is_refused(stored) -> None:
    folder, config, _ = stored
    for particles in (make_particles(3, 2 * BOX, PIXEL), make_particles(3, BOX, 1.1 * PIXEL)):
        with pytest.raises(UserError, match="the model is of .* pixels of .* the particles' images are"):
            stored_model(folder, config, particles)


def claiming(shape: tuple[int, ...]) -> bytes:
    """Return the start of an .npy file that claims a shape and holds one number."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(4)


@pytest.mark.parametrize("shape", [(2**40, 3), (-1, 3), (10**30, 3), (1, 3)])
def test_an_array_that_claims_more_than_there_is_takes_no_memory(stored, tmp_path, shape) -> None:
    folder, config, arrays = stored
    name = "anchors" if "anchors" in arrays else "position"
    with zipfile.ZipFile(folder / "model.npz") as whole, zipfile.ZipFile(tmp_path / "model.npz", "w") as other:
        for item in whole.namelist():
            other.writestr(item, claiming(shape) if item == f"{name}.npy" else whole.read(item))
    with pytest.raises(UserError, match="model.npz"):
        read_back(tmp_path, config)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "crc"])
def test_a_file_that_is_no_archive(stored, tmp_path, damage) -> None:
    folder, config, _ = stored
    data = bytearray((folder / "model.npz").read_bytes())
    if damage == "crc":
        data[200] ^= 255
    parts = {"empty": b"", "text": b"PK\3\4 and no more", "cut": data[: len(data) // 2], "crc": data}
    (tmp_path / "model.npz").write_bytes(parts[damage])
    with pytest.raises(UserError, match="model.npz: "):
        read_back(tmp_path, config)
