"""What is measured of the images beforehand."""

import dataclasses

import numpy as np

from libhetero.models.gmm.noise import mean_transfer_power
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import half_plane
from libhetero.records import Observation
from tests.making.images import BOX, PIXEL
from tests.making.optics import defocus_series
from tests.making.poses import poses


def test_transfer_power_of_rings() -> None:
    """T² averaged over the pixels of a ring and over particles; 1 where there is no CTF."""
    ctf = defocus_series(3)
    observation = Observation(pose=poses(3), ctf=ctf)
    frequencies = half_plane(BOX, PIXEL)
    each = [np.asarray(ctf_at(ctf.take(i), frequencies)) ** 2 for i in range(3)]
    power = np.mean(each, axis=0)
    ring = np.rint(np.linalg.norm(frequencies, axis=-1) * BOX * PIXEL)
    twice = np.r_[1.0, np.full(BOX // 2 - 1, 2.0), 1.0] * np.ones((BOX, 1))
    found = mean_transfer_power(observation, BOX, PIXEL)
    for r in (1, 4, BOX // 2 - 1):
        np.testing.assert_allclose(found[r], np.average(power[ring == r], weights=twice[ring == r]), rtol=1e-4)
    np.testing.assert_allclose(
        mean_transfer_power(dataclasses.replace(observation, ctf=None), BOX, PIXEL), 1.0, rtol=1e-6
    )
