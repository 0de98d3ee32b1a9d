"""Where CryoHype begins: classes found in particles, what they say of an image, and volumes between grid points."""

import dataclasses
import logging
from functools import cache, reduce
from operator import add

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.latent.central import central_slices
from libhetero.models.hype.latent.class_search import BALL, LOW, MOST_RANK, known_mixture
from libhetero.models.hype.latent.grid import FourierGrid, few_sizes, on_grid
from libhetero.models.hype.latent.known import KnownClasses
from libhetero.models.hype.latent.volumes import sums_of, volumes_of
from libhetero.models.hype.latent.within import WithinClasses
from libhetero.models.hype.model import GAIN, HypeModel
from libhetero.models.hype.start import (
    MOST_SUMS,
    MOST_TABLE,
    MOST_VOLUMES,
    OVERSAMPLING,
    SUM_BYTES,
    Start,
    _Particles,
    _stored,
    _volumes,
    largest_grid,
    most_classes,
)
from libhetero.physics.fourier import fourier_image, frequencies_2d, half_plane, real_image, real_volume
from libhetero.physics.gaussians import project_gaussians, transform_gaussians
from libhetero.physics.observation import transfer
from libhetero.records import Gaussians
from tests.making.images import batch_of, defocus_series, poses
from tests.making.models import HYPE, random_params
from tests.making.slices import molecules, points_of, transform
from tests.making.starts import CLASSES, RANK, made_start, many_start, moving_start

N, PIXEL, COUNT = 20, 6.0, 160


@pytest.fixture(autouse=True)
def low_rings_alone(monkeypatch):
    """Search on the lowest rings alone: a third of what is to be compiled."""
    monkeypatch.setattr("libhetero.models.hype.latent.class_search.STAGES", (LOW,))


@cache
def two_molecules():
    """Return a batch of images of two molecules in turn, noise of a deviation as large as theirs, and the molecules."""
    random = np.random.default_rng(0)
    shown = [
        Gaussians(
            random.normal(size=(12, 3)).astype(np.float32) * 13, np.ones(12, np.float32), np.full(12, 4.0, np.float32)
        )
        for _ in range(2)
    ]
    batch = batch_of(np.zeros((COUNT, N, N), np.float32), poses(COUNT, 0), defocus_series(COUNT))

    def image(molecule, pose, observation):
        plane = project_gaussians(molecule, pose, N, PIXEL) * transfer(observation, half_plane(N, PIXEL))
        return real_image(plane, N)

    made = [np.asarray(jax.vmap(lambda p, o, m=m: image(m, p, o))(batch.pose, batch.observation)) for m in shown]
    label = np.arange(COUNT) % 2
    images = np.where(label[:, None, None] == 0, *made)
    images += images.std() * random.normal(size=images.shape)
    return dataclasses.replace(batch, images=images.astype(np.float32)), label, shown


