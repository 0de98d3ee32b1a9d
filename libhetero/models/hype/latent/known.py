"""Classes that are known beforehand, as those of a folder of e2hype_classify.py are, in place of a search for them.

A molecule that moves was cut into several classes, its parts, by which its images are judged (`continua`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from libhetero.records import Batch


@dataclass(frozen=True, eq=False)
class KnownClasses:
    """What is known of images, or of particles; images of one particle have the same.

    Parameters
    ----------
    label : molecule of each, from 0; -1 for none, as junk has.
    part : class of each within its molecule, in any numbers; of molecules that do not move one number.
    contrast : α, its posterior mean.
    square : E[α²].
    spread : standard deviation of contrast over the set.
    """

    label: Int[np.ndarray, "rows"]
    part: Int[np.ndarray, "rows"]
    contrast: Float[np.ndarray, "rows"]
    square: Float[np.ndarray, "rows"]
    spread: float

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: Int[np.ndarray, "chosen"]) -> KnownClasses:
        """Return what is known of some of them."""
        return KnownClasses(self.label[rows], self.part[rows], self.contrast[rows], self.square[rows], self.spread)

    def of(self, sample: Batch) -> KnownClasses:
        """Return what is known of the particles of a batch, by the place of their first image in the list."""
        return self.take(np.asarray(sample.index)[:: sample.views])

    def classes(self) -> tuple[Int[np.ndarray, "rows"], Int[np.ndarray, "classes"]]:
        """Return the class of each row, from 0, and the molecule of each class, from 0; all rows must have a molecule.

        Classes without a row are left out, and so are their molecules.
        """
        pairs, label = np.unique(np.stack([self.label, self.part], axis=1), axis=0, return_inverse=True)
        return label.ravel(), np.unique(pairs[:, 0], return_inverse=True)[1].ravel()
