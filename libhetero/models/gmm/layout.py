"""What of a Gaussian varies, and in which columns: position (3), amplitude (1), width (1), in this order.

| letter | a change c of the columns gives | unit of a decoder's output | of a subspace's column |
|---|---|---|---|
| p | position + c | `displacement_scale` Å | Å |
| a | amplitude · f(1 + c), f ≈ identity (`changes.positive`) | relative | relative |
| s | width · exp(½ tanh c) | | not solved for |

To first order an image is linear in positions and amplitudes, which a latent is solved for; in widths it is
left to the decoder. `Layout.chosen` is the one place that knows what is there and what is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

LETTERS = "pas"
Item = TypeVar("Item")


@dataclass(frozen=True)
class Layout:
    """Which of position, amplitude and width change.

    Parameters
    ----------
    position, amplitude, width : True for what does.
    """

    position: bool
    amplitude: bool
    width: bool

    @classmethod
    def of(cls, letters: str) -> Layout:
        """Return the layout of some letters of "pas", in any order."""
        return cls(*(letter in letters for letter in LETTERS))

    @property
    def letters(self) -> str:
        """Its letters, in the order of the columns."""
        return "".join(self.chosen(position="p", amplitude="a", width="s"))

    @property
    def linear(self) -> Layout:
        """What of it the image is linear in to first order, and a latent is solved for."""
        return Layout(self.position, self.amplitude, False)

    @property
    def kinds(self) -> str:
        """Letter of each column: "pppas" where all change."""
        return "".join(self.chosen(position="ppp", amplitude="a", width="s"))

    @property
    def newton_steps(self) -> int:
        """Gauss-Newton steps of a latent; images are far from linear in positions (`latent.posterior`)."""
        return 6 if self.position else 2

    def chosen(self, *, position: Iterable[Item], amplitude: Iterable[Item], width: Iterable[Item] = ()) -> list[Item]:
        """Return what is given for what changes, one after the other."""
        given = ((self.position, position), (self.amplitude, amplitude), (self.width, width))
        return [item for changes, items in given if changes for item in items]

    def columns(self) -> tuple[slice, slice, slice]:
        """Return the columns of position, amplitude and width; empty for what does not change."""
        ends = [3 * self.position, self.amplitude, self.width]
        first, second = ends[0], ends[0] + ends[1]
        return slice(0, first), slice(first, second), slice(second, second + ends[2])