@cache
def begun(most_table):
    """Return a model that begins from the classes of these images, whose tables may hold so many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("libhetero.models.hype.start.MOST_TABLE", most_table)
        return HypeModel.from_data(HypeConfig(**HYPE | {"patch": 10}, start="classes"), N, PIXEL, two_molecules()[0])


def test_images_are_told_what_they_show_and_begin_with_its_volume():
    batch, label, shown = two_molecules()
    model = begun(MOST_TABLE)
    start = model.start
    assert start is not None and len(start.place) == 2 and start.rank == 1 and model.config.start == "classes"
    told = jax.vmap(lambda image, observation: start.told(start.pixels(image, observation, PIXEL)))
    place = np.asarray(told(batch.images, batch.observation))[:, 0]
    side = place > place.mean()
    assert max(np.mean(side == label), np.mean(side != label)) > 0.98
    params = random_params(model.init) | {"gain": np.zeros(N // 2 + 1, np.float32)}
    first = jax.tree.map(lambda leaf: leaf[:2], batch)
    decoded = model.decode(params, model.encode(params, first))
    for number in range(2):
        weights = jax.tree.map(lambda leaf, number=number: leaf[number], decoded)
        pose = batch.pose.take(number)
        made = np.asarray(model.render(weights, pose, N, PIXEL)).ravel()
        true = np.asarray(project_gaussians(shown[label[number]], pose, N, PIXEL)).ravel()
        other = np.asarray(project_gaussians(shown[1 - label[number]], pose, N, PIXEL)).ravel()
        alike = [
            np.vdot(made[1:], one[1:]).real / np.linalg.norm(made[1:]) / np.linalg.norm(one[1:])
            for one in (true, other)
        ]
        assert alike[0] > 0.9 and alike[0] > alike[1] + 0.2


def test_what_shows_nothing_and_few_particles_begin_with_nothing():
    batch, _, _ = two_molecules()
    few = jax.tree.map(lambda leaf: leaf[:4], batch)
    noise = np.ones(N // 2 + 1, np.float32)
    assert Start.of_particles(few, N, PIXEL, noise, seed=0) is None
    random = np.random.default_rng(1).normal(size=batch.images.shape).astype(np.float32)
    empty = dataclasses.replace(batch, images=random)
    model = HypeModel.from_data(HypeConfig(**HYPE | {"patch": 10}, start="classes"), N, PIXEL, empty)
    assert model.start is None and model.config.start == "none"


def test_classes_that_are_known_are_begun_with_and_none_are_searched(monkeypatch):
    """By the place of each image in the list, of which these are every second one."""
    batch, label, _ = two_molecules()
    batch = dataclasses.replace(batch, index=2 * np.asarray(batch.index) + 1)
    told = np.full(2 * COUNT, -1)
    told[1::2] = 1 - label
    ones = np.ones(2 * COUNT)
    known = KnownClasses(told, np.zeros(2 * COUNT, int), ones, ones, 0.05)

    def search(*_, **__):
        raise RuntimeError("classes were searched for")

    monkeypatch.setattr("libhetero.models.hype.start.find_classes", search)
    config = HypeConfig(**HYPE | {"patch": 10}, start="classes")
    model = HypeModel.from_data(config, N, PIXEL, batch, known=known)
    assert model.start is not None and model.start.molecules == 2
    np.testing.assert_array_equal(np.argmax(model.memberships(batch), axis=1), 1 - label)
    assert model.start.rank == 1 and model.config.start == "classes"
    none = dataclasses.replace(known, label=np.where(np.arange(2 * COUNT) < 6, told, -1))
    with pytest.raises(DataError, match="3 of 160 sampled particles are in a class"):
        HypeModel.from_data(config, N, PIXEL, batch, known=none)


def test_it_is_told_of_how_many_particles_a_start_is_where_memory_holds_no_more(monkeypatch, caplog):
    batch, label, _ = two_molecules()
    monkeypatch.setattr(Start, "of_particles", lambda *_: None)
    told, ones = [], np.ones(COUNT)
    for most in (COUNT, 2 * COUNT):
        monkeypatch.setattr("libhetero.models.hype.config.MOST_IMAGES", most * 4 * N**2)
        for known in (None, KnownClasses(label, np.zeros(COUNT, int), ones, ones, 0.05)):
            caplog.clear()
            with caplog.at_level(logging.INFO):
                config = HypeConfig(**HYPE | {"patch": 10}, start="classes")
                HypeModel.from_data(config, N, PIXEL, batch, known=known)
            told.append(" ".join(caplog.messages))
    assert f"searched for in {COUNT} particles" in told[0] and "--classes" in told[0]
    assert told[1] == f"starting volumes are made of {COUNT} particles, as many as memory holds images of"
    assert told[2:] == ["", ""]


def test_a_run_may_begin_with_nothing():
    batch, _, _ = two_molecules()
    model = HypeModel.from_data(HypeConfig(**HYPE | {"patch": 10}, start="none"), N, PIXEL, batch)
    assert model.start is None and "gain" not in jax.eval_shape(model.init, jax.random.key(0))


@pytest.mark.parametrize("oversampling, part", [(1.5, 0.04), (1.25, 0.05)])
def test_volumes_between_points_are_those_of_the_molecule(oversampling, part):
    """Confined volumes, unsmoothed, between the points of the grid: to a part of their size; V(-k) = conj V(k)."""
    grid = FourierGrid(8.0, oversampling, BALL)
    molecule = [part[0] for part in molecules(1)]
    values = transform(molecule, points_of(grid)).astype(np.complex64)
    table = np.asarray(grid.unsmoothed(grid.confined(values[None])))[0]
    parts = np.stack([table.real, table.imag], axis=1)[:, :, None].astype(np.float32)
    random = np.random.default_rng(0)
    points = random.normal(size=(300, 3))
    points *= random.uniform(0.5, 6.5, (300, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
    points = points.astype(np.float32)
    there, opposite = (np.asarray(grid.interpolated(parts, k))[:, :, 0] for k in (points, -points))
    there, opposite = (one[:, 0] + 1j * one[:, 1] for one in (there, opposite))
    true = transform(molecule, points)
    assert np.linalg.norm(there - true) < part * np.linalg.norm(true)
    np.testing.assert_allclose(opposite, np.conj(there), atol=1e-4)
    assert not np.asarray(grid.interpolated(parts, np.float32([[8.01, 0, 0], [5, 5, 5]]))).any()


def test_a_place_is_the_mean_of_the_classes_places_by_their_probability():
    """Against loops over classes and pixels."""
    batch, _, _ = two_molecules()
    start = dataclasses.replace(made_start(N), noise=np.linspace(1, 2, N // 2 + 1).astype(np.float32))
    image, observation = batch.images[3], jax.tree.map(lambda leaf: leaf[3], batch.observation)
    found = np.asarray(start.told(start.pixels(jnp.asarray(image), observation, PIXEL)))
    grid, plane = start.grid, np.asarray(fourier_image(jnp.asarray(image))) / N
    table = start.table.astype(np.float64) / np.sqrt(2)
    columns = table[:, : table.shape[1] // 2] + 1j * table[:, table.shape[1] // 2 :]
    passed = np.asarray(transfer(observation, half_plane(N, PIXEL))).ravel()
    gradient, hessian = np.zeros(columns.shape[1]), np.zeros((columns.shape[1],) * 2)
    for pixel, (x, y) in enumerate(np.rint(frequencies_2d(N).reshape(-1, 2) * N)):
        radius = np.hypot(x, y)
        if not 0 < radius <= start.ring or (x == 0 and y < 0):
            continue
        shift = np.asarray(observation.pose.shift) @ np.array([x, y]) / (N * PIXEL)
        value = plane.ravel()[pixel] * np.exp(2j * np.pi * shift)
        place = np.array([x, y, 0]) @ np.asarray(observation.pose.rotation, np.float64)
        turned = np.float32(place[0]) < 0
        at = np.rint(np.float32(-place if turned else place)).astype(int) + [0, grid.reach, grid.reach]
        deviation = np.sqrt(start.noise[int(np.rint(radius))])
        row = columns[np.ravel_multi_index(tuple(at), grid.shape)] * passed[pixel] / deviation
        value = (np.conj(value) if turned else value) / deviation
        gradient += 2 * (row.conj() * value).real
        hessian += 2 * np.outer(row.conj(), row).real
    upper = np.triu_indices(len(gradient))
    joint = np.zeros(CLASSES)
    for one in range(CLASSES):
        linear, square = gradient @ start.vectors[:, one], hessian[upper] @ start.squares[:, one]
        precision = square + start.spread**-2
        joint[one] = 0.5 * (linear + start.spread**-2) ** 2 / precision - 0.5 * start.spread**-2
        joint[one] += start.share[one] - 0.5 * np.log(start.spread**2 * precision)
    probability = np.exp(joint - joint.max()) / np.exp(joint - joint.max()).sum()
    np.testing.assert_allclose(found, probability @ start.place, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    "ring, columns, most, cut",
    [
        (31, 10, MOST_TABLE, 31),
        (31, 100, MOST_TABLE, 31),
        (63, 100, MOST_TABLE, 33),
        (63, MOST_RANK + 1, MOST_TABLE, 30),
        (63, 1 + MOST_RANK + 1000, MOST_VOLUMES, 22),
    ],
)
def test_volumes_are_as_fine_and_reach_as_many_rings_as_fit_into_memory(ring, columns, most, cut):
    grid = largest_grid(ring, columns, most)
    assert grid.ring == cut and grid.oversampling in OVERSAMPLING and largest_grid(9.5, columns, most).ring == 9.5

    def fits(ring, oversampling):
        return FourierGrid(ring, oversampling, BALL).size * columns * 4 <= most

    assert fits(grid.ring, grid.oversampling)
    assert not any(fits(ring, finer) for finer in OVERSAMPLING if finer > grid.oversampling)
    assert cut == ring or not fits(cut + 1, OVERSAMPLING[-1])


@pytest.mark.parametrize("most", [MOST_TABLE, 50_000], ids=["fine", "coarse"])
def test_the_map_of_a_class_is_its_volume_on_either_grid(most):
    batch, label, shown = two_molecules()
    model = begun(most)
    assert (model.start.volume_oversampling == 1) == (most < 2**20)
    params = random_params(model.init) | {"gain": np.zeros(N // 2 + 1, np.float32)}
    first = jax.tree.map(lambda leaf: leaf[:2], batch)
    decoded = model.decode(params, model.encode(params, first))
    for number in range(2):
        weights = jax.tree.map(lambda leaf, number=number: leaf[number], decoded)
        made = np.asarray(model.volume(weights, N, PIXEL))
        true = np.asarray(real_volume(transform_gaussians(shown[label[number]], N, PIXEL), N))
        assert np.corrcoef(made.ravel(), true.ravel())[0, 1] > 0.93


def test_sums_of_some_classes_fit_into_memory():
    small, large = FourierGrid(9, 1.5, BALL), FourierGrid(31, 1.5, BALL)
    assert most_classes(small) == 128 and most_classes(large) == 32
    assert few_sizes(2 * most_classes(large)) * large.size * SUM_BYTES <= MOST_SUMS
    assert most_classes(FourierGrid(255, 1.5, BALL)) == 1


def test_volumes_are_made_of_the_images_of_their_molecules_each_read_once(monkeypatch):
    """In groups of one molecule, what is not of it is not even read; junk is of none, and one may have no image."""
    monkeypatch.setattr("libhetero.models.hype.start.BLOCK", 32)
    batch, label, _ = two_molecules()
    particles = _Particles(batch, N, PIXEL, np.ones(N // 2 + 1, np.float32))
    label = np.where(np.arange(COUNT) < 10, -1, label)
    grid, read = FourierGrid(6.0, 1.0, BALL), []

    def alone(ring, rows):
        place = np.where(np.isin(np.arange(COUNT), rows), 0, -1)
        sums = [
            sums_of(on_grid(block, grid, False), own, 1)
            for block, own, _ in particles.blocks_of(ring, place, np.arange(COUNT))
        ]
        return volumes_of(reduce(add, sums), grid)[0]

    for block, place, (number,) in particles.blocks_of(6.0, np.where(label == 1, 5, -1), np.arange(COUNT)):
        assert len(block) == len(place) == 32 and set(place) <= {5, -1}
        read.extend(number[place >= 0])
    np.testing.assert_array_equal(read, np.flatnonzero(label == 1))
    monkeypatch.setattr("libhetero.models.hype.start.most_classes", lambda grid: 1)
    found = _volumes(particles, label, 3, grid, grid)
    for one in range(2):
        np.testing.assert_allclose(found[one], alone(6.0, np.flatnonzero(label == one)), atol=1e-3)
    assert not found[2].any()


def test_volumes_of_a_fine_grid_are_those_of_a_coarse_one():
    """Of a molecule in the ball, whose transform is known at the points of both."""
    fine, coarse = FourierGrid(8.0, 1.5, BALL), FourierGrid(5.0, 1.0, BALL)
    molecule = [part[0] for part in molecules(1, reach=0.15)]
    values = transform(molecule, points_of(fine))[None].astype(np.complex64)
    values = np.where(fine.radius <= 8.0, values, 0)
    found = np.asarray(fine.resampled(fine.confined(values), coarse))[0]
    true, low = transform(molecule, points_of(coarse)), coarse.radius < 5.0
    assert np.linalg.norm((found - true)[low]) < 0.03 * np.linalg.norm(true[low])


def test_a_start_that_was_tampered_with_is_refused():
    stored = made_start(N).arrays()
    again = Start.from_arrays(stored)
    assert again.rank == RANK and all(np.array_equal(stored[name], value) for name, value in again.arrays().items())
    assert Start.from_arrays({}) is None
    with pytest.raises(DataError, match="start_noise: is missing"):
        Start.from_arrays({name: value for name, value in stored.items() if name != "start_noise"})
    for name, value in (("start_volume_ring", np.array(20.0)), ("start_squares", stored["start_squares"][1:])):
        with pytest.raises(DataError, match="expected"):
            Start.from_arrays(stored | {name: value})


def test_what_changes_within_a_class_is_stored_with_it():
    stored = moving_start(N).arrays()
    again = Start.from_arrays(stored)
    assert again.rank == RANK + 4 and all(np.array_equal(stored[name], value) for name, value in again.arrays().items())
    with pytest.raises(DataError, match="start_modes: is missing"):
        Start.from_arrays({name: value for name, value in stored.items() if name != "start_modes"})
    with pytest.raises(DataError, match="start_modes: expected"):
        Start.from_arrays(stored | {"start_modes": stored["start_modes"][:, :, 1:]})


def test_weights_of_changing_classes_are_theirs_by_their_probability_and_move_their_volumes():
    """Numbers of z beyond the components', class by class as `changing` says, and the columns of U that they are of."""
    still, start = made_start(N), moving_start(N)
    batch = particles_of(N)
    image, observation = batch.images[1], jax.tree.map(lambda leaf: leaf[1], batch.observation)
    z, before = (np.asarray(one.told(one.pixels(jnp.asarray(image), observation, PIXEL))) for one in (start, still))
    np.testing.assert_allclose(z[:RANK], before, rtol=1e-5)
    certain = dataclasses.replace(start, share=np.float32([-1e4, -1e4, 0]))
    alone = np.asarray(certain.told(certain.pixels(jnp.asarray(image), observation, PIXEL)))[RANK:]
    assert np.abs(alone[:2]).min() > 1e-3 and not alone[2:].any(), "class 2 is the first that changes"
    points = np.random.default_rng(0).uniform(-2.5, 2.5, (7, 3)).astype(np.float32)
    weights = np.float32([0.3, -1.2, 0.5, 2.0])
    moved = start.at(jnp.concatenate([z[:RANK], weights]), points) - still.at(jnp.asarray(z[:RANK]), points)
    columns = np.asarray(start.grid.interpolated(start.modes, points)) @ weights * start.volume_scale
    np.testing.assert_allclose(moved, columns[:, 0] + 1j * columns[:, 1], rtol=1e-4, atol=1e-4)


