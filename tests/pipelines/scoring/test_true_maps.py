"""The true map of a particle in its own conformation is what its image was made of."""

import jax
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import ImageReader, write_volume
from libhetero.metrics.fsc import fsc_area as area
from libhetero.metrics.fsc import largest_area, masked_fsc
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import frequencies_2d, half_plane, real_image
from libhetero.physics.rotations import axis_angle_to_matrix
from libhetero.physics.slices import prepare_volume, project_volume
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.particles import load_particles
from libhetero.pipelines.scoring import true_maps
from libhetero.pipelines.scoring.true_maps import TrueMaps
from libhetero.pipelines.scoring.truth import Truth
from libhetero.simulate.bodies import map_of_gaussians
from libhetero.simulate.compact import compact_pieces
from libhetero.simulate.complex import generate_member
from tests.making.mixtures import gaussians
from tests.making.oracles import BOX, PIXEL, simulated

SETS = {
    "mixture": {"moving": (1, 3), "max_angle": 0.6},
    "assembly": {"moving": (2,), "max_angle": 0.6},
    "motion": {"max_angle": 0.6},
}
CHOSEN = [0, 1, 2, 7, 12]


@pytest.fixture(scope="module", params=list(SETS))
def truth(request, tmp_path_factory) -> Truth:
    return simulated(tmp_path_factory.mktemp("moving") / "set", request.param, 16, **SETS[request.param])


@jax.jit
def _image(volume, pose, ctf):
    """Return the image of a map, of the rings that small boxes are projected to within a few per cent."""
    plane = project_volume(prepare_volume(volume, 6), pose, BOX, PIXEL) * ctf_at(ctf, half_plane(BOX, PIXEL))
    return real_image(plane * (np.linalg.norm(frequencies_2d(BOX), axis=-1) < 0.375), BOX)


def _low(image: np.ndarray) -> np.ndarray:
    rings = np.hypot(*np.meshgrid(np.fft.fftfreq(BOX), np.fft.fftfreq(BOX)))
    return np.fft.ifft2(np.fft.fft2(image) * (rings < 0.375)).real


def test_images_are_projections_of_their_own_true_maps(truth) -> None:
    particles = load_particles(DataConfig(str(truth.folder.parent / "particles.star")))
    images, maps = ImageReader(particles).read(np.array(CHOSEN)), TrueMaps(truth)
    assert truth.has_maps and truth.angles[CHOSEN].any()
    unturned = []
    for i, image in zip(CHOSEN, map(_low, images), strict=True):
        own, other = (
            np.linalg.norm(image - _image(volume, particles.pose.take(i), particles.ctf.take(i)))
            for volume in (maps(i), truth.map(i))
        )
        assert own < 0.03 * np.linalg.norm(image)
        unturned.append(other / np.linalg.norm(image))
    assert max(unturned) > 0.12


def test_true_maps_are_the_simulators_own_of_that_state(truth) -> None:
    """Of a mixture: beads of the structure turned by hand, and laid on the grid."""
    if truth.kind != "mixture":
        pytest.skip("one kind is enough")
    maps, seed, moved = TrueMaps(truth), truth.document.source["complex_seed"], 0
    for i in CHOSEN:
        k = int(truth.labels[i])
        beads = generate_member(seed, k, truth.document.source["diameter"]).gaussians
        position = beads.position.copy()
        for moving in (one for one in truth.document.moving_structures if one.structure == k):
            piece = compact_pieces(beads.position, 2, seed)
            for p, (hinge, axis) in enumerate(zip(moving.hinges, moving.axes, strict=True)):
                turn = np.asarray(axis_angle_to_matrix(np.array(axis), np.asarray(truth.angles[i, p])))
                position[piece == p] = (position[piece == p] - hinge) @ turn.T + np.array(hinge)
            moved += 1
        expected = map_of_gaussians(gaussians(position, beads.amplitude, beads.sigma), BOX, PIXEL)
        assert area(masked_fsc(maps(i), expected)) > 0.999 * largest_area(BOX)
        assert truth.angles[i].any() == (k != 1)
    assert 0 < moved < len(CHOSEN)


def test_pieces_out_of_memory_are_prepared_again(truth, monkeypatch) -> None:
    expected = [TrueMaps(truth)(i) for i in CHOSEN]
    monkeypatch.setattr(true_maps, "KEPT", 1)
    maps = TrueMaps(truth)
    for i, volume in zip(CHOSEN, expected, strict=True):
        np.testing.assert_array_equal(maps(i), volume)
    assert len(maps._kept) == 1


def test_pieces_of_another_box_are_refused_and_lost_ones_leave_a_motion_without_maps(truth) -> None:
    if truth.kind != "motion":
        pytest.skip("one kind is enough")
    write_volume(truth.folder / "piece_01.mrc", np.zeros((8, 8, 8), np.float32), PIXEL)
    with pytest.raises(DataError, match="piece_01.mrc: a map of 8 x 8 x 8 voxels; expected 16 along each axis"):
        TrueMaps(truth)(0)
    (truth.folder / "piece_00.mrc").unlink()
    assert not truth.has_maps
