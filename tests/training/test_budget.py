"""What a step costs, and which batch fits."""

import dataclasses

import jax
import numpy as np
import pytest

from libhetero.errors import ConfigurationError
from libhetero.training.budget import BATCHES, largest_share, step_cost
from libhetero.training.optimiser import TrainingConfig
from tests.making.feeds import BOX, make_feed
from tests.making.toys import Toy

CONFIG = TrainingConfig(ema_decay=0.99)
LEARNT = BOX * BOX + 3


def cost(share: int, config: TrainingConfig = CONFIG):
    model = Toy()
    params = jax.eval_shape(model.init, jax.random.key(0))
    return step_cost(model.loss, params, make_feed().batch(np.arange(1)), config, share)


def test_parameters_state_and_batch_are_counted() -> None:
    found = cost(8)
    assert found.parameters == LEARNT
    # parameters, their average and Adam's two moments, and some counts
    assert 4 * 4 * LEARNT <= found.state_bytes <= 4 * 4 * LEARNT + 64
    pose_ctf_index_weight = 9 + 2 + 9 + 1 + 1
    assert found.batch_bytes == 8 * 4 * (BOX * BOX + pose_ctf_index_weight)
    assert found.device_bytes == found.state_bytes + BATCHES * found.batch_bytes + found.temporary_bytes


def test_the_average_and_the_particles_need_memory() -> None:
    without = dataclasses.replace(CONFIG, ema_decay=0.0)
    assert cost(8).state_bytes - cost(8, without).state_bytes == 4 * LEARNT
    assert cost(64).temporary_bytes > cost(8).temporary_bytes


def test_work_is_that_of_the_products() -> None:
    """features @ head, (b, 3) by (3,), and twice as much backward at most."""
    assert 2 * 3 <= cost(8).flops_per_particle <= 3 * 2 * 3


@pytest.mark.parametrize(
    ("limit", "most", "share"), [(1000, 500, 88), (1000, 40, 40), (170, 500, 7), (109, 500, 1), (1100, 500, 96)]
)
def test_the_largest_share_that_fits_is_found(limit: int, most: int, share: int) -> None:
    assert largest_share(lambda share: 100 + 10 * share - 1, limit, most) == share


def test_memory_that_grows_faster_than_it_began_is_noticed() -> None:
    asked = []

    def needed(share: int) -> int:
        asked.append(share)
        return share + share**2 // 8

    share = largest_share(needed, 1000, 10_000)
    assert needed(share) <= 1000 < needed(share + 32)
    assert len(asked) < 20


def test_one_particle_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"needs 2 GiB; expected at most the 1 GiB.*--box"):
        largest_share(lambda share: 2 * 2**30 * share, 2**30, 8)
    with pytest.raises(
        ConfigurationError, match=r"one particle of 41 images a device .* Use fewer images \(--ntilts\), a"
    ):
        largest_share(lambda share: 2 * 2**30 * share, 2**30, 8, 41)
