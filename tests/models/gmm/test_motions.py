"""Modes made true to motions of many Å."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.gmm.changes import modes_in_outputs, start_of_neutral
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.latent.posterior import infer
from libhetero.models.gmm.latent.subspace import Imaging, Subspace
from libhetero.models.gmm.layout import Layout
from libhetero.models.gmm.motions import LinearModel, Settling, likelihoods, rising_grids, settle_motions
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.symmetry import symmetry_operators
from libhetero.records import Batch, Gaussians
from tests.making.images import batch_of
from tests.making.mixtures import gaussians
from tests.making.optics import defocus_series
from tests.making.poses import poses

BOX, PIXEL, SEEN = 20, 6.0, 200
CORE, ARM, PIECE = 16, 10, 6  # Gaussians
HALF_TURN = 0.6  # radians either way


def molecule() -> Gaussians:
    """Return a core, an arm that reaches out of it along x, and a piece on the other side."""
    random = np.random.default_rng(4)
    core = random.normal(0, 6.0, (CORE, 3))
    arm = np.column_stack([np.linspace(12, 36, ARM), *random.normal(0, 2.0, (2, ARM))])
    piece = np.array([-16.0, 0, 12.0]) + random.normal(0, 3.0, (PIECE, 3))
    return gaussians(np.concatenate([core, arm, piece]), 1.0, 5.0)


def turned(angle: float) -> np.ndarray:
    """Return the positions when the arm has turned about z, at its root."""
    position = np.array(molecule().position, np.float64)
    cosine, sine = np.cos(angle), np.sin(angle)
    arm = slice(CORE, CORE + ARM)
    out = position[arm] - [10.0, 0, 0]
    position[arm] = [10.0, 0, 0] + out @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    return position.astype(np.float32)


def seen(angles: np.ndarray, present: np.ndarray) -> tuple[Imaging, Batch]:
    """Return images of the molecule, its arm turned and its piece there or not, and how they came to be."""
    pose, ctf = poses(SEEN, 3), defocus_series(SEEN)
    whole = molecule()
    amplitude = np.ones((SEEN, len(whole.sigma)), np.float32)
    amplitude[:, CORE + ARM :] = present[:, None]
    position = np.stack([turned(angle) for angle in angles])

    @jax.jit
    @jax.vmap
    def image(position, amplitude, pose, ctf):
        plane = project_gaussians(Gaussians(position, amplitude, whole.sigma), pose, BOX, PIXEL)
        return real_image(plane * ctf_at(ctf, half_plane(BOX, PIXEL)), BOX)

    clean = np.asarray(image(position, amplitude, pose, ctf))
    noise = 1.0 * clean.std()
    noisy = clean + noise * np.random.default_rng(5).normal(size=clean.shape)
    plane = np.full((BOX, BOX // 2 + 1), 1 / (BOX**2 * noise**2), np.float32)
    plane[0, 0] = 0
    plane[BOX // 2 :, 0] = 0
    plane[:, -1] = 0
    plane[BOX // 2] = 0
    batch = batch_of(noisy, pose, ctf)
    return Imaging.of(whole, symmetry_operators("c1"), 1.0, plane, BOX, PIXEL), batch


def subspace_of(size: float) -> Subspace:
    modes = np.full((7, 3, 1), size / np.sqrt(3), np.float32)
    return Subspace(Layout.of("p"), np.zeros((7, 3)), modes, "p", np.zeros(1), np.ones(1), Nuisances())


def test_grids_rise_from_where_the_largest_motion_turns_phases_little():
    plane = np.ones((64, 33), np.float32)
    imaging = Imaging.of(molecule(), symmetry_operators("c1"), 1.0, plane, 64, 4.0, 44)
    assert rising_grids(imaging, subspace_of(0.1)) == (44,)
    assert rising_grids(imaging, subspace_of(4.0)) == (32, 44)
    assert rising_grids(imaging, subspace_of(100.0)) == (16, 22, 32, 44)
    few = subspace_of(100.0)
    few.modes[1:] = 0  # one of seven Gaussians goes far
    assert rising_grids(imaging, few) == (16, 22, 32, 44)
    assert rising_grids(imaging, few, np.arange(7) > 0) == (44,)


def test_where_nothing_moves_nothing_is_settled():
    imaging = Imaging.of(molecule(), symmetry_operators("c1"), 1.0, np.ones((20, 11), np.float32), 20, 6.0)
    still = Subspace(Layout.of("a"), np.zeros((32, 1)), np.ones((32, 1, 1)), "a", np.zeros(1), np.ones(1), Nuisances())
    sample = batch_of(np.zeros((1, 20, 20), np.float32), poses(1, 0), defocus_series(1))
    neutral, same = settle_motions(GmmConfig(), imaging, sample, (still,), None)
    assert neutral is imaging.neutral and same is still


def test_a_large_mixture_is_settled_with_fewer_gaussians(monkeypatch):
    """An arm turns far, half the turn's mode is known; every Gaussian of the molecule stands twice beside itself."""
    angles = np.random.default_rng(6).uniform(-HALF_TURN, HALF_TURN, SEEN)
    imaging, sample = seen(angles, np.ones(SEEN, np.float32))
    twice, beside = np.repeat(np.arange(len(imaging.neutral.sigma)), 2), np.random.default_rng(7)
    whole = imaging.neutral
    position = whole.position[twice] + beside.normal(0, 1.0, (len(twice), 3))
    many = gaussians(position, whole.amplitude[twice] / 2, whole.sigma[twice])
    true = ((turned(0.1) - turned(-0.1)) / 0.2 * HALF_TURN / np.sqrt(3))[twice]
    start = 0.5 * true[:, :, None]
    known = Subspace(Layout.of("p"), 0 * start[..., 0], start, "p", np.zeros(1), np.ones(1), Nuisances(0.05))
    monkeypatch.setattr("libhetero.models.gmm.motions.LARGEST", len(twice) - 1)
    monkeypatch.setattr("libhetero.models.gmm.motions.FEWER", len(twice) // 2)
    config = GmmConfig(vary="p", inference_steps=3)
    neutral, settled = settle_motions(config, replace(imaging, neutral=many), sample, (known,), known.nuisances)
    assert neutral.position.shape == (len(twice), 3) and settled.modes.shape == (len(twice), 3, settled.rank)
    assert settled.kinds == "p" and settled.strength[0] > 1
    assert abs(np.sum(true * settled.modes[:, :, 0])) > 0.8 * np.sum(true**2)


def test_no_other_gaussians_are_taken_where_there_are_not_many(monkeypatch):
    imaging, sample = seen(np.zeros(SEEN), np.ones(SEEN, np.float32))
    mode = np.ones((len(imaging.neutral.sigma), 3, 1), np.float32)
    known = Subspace(Layout.of("p"), 0 * mode[..., 0], mode, "p", np.zeros(1), np.ones(1), Nuisances(0.05))
    monkeypatch.setattr("libhetero.models.gmm.motions.LARGEST", len(mode))
    monkeypatch.setattr("libhetero.models.gmm.motions.FEWER", 0)  # which no grouping could do
    monkeypatch.setattr("libhetero.models.gmm.motions.STEPS", 1)
    monkeypatch.setattr("libhetero.models.gmm.motions.LAST_STEPS", 1)
    config = GmmConfig(vary="p", latent_size=1, inference_steps=1)
    assert settle_motions(config, imaging, sample, (known,), known.nuisances)[1].modes.shape == mode.shape


def test_states_are_those_of_all_columns_and_are_asked_for_once():
    """Presence that no mode changes is not projected; the answer is the same, and another for other modes."""
    angles = np.random.default_rng(6).uniform(-HALF_TURN, HALF_TURN, SEEN)
    imaging, sample = seen(angles, np.ones(SEEN, np.float32))
    turn = ((turned(0.1) - turned(-0.1)) / 0.2 * HALF_TURN / np.sqrt(3))[:, :, None].astype(np.float32)
    known = Subspace(Layout.of("p"), 0 * turn[..., 0], turn, "p", np.zeros(1), np.ones(1), Nuisances(0.05))
    config = GmmConfig(vary="pa", latent_size=1, inference_steps=2)
    known = known.in_layout(config.layout.linear)
    model = LinearModel(config, imaging, np.ones(len(turn), np.float32), Nuisances(0.05), "p", np.zeros(1))
    params = {"modes": jnp.asarray(modes_in_outputs(config, known)), "neutral": start_of_neutral(known)}
    run = Settling(sample, 0)
    mean, precision = run.states(model, params)
    modes = model.modes(params, model.edges(params))
    whole = infer(imaging, model.layout, jax.vmap(modes.mixture), modes.tangents, sample, 1, 2, Nuisances(0.05))
    np.testing.assert_allclose(mean, whole[0], atol=1e-5)
    np.testing.assert_allclose(precision, whole[1], rtol=1e-4, atol=1e-4)
    assert abs(np.corrcoef(mean[:, 0], angles)[0, 1]) > 0.8
    assert run.states(model, params)[0] is mean
    assert np.abs(run.states(model, params | {"modes": 0.5 * params["modes"]})[0] - mean).max() > 0.1


def test_a_motion_that_is_not_there_is_given_up():
    imaging, sample = seen(np.zeros(SEEN), np.ones(SEEN, np.float32))
    mode = np.random.default_rng(0).normal(size=(len(imaging.neutral.sigma), 3, 1)).astype(np.float32)
    false = Subspace(Layout.of("p"), 0 * mode[..., 0], mode, "p", np.zeros(1), np.ones(1), Nuisances(0.05))
    config = GmmConfig(vary="p", inference_steps=1)
    _, settled = settle_motions(config, imaging, sample, (false,), false.nuisances)
    assert settled.rank == 0 and settled.kinds == "" and settled.modes.shape == (32, 3, 0)


def test_a_particle_that_one_account_cannot_tell_counts_for_none():
    first, second = np.array([-1.0, -2.0, np.nan]), np.array([-1.5, -2.0, -1.0])
    assert likelihoods([first, second]) == [-3.0, -3.5]
    assert likelihoods([second, first]) == [-3.5, -3.0]


def test_particles_that_were_not_fitted_choose_between_accounts(monkeypatch):
    """An arm turns: the turn is likelier than what comes and goes at the ends of its path, in either order."""
    angles = np.random.default_rng(6).uniform(-HALF_TURN, HALF_TURN, SEEN)
    imaging, sample = seen(angles, np.ones(SEEN, np.float32))
    mode = ((turned(0.1) - turned(-0.1)) / 0.2 * HALF_TURN / np.sqrt(3))[:, :, None].astype(np.float32)
    ends = 0.5 * (np.linalg.norm(mode, axis=1) > 0.5 * np.linalg.norm(mode, axis=1).max()).astype(np.float32)
    turn = Subspace(Layout.of("p"), 0 * mode[..., 0], mode, "p", np.zeros(1), np.ones(1), Nuisances(0.05))
    both = np.concatenate([np.concatenate([0 * mode, 0.1 * mode], 2), np.stack([ends, 0 * ends], 2)], axis=1)
    false = Subspace(Layout.of("pa"), 0 * both[..., 0], both, "ap", np.zeros(2), np.ones(2), Nuisances(0.05))
    monkeypatch.setattr("libhetero.models.gmm.motions.STEPS", 0)
    monkeypatch.setattr("libhetero.models.gmm.motions.LAST_STEPS", 0)
    monkeypatch.setattr("libhetero.models.gmm.motions.CARRYING", 0.0)  # all modes stay, whatever they are worth
    monkeypatch.setattr("libhetero.models.gmm.motions.SEARCHES", 0)
    config = GmmConfig(vary="pa", inference_steps=2)
    for accounts in ((false, turn), (turn, false)):
        neutral, settled = settle_motions(config, imaging, sample, accounts, Nuisances(0.05))
        assert settled.kinds == "p" and neutral.position.shape == imaging.neutral.position.shape


def test_a_short_straight_mode_becomes_the_turn_and_what_else_changes_is_found():
    """An arm turns far while a piece comes and goes; half the turn's mode is known before, and nothing of the piece."""
    random = np.random.default_rng(6)
    angles, present = random.uniform(-HALF_TURN, HALF_TURN, SEEN), (random.random(SEEN) < 0.5).astype(np.float32)
    imaging, sample = seen(angles, present)
    arm, piece = slice(CORE, CORE + ARM), slice(CORE + ARM, None)
    true = (turned(0.1) - turned(-0.1)) / 0.2 * HALF_TURN / np.sqrt(3)
    start = 0.5 * true[:, :, None]
    known = Subspace(Layout.of("p"), 0 * start[..., 0], start, "p", np.zeros(1), np.ones(1), Nuisances(0.05))
    neutral, settled = settle_motions(
        GmmConfig(vary="pa", inference_steps=3), imaging, sample, (known,), known.nuisances
    )
    assert sorted(settled.kinds) == ["a", "p"] and settled.p.max() < 1e-3
    assert settled.layout == Layout.of("pa") and settled.strength.min() > 1
    motion = settled.modes[:, :3, settled.kinds.index("p")]
    presence = settled.modes[:, 3, settled.kinds.index("a")]
    assert np.sum(motion[arm] ** 2) > 0.9 * np.sum(motion**2)
    assert np.sum(presence[piece] ** 2) > 0.8 * np.sum(presence**2)
    assert abs(np.sum(true * motion)) > 0.8 * np.sum(true**2)
    assert np.sqrt(np.mean((neutral.position[arm] - imaging.neutral.position[arm]) ** 2)) < 3.0  # the truth's own


@pytest.mark.parametrize("number", [1, 3])
def test_a_number_that_is_asked_for_is_of_both_kinds(number, monkeypatch):
    """An arm turns while a piece comes and goes: the one of both that shows most, or one more than both."""
    monkeypatch.setattr("libhetero.models.gmm.motions.STEPS", 0)
    monkeypatch.setattr("libhetero.models.gmm.motions.LAST_STEPS", 0)
    monkeypatch.setattr("libhetero.models.gmm.motions.SEARCHES", 0)
    random = np.random.default_rng(6)
    angles, present = random.uniform(-HALF_TURN, HALF_TURN, SEEN), (random.random(SEEN) < 0.5).astype(np.float32)
    imaging, sample = seen(angles, present)
    mode = ((turned(0.1) - turned(-0.1)) / 0.2 * HALF_TURN / np.sqrt(3))[:, :, None]
    piece = 0.5 * (np.arange(len(mode)) >= CORE + ARM)[:, None, None]
    both = np.concatenate([np.concatenate([mode, 0 * mode], 2), np.concatenate([0 * piece, piece], 2)], axis=1)
    known = Subspace(Layout.of("pa"), 0 * both[..., 0], both, "pa", np.zeros(2), np.ones(2), Nuisances(0.05))
    config = GmmConfig(vary="pa", latent_size=number, inference_steps=2)
    _, settled = settle_motions(config, imaging, sample, (known,), known.nuisances)
    assert settled.rank == len(settled.p) == number
    assert set(settled.kinds) == (set("ap") if number == 3 else {"p"})
