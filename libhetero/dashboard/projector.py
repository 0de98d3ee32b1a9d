"""A process that projects the model of a run as its particles are seen: it loads JAX, and lives as long as it is asked.

    python -m libhetero.dashboard.projector RUN

Reads a line of JSON, the rows of particles, and answers with a line of JSON and what it announces: the images as the
model is shown them and its projections with CTF, float32, one after the other. Ends with its standard input.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float

BATCH = 16  # particles at a time, for which it compiles once
SCALED_ON = 32  # particles that tell the scale of the model's images


class Projector:
    """A run that is open.

    Parameters
    ----------
    folder : of the run.
    """

    def __init__(self, folder: str) -> None:
        import jax

        from libhetero.pipelines.decoding.sampling import spread_indices
        from libhetero.pipelines.run.folder import open_run
        from libhetero.pipelines.run.watching import projections

        self._run = open_run(folder)
        self._feed = self._run.feed()
        self._project = jax.jit(partial(projections, self._run.model))
        self._scale = 1.0
        images, model = self.both(spread_indices(len(self._run.particles), SCALED_ON))
        cross, power = float(np.sum(images * model)), float(np.sum(model**2))
        self._scale = cross / power if cross > 0 and power > 0 else 1.0

    def both(self, rows: np.ndarray) -> tuple[Float[np.ndarray, "chosen n n"], Float[np.ndarray, "chosen n n"]]:
        """Return images and the model's projections, both less their means, on the scale of the images."""
        images, model = [], []
        for start in range(0, len(rows), BATCH):
            part = np.asarray(rows[start : start + BATCH])
            batch = self._feed.batch(part, BATCH)
            images.append(np.asarray(batch.images)[: len(part)])
            model.append(np.asarray(self._project(self._run.params, batch))[: len(part)])
        return _centred(np.concatenate(images)), self._scale * _centred(np.concatenate(model))


def _centred(images: np.ndarray) -> Float[np.ndarray, "chosen n n"]:
    images = np.asarray(images, np.float32)
    return images - images.mean(axis=(1, 2), keepdims=True)


def answer(projector: Projector, line: str, out: BinaryIO) -> None:
    """Answer one line."""
    images, model = projector.both(np.array(json.loads(line), np.int64))
    _say(out, {"shape": images.shape})
    out.write(images.astype("<f4").tobytes() + model.astype("<f4").tobytes())
    out.flush()


def _say(out: BinaryIO, value: Any) -> None:
    out.write(json.dumps(value).encode() + b"\n")
    out.flush()


def main(folder: str) -> int:
    """Answer until standard input ends."""
    from libhetero.errors import UserError

    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not print among the answers
    try:
        projector = Projector(folder)
    except UserError as error:
        _say(out, {"error": str(error)})
        return 1
    _say(out, {"ready": True})
    for line in sys.stdin:
        try:
            answer(projector, line, out)
        except UserError as error:
            _say(out, {"error": str(error)})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
