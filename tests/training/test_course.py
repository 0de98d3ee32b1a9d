"""Epoch means of a log, and what is said of made-up series of them."""

import itertools
import re

import numpy as np
import pytest

from libhetero.training.course import EXACT, Course, chance_of_rising, judged

RANDOM = np.random.default_rng(0)
SCATTER = 0.002 * RANDOM.normal(size=24)
EPOCHS = np.arange(24)


def line(step: int, per_epoch: int, **values: float) -> dict:
    return {"step": step, "epoch": round(step / per_epoch, 4), **values}


def test_a_mean_over_an_epoch_is_over_its_steps_and_its_change_from_the_one_before() -> None:
    """Two reports an epoch, of 2 and of 1 step; a run that goes on in the middle says the same."""
    losses = {2: 3.0, 3: 6.0, 5: 1.0, 6: 4.0}
    lines = [line(step, 3, loss=loss, signal=-loss) for step, loss in losses.items()]
    course = Course()
    said = [course.add(each) for each in lines]
    assert said[0] == said[2] == {} and said[1] == {"epoch_loss": 4.0, "epoch_signal": -4.0}
    assert said[3] == {"epoch_loss": 2.0, "epoch_loss_change": -2.0, "epoch_signal": -2.0, "epoch_signal_change": 2.0}
    assert course.note() == "epoch 2: -200.0%, +200.00% since the epoch before"
    again = Course(lines[:3])
    assert again.add(lines[3]) == said[3]
    np.testing.assert_array_equal(again.means("loss"), ([1, 2], [4, 2]))


def test_reports_that_are_not_finite_do_not_count() -> None:
    course = Course([line(1, 2, loss=float("nan")), line(2, 2, loss=3.0, test_loss=float("nan"))])
    np.testing.assert_array_equal(course.means("loss"), ([1], [3]))
    assert len(course.means("test_loss")[0]) == 0 and course.note() == ""


@pytest.mark.parametrize(
    ("series", "name", "improving", "words"),
    [
        (0.6 - 0.5 * np.exp(-EPOCHS / 12) + SCATTER, "signal", True, "signal explained is .*, and over the last 8 ep"),
        (0.6 - 0.5 * np.exp(-EPOCHS / 2) + SCATTER, "signal", False, "no more than it scatters"),
        (0.6 + 1e-4 * EPOCHS, "signal", False, r"has gained 0.07%, too little to matter \(28 of 28 pairs"),
        (0.6 - 0.01 * EPOCHS + SCATTER, "test_signal", False, "held-out particles explained is .* has become worse by"),
        (np.array([0.2, 0.55, 0.62, 0.64]), "signal", True, "6 of 6 pairs"),  # it bends, which is no scatter
        (1 - 0.02 * EPOCHS + SCATTER, "loss", True, "the loss is .* has gained 0.1"),
        (1 + np.exp(-EPOCHS) + SCATTER, "test_loss", False, "the loss of held-out particles is .* no more than"),
        (0.1 * EPOCHS[:3], "signal", None, "3 whole epoch"),
        (np.zeros(0), "loss", None, "0 whole epoch"),
    ],
)
def test_each_verdict_has_its_series(series, name, improving, words) -> None:
    verdict = judged(series, name)
    assert verdict.improving is improving
    assert str(verdict).startswith({True: "still improving: ", False: "done: ", None: "too short to tell: "}[improving])
    assert re.search(words, verdict.why), verdict.why


def test_more_signal_than_there_is_is_said_to_be_noise_unless_particles_are_held_out() -> None:
    held_out = {"test_signal": 0.9}
    for signal, more, told in ((1.1, {}, False), (1.3, {}, True), (1.3, held_out, False)):
        said = str(Course([line(step, 1, loss=0.9, signal=signal, **more) for step in range(1, 9)]).verdict())
        assert ("More than 100 % is noise of single images" in said) is told
        assert ("--usetest 0.1" in said) is told


def test_what_held_out_particles_say_comes_first() -> None:
    lines = [line(step, 1, loss=-step, signal=0.1 * step, test_signal=0.5 - 0.01 * step) for step in range(1, 9)]
    said = str(Course(lines).verdict())
    assert "held-out particles explained is 42.0%, and over the last 4 epochs it has become worse" in said


def test_chance_is_that_of_all_orders() -> None:
    orders = [sum(a < b for a, b in itertools.combinations(order, 2)) for order in itertools.permutations(range(5))]
    for rising in range(11):
        assert chance_of_rising(5, rising) == pytest.approx(np.mean(np.array(orders) >= rising))
    assert chance_of_rising(200, 199 * 100) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("deviations", [-1.0, 0.0, 1.645, 3.0])
def test_of_many_epochs_the_chance_is_that_of_a_normal_distribution(deviations, monkeypatch) -> None:
    count = EXACT + 1
    rising = round(count * (count - 1) / 4 + deviations * (count * (count - 1) * (2 * count + 5) / 72) ** 0.5)
    quick = chance_of_rising(count, rising)
    monkeypatch.setattr("libhetero.training.course.EXACT", count)
    exact = chance_of_rising(count, rising)
    assert quick == pytest.approx(exact, abs=1e-3) and quick != exact
