"""What components cost."""

import numpy as np
import pytest

from libhetero.analysis.component_search import _Cost
from libhetero.analysis.mixture import PRIOR_PARTICLES


def test_few_components_cost_as_in_the_bayesian_information_criterion():
    cost = _Cost(1000.0, np.full(3, 0.5), many=False)
    assert cost.mixture(np.array([0.2, 0.3, 0.5])) == pytest.approx(0.5 * np.log(1000) * 2 * 5)


def test_one_of_many_costs_what_the_integral_over_its_mean_does():
    """Particles about a mean that is drawn from N(0, 1): on the average over draws, one direction."""
    size, variance = 40.0, 0.3
    cost = _Cost(4000.0, np.array([variance]), many=True)
    besides = 0.5 * (np.log(4000) + np.log1p(size / PRIOR_PARTICLES))
    found = float(cost.component(np.array([size]))[0]) - besides
    mean = np.random.default_rng(0).normal(scale=np.sqrt(1 - variance), size=20_000)  # found: what is left of 1
    integral = 0.5 * np.log1p(size / variance) + 0.5 * mean**2
    assert found == pytest.approx(integral.mean(), rel=0.02)


def test_small_components_of_many_cost_less():
    few, many = (_Cost(6000.0, np.full(38, 0.5), one) for one in (False, True))
    sizes = np.array([10.0, 60.0, 600.0])
    assert (many.component(sizes) < few.component(sizes)).all()
    assert (np.diff(many.component(sizes)) > 0).all()
