"""The course of a training run: means over epochs of what its log says, and whether more training would help.

A step sees a few particles, and its loss scatters by more than an epoch gains. An epoch sees all of them once. So the
means over epochs are looked at, the last quarter of them, at least the last eight, or half of them where they are
fewer than sixteen (four at least). A run is still improving where

    more pairs of these epochs are in rising order than chance gives once in twenty (Mann and Kendall's test, which asks
    for no shape of the rise), and
    the gain over them, the median slope of all pairs (Theil and Sen) times their number, is more than half a percent
    of the signal; of a loss, whose zero means nothing, 2 % of what it has gained in all.

What is looked at is, in this order, what there is of: the signal of held-out particles explained, their loss, the
signal of all explained, the loss. A learning rate that is about to end gains little: a run that is done is so at its
schedule, and a longer one from the start may come further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

AVERAGED = ("loss", "signal")  # over the lines of an epoch
AT_ITS_END = ("test_loss", "test_signal")
JUDGED = {  # in order, and in words
    "test_signal": "the signal of held-out particles explained",
    "test_loss": "the loss of held-out particles",
    "signal": "the signal explained",
    "loss": "the loss",
}
FEWEST, ENOUGH = 4, 8  # epochs that are looked at
PART = 4  # of all: the last quarter is
CHANCE = 0.05
EXACT = 50  # epochs at most, whose orders are all counted
VERDICTS = {True: "still improving", False: "done", None: "too short to tell"}
MATERIAL, MATERIAL_OF_LOSS = 0.005, 0.02
MORE_THAN_ALL = 1.15  # of the signal: beyond what its measurement is uncertain by
OF_NOISE = (
    "More than 100 % is noise of single images, which is learnt where the signal is faint: the honest number is that "
    "of particles that are held out (--usetest 0.1)"
)


@dataclass(frozen=True)
class Verdict:
    """Whether a run still improves.

    Parameters
    ----------
    improving : whether it does; None where that cannot be told.
    why : in words.
    """

    improving: bool | None
    why: str

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{VERDICTS[self.improving]}: {self.why}"


class Course:
    """Means over epochs of the lines of a log.

    Parameters
    ----------
    lines : of the log so far, in order.
    """

    def __init__(self, lines: Iterable[Mapping[str, Any]] = ()) -> None:
        self._means: dict[str, dict[int, float]] = {name: {} for name in (*AVERAGED, *AT_ITS_END)}
        self._sums: dict[str, tuple[float, float]] = {}  # of the epoch under way: of values times steps, and of steps
        self._epoch = self._step = 0
        for line in lines:
            self.add(line)

    def add(self, line: Mapping[str, Any]) -> dict[str, float]:
        """Take a line, and return the means of its epoch and their changes from the one before, where it ends one."""
        epoch, steps = math.ceil(line["epoch"]), max(line["step"] - self._step, 0)
        if epoch != self._epoch:
            self._epoch, self._sums = epoch, {}
        self._step = line["step"]
        for name in AVERAGED:
            if name in line and math.isfinite(line[name]):
                total, count = self._sums.get(name, (0.0, 0.0))
                self._sums[name] = (total + steps * line[name], count + steps)
        if line["epoch"] != epoch:
            return {}
        for name, (total, count) in self._sums.items():
            if count:
                self._means[name][epoch] = total / count
        for name in AT_ITS_END:
            if name in line and math.isfinite(line[name]):
                self._means[name][epoch] = line[name]
        found = {}
        for name in AVERAGED:
            known = self._means[name]
            if epoch in known:
                found[f"epoch_{name}"] = known[epoch]
                if epoch - 1 in known:
                    found[f"epoch_{name}_change"] = known[epoch] - known[epoch - 1]
        return found

    def means(self, name: str) -> tuple[Float[np.ndarray, " epochs"], Float[np.ndarray, " epochs"]]:
        """Return the epochs of which the mean of a value is known, and these means."""
        known = sorted(self._means[name].items())
        return np.array([epoch for epoch, _ in known], float), np.array([mean for _, mean in known], float)

    def note(self) -> str:
        """Return what the last whole epoch came to, for people; "" where no signal is known."""
        epochs, means = self.means("signal")
        if not len(means):
            return ""
        said = f"epoch {epochs[-1]:.0f}: {percent(means[-1])}"
        if len(means) < 2:
            return said
        change = percent(means[-1] - means[-2], 2)
        return f"{said}, {change if change.startswith('-') else f'+{change}'} since the epoch before"

    def verdict(self) -> Verdict:
        """Return whether the run still improves, and why."""
        name = next((name for name in JUDGED if len(self.means(name)[1])), "loss")
        means = self.means(name)[1]
        found = judged(means, name)
        if name == "signal" and len(means) and means[-1] > MORE_THAN_ALL:
            return Verdict(found.improving, f"{found.why}. {OF_NOISE}")
        return found


def judged(means: Float[np.ndarray, " epochs"], name: str) -> Verdict:
    """Return whether a series of epoch means still improves, and why.

    Parameters
    ----------
    means : of every epoch, in order.
    name : of the value, of `JUDGED`.
    """
    if len(means) < FEWEST:
        return Verdict(None, f"{len(means)} whole epoch(s); {FEWEST} or more tell whether it still improves")
    count = max(FEWEST, min(len(means) // 2, ENOUGH), len(means) // PART)
    signal = name.endswith("signal")
    last = means[-count:] if signal else -means[-count:]
    first, second = np.triu_indices(count, 1)
    rising = int(np.count_nonzero(last[second] > last[first]))
    gain = float(np.median((last[second] - last[first]) / (second - first)) * (count - 1))
    material = MATERIAL if signal else MATERIAL_OF_LOSS * abs(float(means[0] - means.min()))
    shown: Callable[[float], str] = (lambda value: percent(value, 2)) if signal else (lambda value: f"{value:.3g}")
    end = percent(means[-1]) if signal else f"{means[-1]:.5g}"
    where = f"{JUDGED[name]} is {end}, and over the last {count} epochs it"
    pairs = f"{rising} of {len(first)} pairs of epochs improve"
    if chance_of_rising(count, len(first) - rising) < CHANCE:
        return Verdict(False, f"{where} has become worse by {shown(abs(gain))} ({pairs})")
    if chance_of_rising(count, rising) >= CHANCE:
        return Verdict(False, f"{where} has changed by no more than it scatters ({pairs})")
    if gain <= material:
        return Verdict(False, f"{where} has gained {shown(gain)}, too little to matter ({pairs})")
    return Verdict(True, f"{where} has gained {shown(gain)} ({pairs})")


def chance_of_rising(count: int, rising: int) -> float:
    """Return the probability that so many pairs or more are in rising order where all orders are alike.

    Parameters
    ----------
    count : of the values, of which count (count - 1) / 2 pairs can be made.
    rising : of the pairs.
    """
    if (
        count > EXACT
    ):  # the sum over pairs is normal by then, as by Kendall; the exact way takes time as count to the 4th
        mean, variance = count * (count - 1) / 4, count * (count - 1) * (2 * count + 5) / 72
        return 0.5 * math.erfc((rising - 0.5 - mean) / math.sqrt(2 * variance))
    ways = np.ones(1)
    for place in range(2, count + 1):  # a value that joins is above 0 … place - 1 of those before, alike often
        ways = np.convolve(ways, np.full(place, 1 / place))
    return float(ways[rising:].sum())


def percent(share: float, digits: int = 1) -> str:
    """Return a share as people read it, such as 61.2%; what rounds to nothing has no sign."""
    return f"{round(100 * share, digits) + 0.0:.{digits}f}%"
