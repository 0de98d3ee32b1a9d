"""From the misfit of each image to that of a batch."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.batch_mean import batch_mean
from tests.making.images import particles


def test_it_is_the_mean_by_weight_of_each_number() -> None:
    batch = dataclasses.replace(particles(4), weight=np.array([1, 0, 0.5, 1], np.float32))
    other = np.array([1.0, 100.0, 2.0, 3.0], np.float32)

    def of_image(image, observation, value):
        return {"value": value, "shift": observation.pose.shift[0], "level": jnp.mean(image)}

    means = batch_mean(of_image, batch, other)
    used = batch.weight / 2.5
    assert float(means["value"]) == pytest.approx(2.0)
    assert float(means["shift"]) == pytest.approx(float(used @ batch.pose.shift[:, 0]), rel=1e-5)
    assert float(means["level"]) == pytest.approx(float(used @ batch.images.mean(axis=(1, 2))), rel=1e-4, abs=1e-6)


def test_a_batch_of_padding_alone_is_zero() -> None:
    batch = dataclasses.replace(particles(4), weight=np.zeros(4, np.float32))
    assert float(batch_mean(lambda image, observation: jnp.sum(image), batch)) == 0.0