def test_modes_are_read_between_the_points_of_their_own_grid():
    grid = FourierGrid(8.0, 1.5, BALL)
    shown = [tuple(part[one] for part in molecules(2, reach=0.2)) for one in (0, 1)]
    modes = np.stack([transform(one, points_of(grid)) for one in shown], axis=1)[None].astype(np.complex64)
    modes[0] = np.asarray(grid.confined(modes[0].T)).T
    low = FourierGrid(4.0, 1.0, BALL)
    told = WithinClasses(
        np.array([0]), np.ones((1, low.size), np.complex64), np.ones((1, low.size, 2), np.complex64), np.ones(1)
    )
    stored = _stored(told, modes, grid, np.array([0, 1]), scale=4.0)
    points = np.random.default_rng(0).uniform(-3, 3, (50, 3)).astype(np.float32)
    read = 4 * np.asarray(grid.interpolated(stored["modes"], points))
    for number, one in enumerate(shown):
        true = transform(one, points)
        assert np.linalg.norm(read[:, 0, number] + 1j * read[:, 1, number] - true) < 0.05 * np.linalg.norm(true)
    assert stored["within"].shape == (low.size, 1, 6) and list(stored["changing"]) == [0]
    assert (stored["modes_ring"], stored["modes_oversampling"]) == (8.0, 1.5) and "molecule" not in stored


