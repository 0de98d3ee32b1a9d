"""What particles are judged by: contrasts, 1 on the average, and their spread."""

import numpy as np
import pytest

from libhetero.models.hype.latent.classes import LEAST_SPREAD
from libhetero.models.hype.latent.grid import FourierGrid, on_grid
from libhetero.models.hype.latent.judges import LIKELY, MOST_SPREAD, ByVolumes, mean_and_spread, with_contrasts
from libhetero.models.hype.latent.predictive import Folded, Sorted, against_some
from libhetero.models.hype.latent.volumes import signal_power, sums_of
from tests.making.slices import molecules, slices

GRID = FourierGrid(4, 1.5, 0.4)
CLASSES, EACH = 4, 60
LABEL = np.arange(CLASSES * EACH) % CLASSES


@pytest.mark.parametrize("strength", [30, 100, 300])
@pytest.mark.parametrize("spread", [0.0, 0.05, 0.2])
def test_the_spread_is_that_of_the_contrasts_however_strong_images_are(spread, strength):
    random = np.random.default_rng(1)
    square = strength * random.uniform(0.5, 1.5, 5000)
    contrast = 0.95 * (1 + spread * random.normal(size=5000))
    linear = contrast * square + np.sqrt(square) * random.normal(size=5000)
    mean, found = mean_and_spread(linear, square)
    assert mean == pytest.approx(0.95, abs=0.01)
    assert found == pytest.approx(0.95 * max(spread, LEAST_SPREAD), abs=0.015)


def test_the_spread_has_limits():
    square = np.full(100, 50.0)
    assert mean_and_spread(square, square) == pytest.approx((1.0, LEAST_SPREAD))
    wild = square * np.where(np.arange(100) % 2, 4.0, -2.0)
    assert mean_and_spread(wild, square) == pytest.approx((1.0, MOST_SPREAD))


def folded_of(contrast, count):
    """Return slices of images of these contrasts, beyond so many of noise, and their classes, the spread not known."""
    label = np.where(np.arange(len(LABEL)) < count, LABEL, -1)
    seen = on_grid(slices(label, molecules(CLASSES), ring=4, strength=2.0, contrast=contrast), GRID)
    now = Sorted(LABEL, np.ones(len(LABEL), np.float32), 0.05)
    return Folded.of(seen, signal_power(sums_of(seen, LABEL, CLASSES), GRID)), now


def test_what_an_image_says_of_its_contrast_is_told_whatever_was_thought_of_it_before():
    folded, now = folded_of(np.ones(len(LABEL)), len(LABEL))
    own = LABEL[:, None]
    wide, narrow = (Sorted(LABEL, now.contrast, spread) for spread in (0.3, 1e-3))
    found = [against_some(folded, one, own).equations(one.spread) for one in (wide, narrow)]
    for first, second in zip(*found, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("junk", [0, 40])
def test_contrasts_of_images_are_told_and_are_1_on_the_average(junk):
    """Images of noise say nothing of the contrasts of others."""
    true, shown = 1 + 0.25 * np.random.default_rng(2).normal(size=len(LABEL)), len(LABEL) - junk
    folded, now = with_contrasts(*folded_of(true, shown))
    assert now.spread == pytest.approx(0.25, abs=0.05)
    assert folded.scale == pytest.approx(1.0, abs=0.1)
    judges = ByVolumes.of(folded, now)
    judged = judges.judge_searched(None)
    assert judged.contrast[:shown].mean() == pytest.approx(1, abs=0.02)
    assert np.corrcoef(judged.contrast[:shown], true[:shown])[0, 1] > 0.9
    np.testing.assert_allclose(judges.predicted, judges.found.joint[:, 0] - judges.log_share[judged.label], rtol=1e-6)
    assert judges.found.candidate.shape[1] == min(LIKELY, CLASSES)


def test_a_set_without_contrast_has_little():
    folded, now = with_contrasts(*folded_of(np.ones(len(LABEL)), len(LABEL)))
    assert now.spread < 0.07
    judged = ByVolumes.of(folded, now).judge_searched(None)
    assert judged.contrast.mean() == pytest.approx(1, abs=0.01)


def test_images_of_noise_alone_leave_contrasts_as_they_were():
    folded, now = folded_of(np.ones(len(LABEL)), 0)
    told = with_contrasts(folded, Sorted(np.full(len(LABEL), -1), now.contrast, now.spread))
    assert told[0] is folded and told[1].spread == now.spread
