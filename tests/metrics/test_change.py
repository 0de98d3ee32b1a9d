"""Changes of volumes that follow the true ones, do not, or in part."""

import math

import numpy as np
import pytest

from libhetero.metrics.change import ChangeSums, first_component

RANDOM = np.random.default_rng(0)
MEAN, DIRECTION = RANDOM.normal(size=(2, 6, 6, 6))
TRUE = [MEAN + t * DIRECTION for t in np.linspace(-1, 1, 9)]


def _sums(found) -> ChangeSums:
    sums = ChangeSums()
    for one, true in zip(found, TRUE, strict=True):
        sums.add(one, true)
    return sums


@pytest.mark.parametrize("part", [1.0, 0.3, -0.5])
def test_scale_and_mean_of_volumes_count_for_nothing(part: float) -> None:
    sums = _sums([7 * (MEAN + part * (true - MEAN)) + 3 + i for i, true in enumerate(TRUE)])
    assert sums.correlation == pytest.approx(np.sign(part))
    assert sums.extent == pytest.approx(part)


def test_what_else_changes_lowers_the_correlation_alone() -> None:
    other = RANDOM.normal(size=(len(TRUE), 6, 6, 6))
    other -= other.mean(axis=0)
    found, true = np.stack(TRUE) + other, np.stack(TRUE)
    sums = _sums(found)
    a, b = (rows.reshape(len(rows), -1) for rows in (found, true))
    a, b = (rows - rows.mean(axis=1, keepdims=True) for rows in (a, b))
    a, b = (rows - rows.mean(axis=0) for rows in (a, b))
    assert sums.correlation == pytest.approx((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))
    assert 0.3 < sums.correlation < 0.9 and sums.extent == pytest.approx(1, abs=0.2)


def test_one_volume_for_all_follows_nothing() -> None:
    assert _sums([MEAN] * len(TRUE)).correlation == 0 and _sums([MEAN] * len(TRUE)).extent == 0
    still = ChangeSums()
    still.add(MEAN, MEAN)
    assert still.correlation == 0 and math.isnan(still.extent) and math.isnan(ChangeSums().extent)


@pytest.mark.parametrize("numbers", [4, 50])
def test_the_first_component_is_what_varies_most(numbers: int) -> None:
    hidden = RANDOM.normal(size=20)
    rows = np.outer(hidden, RANDOM.normal(size=numbers)) + 0.01 * RANDOM.normal(size=(20, numbers)) + 5
    assert abs(np.corrcoef(first_component(rows), hidden)[0, 1]) > 0.999