def test_classes_of_one_molecule_have_its_volume_and_its_weights_in_common():
    """Classes 1 and 2 of three are parts of molecule 1, which changes."""
    start = moving_start(N)
    within = start.within[:, :1]
    joined = dataclasses.replace(
        start,
        place=start.place[[0, 1, 1]],
        molecule=np.array([0, 1, 1]),
        changing=np.array([1]),
        within=within,
        modes=start.modes[:, :, :2],
    )
    batch = particles_of(N)
    image, observation = jnp.asarray(batch.images[1]), jax.tree.map(lambda leaf: leaf[1], batch.observation)
    whole = np.asarray(joined.told(joined.pixels(image, observation, PIXEL)))
    of_two, of_one = (
        np.asarray(dataclasses.replace(joined, share=np.float32(share)).told(joined.pixels(image, observation, PIXEL)))
        for share in ([-1e4, 0, 0], [0, -1e4, -1e4])
    )
    np.testing.assert_allclose(of_two[:RANK], start.place[1], rtol=1e-5)
    np.testing.assert_allclose(of_one[RANK:], 0, atol=1e-6)
    assert np.abs(of_two[RANK:]).min() > 1e-3
    member = np.asarray(joined.memberships(joined.pixels(image, observation, PIXEL)))
    assert member.shape == (2,) and joined.molecules == 2 and start.molecules == 3
    part = whole[RANK] / of_two[RANK]
    assert part == pytest.approx(member[1], rel=1e-3)
    assert 0 <= part <= 1
    np.testing.assert_allclose(whole[:RANK], part * of_two[:RANK] + (1 - part) * start.place[0], rtol=1e-4, atol=1e-5)
    again = Start.from_arrays(joined.arrays())
    np.testing.assert_array_equal(again.molecule, [0, 1, 1])
    with pytest.raises(DataError, match="start_molecule: expected"):
        Start.from_arrays(joined.arrays() | {"start_molecule": np.array([0, 1])})


