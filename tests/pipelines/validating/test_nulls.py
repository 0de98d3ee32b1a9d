"""Sets in which nothing changes have the run's noise, and regions come straight from a subspace."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from libhetero.analysis.constant import shared_change
from libhetero.analysis.gaussian_features import similarity_of
from libhetero.analysis.regions import Regions
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.further import SEARCHED_BOX, seen_coarsely
from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.latent.subspace import Subspace
from libhetero.models.gmm.layout import Layout
from libhetero.models.gmm.noise import measure_noise
from libhetero.physics.fourier import ring_index
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.rotations import random_rotations
from libhetero.pipelines.validating import nulls
from libhetero.pipelines.validating.record import NullSets
from libhetero.records import Batch, Gaussians, Pose
from tests.making.mixtures import gaussians
from tests.making.optics import optics
from tests.making.runs import field_run

N, PIXEL = 16, 8.0


class Projector:
    """A model that projects Gaussians."""

    box_size, pixel_size, image_scale, family = N, PIXEL, 3.0, "gmm"
    config, ring_weight, mobile = GmmConfig(vary="a", latent_size=3), np.ones((N, N // 2 + 1), np.float32), np.ones(40)
    subspace = SimpleNamespace(nuisances=Nuisances())

    def render(self, mixture, pose, n, pixel_size):
        return project_gaussians(mixture, pose, n, pixel_size)


def ring_weights(power):
    """Return the weights of noise of a power in each ring from 1 to the last."""
    weight = np.zeros(N)
    weight[1 : N // 2] = 1 / power[1 : N // 2]
    plane = weight[np.minimum(ring_index(N), N - 1)].astype(np.float32)
    plane[N // 2 :, 0] = 0
    return plane


def subspace_of(letters, mean, modes):
    """Return a subspace of some kinds of change."""
    rank, rows = modes.shape[-1], (array.astype(np.float32) for array in (mean, modes))
    return Subspace(Layout.of(letters), *rows, letters[-1] * rank, np.zeros(rank), np.ones(rank), Nuisances())


def seen_particles(count):
    """Return particles without an image, from all sides."""
    rng = np.random.default_rng(1)
    rotation = np.asarray(random_rotations(jax.random.key(0), (count,)))
    ctf = optics(15000 + 5000 * rng.random(count), 0.0, np.float32, defocus_angle=0.3)
    return Batch(
        np.zeros((count, N, N), np.float32),
        Pose(rotation=rotation, shift=rng.normal(size=(count, 2)).astype(np.float32)),
        jax.tree.map(lambda column: np.asarray(column, np.float32), ctf),
        np.arange(count),
        np.ones(count, np.float32),
    )


def test_noise_has_the_power_of_each_ring():
    power = np.linspace(1, 9, N) ** 2
    noise = nulls.with_noise(np.zeros((400, N, N), np.float32), ring_weights(power), np.random.default_rng(0))
    spectrum = (np.abs(np.fft.rfft2(noise)) ** 2).mean(axis=0)
    ring = ring_index(N)
    for one in range(1, N // 2):
        assert spectrum[ring == one].mean() == pytest.approx(power[one], rel=0.05)
    assert spectrum[ring == 0].max() < 1e-8 and spectrum[ring >= N // 2].max() < 1e-8


def test_a_null_set_is_the_structure_as_the_run_saw_it():
    """Scale and noise that a run measures in a null set are those that it was made with."""
    count, power = 128, np.full(N, 50.0)
    rng = np.random.default_rng(0)
    mixture = gaussians(18 * rng.normal(size=(20, 3)).astype(np.float32))
    batch = seen_particles(count)
    images = nulls.Shown.of(Projector(), mixture, batch, None).batch.images
    noisy = nulls.with_noise(images, ring_weights(power), rng)
    made = Batch(noisy, batch.pose, batch.ctf, batch.index, batch.weight)
    scale, weight = measure_noise(mixture, made, N, PIXEL, (1, N // 2))
    assert scale == pytest.approx(3.0, rel=0.02)
    np.testing.assert_allclose(weight[weight > 0], 1 / 50, rtol=0.25)


@pytest.mark.parametrize("feature", ["amplitude", "motion", "both"])
def test_similarity_of_a_subspace_is_that_of_particles_drawn_from_it(feature):
    rng = np.random.default_rng(0)
    neutral = Gaussians(rng.normal(size=(6, 3)), np.array([1.0, 1, 1, 2, 1, 1]), np.full(6, 2.0))
    modes, mean = rng.normal(size=(6, 4, 2)), 0.1 * rng.normal(size=(6, 4))
    subspace = subspace_of("pa", mean, modes)
    latent = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])  # of variance 1, uncorrelated
    change = mean + np.einsum("ncr,pr->pnc", modes, latent)
    columns = {
        "amplitude": 1 + change[..., 3:],
        "motion": change[..., :3] / 2,
        "both": np.concatenate([1 + change[..., 3:], change[..., :3] / 2], axis=-1),
    }[feature].reshape(4, -1)
    expected = similarity_of(np.cov(columns.T, bias=True), columns.mean(axis=0), 4, feature)
    np.testing.assert_allclose(nulls.subspace_similarity(subspace, neutral, feature, 4), expected, rtol=1e-4)


def test_what_a_search_finds_is_told_by_its_regions(monkeypatch):
    modes = np.zeros((40, 2), np.float32)
    modes[:15, 0], modes[20:40, 1] = 0.5, 0.8
    label = np.repeat([1, 0, 2], [15, 5, 20])

    def grouped(similarity, config):
        size = shared_change(similarity, 5)
        plane = np.zeros((40, 2), np.float32)
        return Regions(label, size, 0.02, plane, 1.0, None, None, 2, 1.0, 1.0)

    monkeypatch.setattr(nulls, "find_regions", grouped)
    model = Projector()
    model.neutral = gaussians(np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    model.config = dataclasses.replace(model.config, decided=())
    shown = (nulls.Shown.of(model, model.neutral, seen_particles(2), None),)
    search = nulls.NullSearch(model, model.neutral, shown, "amplitude", 0)
    for kept, expected in ((modes, (2, 0.8 / 1.8)), (modes[:, :0], (0, 0.0))):
        asked, subspace = {}, subspace_of("a", np.zeros((40, 1)), kept[:, None])

        def create(family, config, *, found=subspace, asked=asked, **given):
            asked.update(given, vary=config.vary, rank=config.latent_size)
            return SimpleNamespace(decoded_subspace=found)

        monkeypatch.setattr(nulls.models, "create", create)
        assert search.search(np.random.default_rng(0)) == pytest.approx(expected, rel=1e-3), "of what is there at most"
        assert (asked["vary"], asked["rank"], asked["gaussians"]) == ("a", 0, model.neutral), "as the run was asked for"
        assert asked["sample"].images.std() > 0 and asked["further"] is None, "with noise"
    model.config = dataclasses.replace(model.config, decided=("vary",))
    search.search(np.random.default_rng(0))
    assert asked["vary"] == "auto", "what the run's particles decided, those of a null set do"
    model.config = dataclasses.replace(model.config, decided=None)
    search.search(np.random.default_rng(0))
    assert asked["vary"] == "auto", "of a run that does not tell what it was asked for"


def test_poses_of_null_sets_are_off_as_the_run_s_are():
    """Each set's by themselves; the list has the poses as they are said to be."""
    model, mixture = Projector(), gaussians(18 * np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32))
    shown = nulls.Shown.of(model, mixture, seen_particles(64), None)
    still = shown.batch.images

    def difference(off, seed):
        model.subspace = SimpleNamespace(nuisances=off)
        model.ring_weight = np.full((N, N // 2 + 1), np.inf)  # no noise
        images = dataclasses.replace(shown, ring_weight=model.ring_weight).images(
            model, mixture, np.random.default_rng(seed)
        )
        return images - still

    assert not difference(Nuisances(0.1), 0).any(), "contrast is each particle's own"
    off = [difference(Nuisances(0.1, shift, 0.0), 0).std() for shift in (0.5, 1.0)]
    assert off[1] == pytest.approx(2 * off[0], rel=0.1) and off[0] > 0
    turned = [difference(Nuisances(0.1, 0.0, 0.05), seed) for seed in (0, 1)]
    assert np.abs(turned[0] - turned[1]).max() > 0.1 * turned[0].std()


def test_further_particles_of_null_sets_show_the_same_at_fewer_pixels():
    model, mixture = Projector(), gaussians(18 * np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32))
    model.box_size = n = 64
    model.pixel_size, model.ring_weight = PIXEL / 4, np.ones((n, n // 2 + 1), np.float32)
    few = seen_particles(3)
    full, coarse = (
        nulls.Shown.of(model, mixture, dataclasses.replace(few, images=np.zeros((3, size, size), np.float32)), None)
        for size in (n, SEARCHED_BOX)
    )
    expected = seen_coarsely(full.batch).images
    np.testing.assert_allclose(coarse.batch.images, expected, atol=1e-3 * np.abs(expected).max())
    assert coarse.ring_weight.shape == (SEARCHED_BOX, SEARCHED_BOX // 2 + 1)


class Stopped(Exception):
    """What ends a search from without."""


class Drawing:
    """A search that finds what the noise begins with; stopped after some sets.

    Parameters
    ----------
    limit : sets.
    kind : of the search.
    """

    def __init__(self, limit: int, kind: str = "one") -> None:
        self.left, self.kind = limit, kind

    def digest(self, seed):
        return f"{self.kind} {seed}"

    def search(self, random):
        if not self.left:
            raise Stopped
        self.left -= 1
        return 1, float(random.random())


def test_null_sets_that_were_searched_are_kept_and_those_of_another_search_are_not(tmp_path, monkeypatch):
    run = field_run(tmp_path)

    def searched(search, sets=5, seed=0):
        monkeypatch.setattr(nulls.NullSearch, "of", classmethod(lambda kind, *asked: search))
        return nulls.search_nulls(run, sets, "amplitude", None, seed, folder=tmp_path)

    with pytest.raises(Stopped):
        searched(Drawing(3))
    assert nulls.sets_so_far(tmp_path) == 3
    rest = Drawing(2)
    found = searched(rest)
    assert found.change == tuple(float(one.random()) for one in np.random.default_rng(0).spawn(5)) and not rest.left
    assert searched(Drawing(0), sets=2).change == found.change[:2], "fewer are the first of them"
    assert nulls.sets_so_far(tmp_path) == 5
    for other, seed in ((Drawing(5, "another"), 0), (Drawing(5), 1)):
        searched(other, seed=seed)
        assert not other.left
    (tmp_path / nulls.SEARCHED).write_text('{"search": "one 1", "directions": [1], "change": [0.5, 0.5]}')
    again = Drawing(5)
    searched(again, seed=1)
    assert not again.left, "a file that contradicts itself is not taken"


def test_a_digest_tells_searches_apart():
    def digest(feature="amplitude", seed=0, noise=0, change=0.0, shift=0.0):
        model = Projector()
        model.ring_weight = ring_weights(np.full(N, 4.0))
        sample = seen_particles(2)
        sample = dataclasses.replace(sample, images=sample.images + np.float32(change))
        model.subspace = SimpleNamespace(nuisances=Nuisances(0.1, shift))
        shown = nulls.Shown(sample, np.ones(2, np.float32), model.ring_weight)
        return nulls.NullSearch(model, gaussians(np.zeros((1, 3))), (shown,), feature, seed).digest(noise)

    assert digest() == digest()
    others = (digest("motion"), digest(seed=1), digest(noise=1), digest(change=1e-3), digest(shift=1.0))
    assert len({digest(), *others}) == 6


def test_false_positive_rates_count_the_set_itself():
    found = NullSets((0, 1, 0, 2), (0.0, 0.3, 0.0, 0.5), "amplitude")
    assert found.with_directions == 2
    assert [found.false_positive(change) for change in (0.6, 0.5, 0.3, 0.1)] == [1 / 5, 2 / 5, 3 / 5, 3 / 5]
