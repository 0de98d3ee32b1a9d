"""What every model family promises (`libhetero.models.family`)."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero import models
from libhetero.configuration import from_dict, to_dict
from libhetero.errors import ConfigurationError
from libhetero.models.families import FAMILIES, family_named
from libhetero.models.family import MixtureFamily, ModelFamily
from libhetero.models.hype.config import HypeConfig
from libhetero.models.options import PRESETS
from libhetero.physics.fourier import fourier_image
from libhetero.records import Batch, Pose
from libhetero.training.configuration import TrainingConfig
from tests.making.images import BOX, COUNT, PIXEL, particles
from tests.making.models import CONFIGS, make_model, random_params

EXPLAINABLE = 2.0  # of the images' power, whatever these few say
KEY, OTHER_KEY = (jax.random.key(seed, impl="rbg") for seed in (3, 4))  # quick to compile


@dataclass(frozen=True, eq=False)
class Case:
    """A model, its parameters and its methods, compiled once."""

    model: ModelFamily
    params: Any
    init: Callable
    batch: Batch
    encode: Callable
    decode: Callable
    loss: Callable
    render: Callable
    volume: Callable

    def first(self) -> Any:
        """The representation of the first particle."""
        decoded = self.decode(self.params, self.encode(self.params, self.batch))
        return jax.tree.map(lambda array: array[0], decoded)


@pytest.fixture(scope="module", params=list(CONFIGS))
def case(request) -> Case:
    model = dataclasses.replace(make_model(request.param), explainable=EXPLAINABLE)  # type: ignore[type-var]
    return Case(
        model=model,
        params=random_params(model.init),
        init=jax.jit(model.init),
        batch=particles(),
        encode=jax.jit(model.encode),
        decode=jax.jit(model.decode),
        loss=jax.jit(jax.value_and_grad(model.loss, has_aux=True)),
        render=jax.jit(lambda one, pose: model.render(one, pose, BOX, PIXEL)),
        volume=jax.jit(lambda one: model.volume(one, BOX, PIXEL)),
    )


def weighing(batch: Batch, weight: list[float]) -> Batch:
    return dataclasses.replace(batch, weight=np.asarray(weight, np.float32))


def assert_trees_close(first, second, rtol=2e-4, atol=1e-6):
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def test_says_what_it_is(case):
    """What its particles have decided besides, which in these cases is nothing."""
    config = case.model.config
    if getattr(config, "decided", None) is not None:
        assert config.decided == ()
        config = dataclasses.replace(config, decided=None)
    assert (case.model.family, config) in CONFIGS.values()
    assert (case.model.box_size, case.model.pixel_size) == (BOX, PIXEL)


def test_fresh_parameters_are_float32_and_follow_the_key(case):
    shapes = jax.eval_shape(case.model.init, KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    one, again, other = case.init(KEY), case.init(KEY), case.init(OTHER_KEY)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(one))
    assert_trees_close(one, again, rtol=0, atol=0)
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    assert any(not np.array_equal(a, b) for a, b in pairs)


def test_shapes_and_dtypes(case):
    model = case.model
    latent = jax.eval_shape(model.encode, case.params, case.batch)
    assert latent.dtype == jnp.float32 and latent.shape[0] == COUNT and latent.ndim == 2
    posterior = jax.eval_shape(model.posterior, case.params, case.batch)
    assert posterior.latent.shape == posterior.deviation.shape == latent.shape
    for each in (posterior.contrast, posterior.contrast_deviation, posterior.evidence):
        assert (each.shape, each.dtype) == ((COUNT,), jnp.float32)
    decoded = jax.eval_shape(model.decode, case.params, latent)
    for leaf in jax.tree.leaves(decoded):
        assert leaf.dtype == jnp.float32 and leaf.shape[0] == COUNT
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), decoded)
    pose = case.batch.pose.take(0)
    for n, pixel_size in ((BOX, PIXEL), (24, 3.0), (8, 8.0)):
        plane = jax.eval_shape(lambda r, p, n=n, a=pixel_size: model.render(r, p, n, a), one, pose)
        assert (plane.shape, plane.dtype) == ((n, n // 2 + 1), jnp.complex64)
        volume = jax.eval_shape(lambda r, n=n, a=pixel_size: model.volume(r, n, a), one)
        assert (volume.shape, volume.dtype) == ((n, n, n), jnp.float32)
    loss, metrics = jax.eval_shape(model.loss, case.params, case.batch, KEY)
    assert (loss.shape, loss.dtype) == ((), jnp.float32)
    assert metrics and {(m.shape, str(m.dtype)) for m in metrics.values()} == {((), "float32")}


def test_the_signal_explained_is_what_is_taken_off_the_power_of_the_images(case):
    (_, metrics), _ = case.loss(case.params, case.batch, KEY)
    if getattr(case.model.config, "loss", "") == "frc":
        assert "signal" not in metrics
        return
    if case.model.family == "hype":
        error, power = metrics["mse"], metrics["mse"] / (1 - metrics["explained"])
    else:
        error, weight = metrics["misfit"], case.model.ring_weight
        images = np.abs(np.fft.rfft2(np.fft.ifftshift(np.asarray(case.batch.images), axes=(1, 2)))) ** 2
        power = np.sum(weight * images, axis=(1, 2)).mean() / np.count_nonzero(weight)
    assert float(metrics["signal"]) == pytest.approx(float((power - error) / EXPLAINABLE), rel=1e-3)


def test_loss_and_gradients_are_finite_and_reach_every_part(case):
    (loss, metrics), gradient = case.loss(case.params, case.batch, KEY)
    assert np.isfinite(loss) and all(np.isfinite(value) for value in metrics.values())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    for part, leaves in gradient.items():
        assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(leaves)), part


def test_gradients_are_finite_on_empty_images_without_noise(case):
    """A black image, at fresh parameters, must not stop training."""
    empty = dataclasses.replace(case.batch, images=np.zeros_like(case.batch.images))
    (loss, _), gradient = case.loss(case.init(KEY), empty, KEY)
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_padding_changes_nothing(case):
    """Weight 0 gives neither loss nor gradient, whatever the image; the mean is over the rest."""
    padded = weighing(case.batch, [1, 1, 1, 0])
    rubbish = np.array(case.batch.images)
    rubbish[3] = 1e3 * np.random.default_rng(5).normal(size=(BOX, BOX))
    (loss, metrics), gradient = case.loss(case.params, padded, KEY)
    other = case.loss(case.params, dataclasses.replace(padded, images=rubbish), KEY)
    assert_trees_close(((loss, metrics), gradient), other)
    alone = [case.loss(case.params, weighing(case.batch, row), KEY) for row in np.eye(COUNT)[:3]]
    assert float(loss) == pytest.approx(np.mean([float(value) for (value, _), _ in alone]), rel=1e-5)
    mean = jax.tree.map(lambda *each: sum(each) / 3, *[gradient for _, gradient in alone])
    assert_trees_close(gradient, mean, rtol=1e-3, atol=1e-5)


def test_latents_do_not_depend_on_the_batch(case):
    latent = np.asarray(case.encode(case.params, case.batch))
    spread = np.abs(latent - latent[0]).max()
    assert spread > 1e-4, "every particle has one latent"
    order = np.array([2, 0, 0, 3])
    mixed = Batch(
        np.asarray(case.batch.images)[order],
        case.batch.pose.take(order),
        case.batch.ctf.take(order),
        case.batch.index[order],
        np.array([1, 0, 1, 1], np.float32),
    )
    found = np.asarray(case.encode(case.params, mixed))
    np.testing.assert_allclose(found, latent[order], atol=1e-4 * spread + 1e-6)


def test_every_image_is_of_one_of_the_molecules(case):
    found = np.asarray(jax.jit(case.model.memberships)(case.batch))
    assert found.shape[0] == COUNT and found.shape[1] >= 1 and (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-4)
    began = getattr(case.model, "start", None)
    assert found.shape[1] == (1 if began is None else began.molecules)


def test_a_saved_model_gives_the_same(case):
    file = io.BytesIO()
    np.savez(file, **case.model.arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        config = from_dict(type(case.model.config), json.loads(json.dumps(to_dict(case.model.config))))
        again = models.build(case.model.family, config, dict(arrays))
    assert again.config == case.model.config
    both = again.arrays().items()
    for name, array in both:
        np.testing.assert_array_equal(array, case.model.arrays()[name], err_msg=name)

    latent = jax.jit(again.encode)(case.params, case.batch)
    assert_trees_close(latent, case.encode(case.params, case.batch))
    programs = [jax.jit(model.loss).lower(case.params, case.batch, KEY).as_text() for model in (case.model, again)]
    assert programs[0] == programs[1]


def test_upright_render_is_the_projection_of_the_volume(case):
    one = case.first()
    plane = np.asarray(case.render(one, Pose(rotation=jnp.eye(3), shift=jnp.zeros(2))))
    volume = np.asarray(case.volume(one), np.float64)
    projected = np.array(fourier_image(volume.sum(axis=0).astype(np.float32)))
    inside = inside_nyquist()
    assert correlation(plane[inside], projected[inside]) >= 0.999
    scale = np.abs(projected[inside]).max()
    np.testing.assert_allclose(plane[inside], projected[inside], atol=2e-3 * scale)


def test_render_is_a_slice_of_the_volume_at_every_quarter_turn(case):
    """At the 24 rotations of the cube a slice falls on the grid: no interpolation is between."""
    one, inside = case.first(), inside_nyquist()
    volume = np.asarray(case.volume(one), np.float64)
    transform = np.fft.fftn(np.fft.ifftshift(volume))
    wave = np.rint(np.fft.fftfreq(BOX) * BOX).astype(int)
    ky, kx = np.meshgrid(wave, wave[: BOX // 2 + 1] % BOX, indexing="ij")
    for rotation in rotations_of_the_cube()[::3]:
        x, y, z = (kx * rotation[0, axis] + ky * rotation[1, axis] for axis in range(3))
        expected = transform[z % BOX, y % BOX, x % BOX]
        plane = np.asarray(case.render(one, Pose(rotation=jnp.asarray(rotation, jnp.float32), shift=jnp.zeros(2))))
        scale = np.abs(expected[inside]).max()
        np.testing.assert_allclose(plane[inside], expected[inside], atol=2e-3 * scale)


def test_render_moves_with_the_shift(case):
    one = case.first()
    rotation = jnp.asarray(case.batch.pose.rotation[0])
    centred = case.render(one, Pose(rotation=rotation, shift=jnp.zeros(2)))
    moved = case.render(one, Pose(rotation=rotation, shift=jnp.asarray([2 * PIXEL, -PIXEL])))
    inside = inside_nyquist()
    back = np.fft.rfft2(np.roll(np.fft.irfft2(moved * inside, (BOX, BOX)), (1, -2), axis=(0, 1)))
    centred = np.fft.rfft2(np.fft.irfft2(centred * inside, (BOX, BOX)))
    np.testing.assert_allclose(back, centred, atol=1e-3 * np.abs(centred).max())


def test_a_model_follows_the_protocols_that_its_family_says(case):
    assert isinstance(case.model, ModelFamily)
    assert isinstance(case.model, MixtureFamily) == family_named(case.model.family).mixtures


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_table_of_families_is_complete(family):
    assert family_named(family.name) is family
    assert family.model().family == family.name
    assert family.name in {name for name, _ in CONFIGS.values()}, "tests/making/models.py lacks this family"
    for preset in PRESETS:
        config = family.config.preset(preset)
        assert from_dict(family.config, to_dict(config)) == config.settled(config) == config
        assert config.sample_size(64, 256, 1) >= 256
        TrainingConfig(**family.training_defaults(preset))
    with pytest.raises(ConfigurationError, match="unknown preset 'huge'; expected small, default or paper"):
        family.config.preset("huge")
    assert set(family.preset_training) <= set(PRESETS)
    names = {field.name for field in dataclasses.fields(family.config)}
    assert family.chosen_by is None or family.chosen_by in names


def test_one_family_is_taken_without_a_word_and_the_others_by_options_of_their_own():
    first, *others = FAMILIES
    assert first.chosen_by is None and not first.flags
    assert all(family.chosen_by and family.flags for family in others)
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_unknown_family_and_unknown_key():
    with pytest.raises(ConfigurationError, match="unknown model family 'vae'; expected hype or gmm"):
        models.build("vae", {}, {})
    with pytest.raises(ConfigurationError, match="unknown key depht"):
        from_dict(HypeConfig, {"depht": 2})
    with pytest.raises(ConfigurationError, match="starting mixture; expected --model FILE"):
        models.create("gmm", CONFIGS["gmm+mlp"][1], box_size=BOX, pixel_size=PIXEL, sample=None)


def inside_nyquist() -> np.ndarray:
    """Half-plane pixels with 0 < |k| < n / 2."""
    ky, kx = np.meshgrid(np.fft.fftfreq(BOX), np.fft.rfftfreq(BOX), indexing="ij")
    radius = np.hypot(kx, ky) * BOX
    return (radius > 0.5) & (radius < BOX / 2 - 1e-3)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Real correlation of two complex vectors."""
    cross = np.vdot(first, second).real
    return cross / np.sqrt(np.vdot(first, first).real * np.vdot(second, second).real)


def rotations_of_the_cube() -> list[np.ndarray]:
    """The 24 signed permutations of the axes with determinant 1."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = np.zeros((3, 3), int)
            matrix[range(3), order] = signs
            if round(np.linalg.det(matrix)) == 1:
                found.append(matrix)
    return found