def test_runs_from_before_modes_had_a_grid_of_their_own_read_them_on_that_of_the_search():
    start = dataclasses.replace(moving_start(N), modes_ring=None, modes_oversampling=None)
    assert "start_modes_ring" not in start.arrays() and Start.from_arrays(start.arrays()).modes_grid == start.grid
    fine = FourierGrid(6.0, 1.25, BALL)
    modes = np.zeros((fine.size, *start.modes.shape[1:]), np.float16)
    other = dataclasses.replace(start, modes=modes, modes_ring=fine.ring, modes_oversampling=fine.oversampling)
    assert Start.from_arrays(other.arrays()).modes_grid == fine
    with pytest.raises(DataError, match="start_modes: expected"):
        Start.from_arrays({name: one for name, one in other.arrays().items() if "modes_" not in name})


def test_one_class_is_a_volume_for_all():
    model = HypeModel.from_data(HypeConfig(**HYPE), 32, PIXEL, particles_of(32))
    start = made_start(32)
    one = {"vectors": start.vectors[:, :1], "squares": start.squares[:, :1], "share": start.share[:1]}
    start = dataclasses.replace(start, **one, place=np.zeros((1, 0), np.float32), volumes=start.volumes[:, :, :1])
    model = dataclasses.replace(model, start=start)
    params = random_params(model.init) | {"gain": np.zeros(17, np.float32)}
    assert "told" not in params["encoder"]
    weights = model.decode(params, model.encode(params, particles_of(32)))
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (9, 3)).astype(np.float32)
    each = jax.vmap(lambda own: model.values(own, jnp.asarray(points)))(weights)
    expected = start.at(jnp.zeros(0), 32 * points)
    np.testing.assert_allclose(each, np.broadcast_to(expected, each.shape), rtol=1e-5, atol=1e-5)


