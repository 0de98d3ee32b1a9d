"""Particles block by block on several devices: what one device gives, whatever the blocks."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models import blocks
from libhetero.models.blocks import in_lanes, over_blocks, summed_over_blocks

DEVICES = len(jax.devices())


@jax.jit
def scaled(values, factor):
    return values * factor["by"], values.sum(axis=1).astype(jnp.int32)


@jax.jit
def weighted_sum(values, weight):
    return (jnp.sum(values * weight[:, None], axis=0),)


@pytest.mark.parametrize("count", [1, 4, 5, 23])
def test_particles_of_all_blocks_come_in_order(count):
    values = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    products, sums = over_blocks(scaled, (values,), ({"by": np.float32(2.5)},), 4)
    np.testing.assert_array_equal(products, values * np.float32(2.5))
    assert sums.dtype == np.int32 and sums.shape == (count,)


def test_of_no_particles_there_is_nothing():
    products, sums = over_blocks(scaled, (np.zeros((0, 3), np.float32),), ({"by": np.float32(1)},), 4)
    assert products.shape == (0, 3) and sums.shape == (0,)


@pytest.mark.parametrize("count", [0, 1, 4, 23])
def test_sums_are_over_the_particles_and_not_over_what_fills_up_the_last_block(count):
    random = np.random.default_rng(1)
    values, weight = random.normal(size=(count, 3)).astype(np.float32), random.uniform(size=count).astype(np.float32)
    (total,) = summed_over_blocks(weighted_sum, (values, weight), (), 4)
    assert total.dtype == np.float64
    np.testing.assert_allclose(total, (values.astype(float) * weight[:, None]).sum(axis=0), rtol=1e-5, atol=1e-6)


def test_the_answer_does_not_depend_on_the_devices(monkeypatch):
    assert DEVICES > 1
    random = np.random.default_rng(2)
    values, weight = random.normal(size=(50, 3)).astype(np.float32), random.uniform(size=50).astype(np.float32)
    several = summed_over_blocks(weighted_sum, (values, weight), (), 8)
    products = over_blocks(scaled, (values,), ({"by": np.float32(3)},), 8)
    one = jax.local_devices()[:1]
    monkeypatch.setattr(blocks.jax, "local_devices", lambda: one)
    np.testing.assert_array_equal(summed_over_blocks(weighted_sum, (values, weight), (), 8), several)
    for found, before in zip(over_blocks(scaled, (values,), ({"by": np.float32(3)},), 8), products, strict=True):
        np.testing.assert_array_equal(found, before)


def test_every_device_has_its_share():
    used = list(in_lanes(lambda number, device: device, 2 * DEVICES))
    assert [used.count(device) for device in jax.local_devices()] == [2] * DEVICES


def test_static_arguments_are_passed_on():
    first = jax.jit(lambda values, count: (values[:, :count],), static_argnames="count")
    (found,) = over_blocks(first, (np.arange(12.0, dtype=np.float32).reshape(4, 3),), (), 3, count=2)
    assert found.shape == (4, 2)


@pytest.mark.parametrize("on_cores", [1, 3])
def test_on_processors_one_program_runs_at_a_time_unless_it_may_beside_others(on_cores):
    """Two that factorise matrices wait for each other's threads, on two cores for ever."""
    now, most, lock = [], [], threading.Lock()

    def work(number, device):
        with lock:
            now.append(number)
            most.append(len(now))
        time.sleep(0.05)
        with lock:
            now.remove(number)

    list(in_lanes(work, 9, on_cores=on_cores))
    assert max(most) == on_cores
