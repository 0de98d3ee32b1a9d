"""A process that holds a run open, with JAX: what it is asked for costs no start of a program and no compiling again.

    python -m libhetero.dashboard.worker RUN

It reads lines of JSON and answers in lines of JSON:

    {"images": [rows]}          {"shape": […]}, and then the images as the model is shown them and its projections with
                                CTF, float32, one after the other
    {"evaluate": [words]}       what e2hype_eval.py does with these words: {"line": …} and {"fraction": …} on the way,
                                {"done": true} in the end

or with {"error": …}. It ends with its standard input, so that it outlives no server.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float

from libhetero.dashboard.refusals import one_line_of

BATCH = 16  # particles at a time, for which it compiles once
SCALED_ON = 32  # particles that tell the scale of the model's images


class Worker:
    """A run that is open.

    Parameters
    ----------
    folder : of the run.
    out : where answers go.
    """

    def __init__(self, folder: str, out: BinaryIO) -> None:
        from libhetero.pipelines.run.folder import open_run

        self._out = out
        self._run = open_run(folder)
        self._seen: Projector | None = None

    def answer(self, asked: dict[str, Any]) -> None:
        """Answer one question."""
        if "images" in asked:
            self._seen = self._seen or Projector(self._run)
            images, model = self._seen.both(np.array(asked["images"], np.int64))
            self.say({"shape": images.shape})
            self._out.write(images.astype("<f4").tobytes() + model.astype("<f4").tobytes())
            self._out.flush()
        else:
            self._evaluate(asked["evaluate"])
            self.say({"done": True})

    def say(self, value: Any) -> None:
        """Say one line."""
        self._out.write(json.dumps(value).encode() + b"\n")
        self._out.flush()

    def _evaluate(self, words: Sequence[str]) -> None:
        """Do what e2hype_eval.py does with the run that is open."""
        from libhetero.cli import configuration_of, configuration_parser
        from libhetero.configuration import FigureConfig
        from libhetero.pipelines.evaluate import EvaluateConfig, evaluated

        parser = configuration_parser(words[0], "", "", EvaluateConfig, FigureConfig)
        config = configuration_of(parser.parse_args(list(words[1:])), EvaluateConfig)
        found = evaluated(self._run, config, lambda done: self.say({"fraction": done}))
        self.say({"line": f"wrote {len(found.volumes)} volume(s), {found.table} says what they are"})


class Projector:
    """The model of a run, seen as its particles are.

    Parameters
    ----------
    run : a `libhetero.pipelines.run.folder.Run`.
    """

    def __init__(self, run: Any) -> None:
        import jax

        from libhetero.pipelines.decoding.mid_latent import LatentStream
        from libhetero.pipelines.decoding.sampling import spread_indices
        from libhetero.pipelines.run.watching import projections, projections_at

        self._run, self._feed = run, run.feed()
        self._project = jax.jit(partial(projections, run.model))
        self._project_at = jax.jit(partial(projections_at, run.model))
        self._of_series: LatentStream | None = None
        if run.particles.group is not None:
            self._of_series = LatentStream(run.model, run.params, self._feed, BATCH)
        self._scale = 1.0
        images, model = self.both(spread_indices(len(run.particles), SCALED_ON))
        cross, power = float(np.sum(images * model)), float(np.sum(model**2))
        self._scale = cross / power if cross > 0 and power > 0 else 1.0

    def both(self, rows: np.ndarray) -> tuple[Float[np.ndarray, "chosen n n"], Float[np.ndarray, "chosen n n"]]:
        """Return images and the model's projections, both less their means, on the scale of the images."""
        images, model = [], []
        for start in range(0, len(rows), BATCH):
            part = np.asarray(rows[start : start + BATCH])
            batch = self._feed.batch(part, BATCH)
            images.append(np.asarray(batch.images)[: len(part)])
            model.append(np.asarray(self._projected(batch))[: len(part)])
        return _centred(np.concatenate(images)), np.float32(self._scale) * _centred(np.concatenate(model))

    def _projected(self, batch: Any) -> Any:
        """Return the projections of images, each at the latent that all images of its particle give."""
        if self._of_series is None:
            return self._project(self._run.params, batch)
        latent = np.concatenate(list(self._of_series.blocks(batch.index)))
        return self._project_at(self._run.params, latent, batch.observation)


def _centred(images: np.ndarray) -> Float[np.ndarray, "chosen n n"]:
    images = np.asarray(images, np.float32)
    return images - images.mean(axis=(1, 2), keepdims=True)


class _Lines(logging.Handler):
    """Says what the library logs.

    Parameters
    ----------
    worker : that says it.
    """

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        """Say one message."""
        kind = "warning: " if record.levelno >= logging.WARNING else ""
        self._worker.say({"line": f"{kind}{record.getMessage()}"})


def main(folder: str) -> int:
    """Answer until standard input ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not print among the answers
    try:
        worker = Worker(folder, out)
    except Exception as error:  # nobody reads its standard error
        out.write(json.dumps({"error": one_line_of(error)}).encode() + b"\n")
        out.flush()
        return 1
    worker.say({"ready": True})
    logger = logging.getLogger("libhetero")
    logger.setLevel(logging.INFO)
    for line in sys.stdin:
        asked = json.loads(line)
        handler = _Lines(worker)
        if "evaluate" in asked:
            logger.addHandler(handler)
        try:
            worker.answer(asked)
        except Exception as error:
            worker.say({"error": one_line_of(error)})
        except SystemExit:  # of the parser, which tells on standard error
            worker.say({"error": "the program does not take these options"})
        finally:
            logger.removeHandler(handler)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