def test_of_more_molecules_than_components_tell_apart_the_volumes_are_read_in_full(monkeypatch):
    """Four molecules, the images of two dealt out: each has the volume that its images alone make.

    Where a latent says the place of one among the components, and that all molecules are as probable, its volume is
    that of the place: remainders are 0 on the average of molecules that have as many images each.
    """
    monkeypatch.setattr("libhetero.models.hype.start.MOST_RANK", 1)
    batch, ones = two_molecules()[0], np.ones(COUNT)
    label = np.arange(COUNT) % 4
    config = HypeConfig(**HYPE | {"patch": 10}, start="classes")
    model = HypeModel.from_data(
        config, N, PIXEL, batch, known=KnownClasses(label, np.zeros(COUNT, int), ones, ones, 0.05)
    )
    start = model.start
    assert start.whole and start.molecules == 4 and start.place.shape[1] == 1 and start.rank == start.told_rank + 4
    assert start.volumes.shape == (start.volume_grid.size, 2, 6)
    grid = FourierGrid(start.volume_ring, OVERSAMPLING[0], BALL)
    assert grid == start.volume_grid
    slices = on_grid(central_slices(batch, N, PIXEL, grid.ring, start.noise), grid, False)
    alone = np.asarray(volumes_of(sums_of(slices, label, 4), grid))
    points = np.random.default_rng(0).uniform(-4, 4, (30, 3)).astype(np.float32)
    read, rough = read_at(alone, points, grid), read_at(along_one_component(alone), points, grid)
    for share, expected in ((np.eye(4), read), (np.full((4, 4), 0.25), rough)):
        places = np.concatenate([start.place, share], axis=1).astype(np.float32)
        found = [start.at(place, points) for place in places]
        np.testing.assert_allclose(found, expected, atol=3e-3 * start.volume_scale)
    assert np.abs(read - rough).max() > 0.03 * start.volume_scale
    params = random_params(model.init) | {"gain": np.zeros(N // 2 + 1, np.float32)}
    assert params["encoder"]["told"]["kernel"].shape[0] == start.told_rank
    first = jax.tree.map(lambda leaf: leaf[:3], batch)
    probability, latent = np.asarray(model.memberships(first)), model.encode(params, first)
    for shown, share in ((latent, probability), (latent.mean(axis=0, keepdims=True), probability.mean(axis=0)[None])):
        found = jax.vmap(lambda own: model.values(own, jnp.asarray(points / N)))(model.decode(params, shown))
        np.testing.assert_allclose(found, share @ read, atol=3e-3 * start.volume_scale)


@pytest.mark.parametrize("made", [made_start, moving_start])
def test_what_is_not_of_the_likeliest_molecules_counts_by_its_components(made, monkeypatch):
    """Against all columns of the table, read at once; the probabilities are the last numbers of z."""
    few = made(N)
    start = many_start(few)
    batch = particles_of(N)
    pixels = start.pixels(jnp.asarray(batch.images[1]), jax.tree.map(lambda leaf: leaf[1], batch.observation), PIXEL)
    z = np.asarray(start.told(pixels))
    assert start.rank == len(z) == few.rank + CLASSES and start.told_rank == few.told_rank == few.rank
    np.testing.assert_allclose(z[: few.rank], few.told(pixels), rtol=1e-6)
    np.testing.assert_allclose(z[few.rank :], start.memberships(pixels), rtol=1e-6)
    points = np.random.default_rng(0).uniform(-3, 3, (20, 3)).astype(np.float32)
    columns = np.asarray(start.volume_grid.interpolated(start.volumes, points)) * start.volume_scale
    left = (columns[:, 0] + 1j * columns[:, 1])[:, 1 + RANK :]
    for most, share in ((16, [0.2, 0.5, 0.3]), (2, [0, 0.5, 0.3]), (1, [0, 0.5, 0])):
        monkeypatch.setattr("libhetero.models.hype.start.LIKELIEST", most)
        place = np.concatenate([z[: few.rank], np.float32([0.2, 0.5, 0.3])])
        expected = few.at(jnp.asarray(z[: few.rank]), points) + left @ np.array(share)
        np.testing.assert_allclose(start.at(jnp.asarray(place), points), expected, rtol=1e-4, atol=1e-4)
        slope = np.asarray(jax.grad(lambda z: jnp.sum(jnp.abs(start.at(z, points)) ** 2))(jnp.asarray(place)))
        np.testing.assert_array_equal(slope[few.rank :] != 0, np.array(share) > 0)
        assert np.isfinite(slope).all() and slope[:RANK].all()


def test_a_latent_whose_probabilities_are_spread_evenly_has_the_volume_of_its_components():
    """Of 200 molecules 16 are read, which count for 1/200 each; the mean of latents keeps the mean of components."""
    few = made_start(N)
    random = np.random.default_rng(3)
    one = np.arange(200) % CLASSES
    judged = {"vectors": few.vectors[:, one], "squares": few.squares[:, one], "share": few.share[one]}
    few = dataclasses.replace(few, **judged, place=random.normal(size=(200, RANK)).astype(np.float32))
    start = many_start(few)
    points = random.uniform(-3, 3, (20, 3)).astype(np.float32)
    left = np.asarray(start.volume_grid.interpolated(start.volumes, points))[:, :, 1 + RANK :] * start.volume_scale
    size = np.abs(left[:, 0] + 1j * left[:, 1]).max(axis=1)
    for place in random.normal(size=(3, RANK)).astype(np.float32):
        expected = few.at(place, points)
        found = start.at(np.append(place, np.full(200, 1 / 200, np.float32)), points)
        assert (np.abs(found - expected) <= 16 / 200 * size).all()
        assert np.linalg.norm(expected - few.at(jnp.zeros(RANK), points)) > 5 * np.linalg.norm(found - expected)
    latents = np.concatenate([few.place, np.eye(200)], axis=1).astype(np.float32)
    found, expected = start.at(latents.mean(axis=0), points), few.at(few.place.mean(axis=0), points)
    assert (np.abs(found - expected) <= 16 / 200 * size).all()


def test_probabilities_are_in_the_order_of_molecules_where_classes_are_not(monkeypatch):
    """Class 0 is molecule 1, and class 1 is molecule 0."""

    def turned(*args):
        mixture = known_mixture(*args)
        return dataclasses.replace(mixture, molecule=1 - mixture.molecule)

    monkeypatch.setattr("libhetero.models.hype.start.known_mixture", turned)
    batch, label, _ = two_molecules()
    ones = np.ones(COUNT)
    known = KnownClasses(label, np.zeros(COUNT, int), ones, ones, 0.05)
    start = Start.of_particles(batch, N, PIXEL, np.ones(N // 2 + 1, np.float32), 0, known)
    start = Start.from_arrays(start.arrays())
    np.testing.assert_array_equal(start.molecule, [1, 0])
    shown = jax.vmap(lambda image, observation: start.memberships(start.pixels(image, observation, PIXEL)))
    assert np.mean(np.argmax(shown(batch.images, batch.observation), axis=1) == 1 - label) > 0.95


def test_columns_of_a_table_are_read_as_the_whole_of_it_is():
    start = many_start(made_start(N))
    points = np.random.default_rng(0).uniform(-3, 3, (2, 9, 3)).astype(np.float32)
    columns = np.array([[3, 0], [1, 3]])
    read = jax.vmap(lambda at, some: start.volume_grid.interpolated(start.volumes, at, columns=some))(points, columns)
    for one in range(2):
        whole = start.volume_grid.interpolated(start.volumes, points[one])
        np.testing.assert_allclose(read[one], whole[:, :, columns[one]], rtol=1e-6)


def test_volumes_of_many_molecules_are_stored_as_such():
    stored = many_start(moving_start(N)).arrays()
    again = Start.from_arrays(stored)
    assert again.whole and again.rank == RANK + 4 + CLASSES and not Start.from_arrays(moving_start(N).arrays()).whole
    assert all(np.array_equal(stored[name], value) for name, value in again.arrays().items())
    assert stored["start_volumes"].shape[2] == 1 + RANK + CLASSES
    more = np.concatenate([stored["start_volumes"], stored["start_volumes"][:, :, :1]], axis=2)
    with pytest.raises(DataError, match="start_volumes: expected"):
        Start.from_arrays(stored | {"start_volumes": more})
    with pytest.raises(DataError, match="start_volumes: expected"):
        Start.from_arrays(stored | {"start_volumes": stored["start_volumes"][:, :, :RANK]})


def test_the_network_begins_beside_the_volumes_and_alone_beyond_their_rings():
    model = HypeModel.from_data(HypeConfig(**HYPE), 32, PIXEL, particles_of(32))
    model = dataclasses.replace(model, start=made_start(32))
    gain = np.asarray(model.init(jax.random.key(0))["gain"])
    np.testing.assert_allclose(gain[:7], GAIN)
    np.testing.assert_allclose(gain[7:], 1)


def along_one_component(volumes):
    """Return volumes, the rows, as their mean and the first of their principal components show them."""
    mean = volumes.mean(axis=0)
    both = np.concatenate([(volumes - mean).real, (volumes - mean).imag], axis=1)
    left, value, right = np.linalg.svd(both, full_matrices=False)
    shown = value[0] * np.outer(left[:, 0], right[0])
    return mean + shown[:, : len(mean)] + 1j * shown[:, len(mean) :]


def read_at(volumes, points, grid):
    """Return confined volumes, the rows, between the points of their grid."""
    shown = np.asarray(grid.unsmoothed(volumes)).T
    read = np.asarray(grid.interpolated(np.stack([shown.real, shown.imag], axis=1), points))
    return (read[:, 0] + 1j * read[:, 1]).T


def particles_of(n):
    """Return four images of nothing."""
    noise = np.random.default_rng(0).normal(size=(4, n, n)).astype(np.float32)
    return batch_of(noise, poses(4, 0), defocus_series(4))
