"""What a run shows of itself while it trains: figures at checkpoints, and TensorBoard.

    loss.png       signal explained, loss, those of the held-out particles, and learning rate so far
    samples.png    a few particles, the same every time, beside what the model makes of them
    tensorboard/   the numbers of log.jsonl and the samples, where asked for

Figures are drawn at a checkpoint where the last are `DRAWN_EVERY` seconds old, and of the last checkpoint in any case;
with TensorBoard, which keeps them all, at every checkpoint. Where training is asked to stop, whose checkpoint nobody
looks at for want of time, loss.png goes to the last report all the same.

None of it is worth a run: what fails is told once, and training goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from libhetero.models.family import ModelFamily
from libhetero.physics.fourier import half_plane, real_image
from libhetero.physics.observation import observed
from libhetero.records import Batch, Observation
from libhetero.report.tensorboard import TensorBoard
from libhetero.training.course import AVERAGED, Course
from libhetero.training.feed import ParticleFeed
from libhetero.training.log import read_log
from libhetero.training.preprocess import sample_indices
from libhetero.training.series import drawn_from

LOGGER = logging.getLogger(__name__)
SHOWN = 6  # particles
DRAWN_EVERY = 5.0  # seconds at least between figures: epochs of a tiny set take less than its figures


class RunWatch:
    """Draws and tells what a run folder's training has come to; for process 0.

    Parameters
    ----------
    folder : the run folder, with log.jsonl.
    model : what is trained.
    feed : the particles.
    shown : places of those that figures show, from `shown_places`.
    tensorboard : whether to write events for TensorBoard.
    """

    def __init__(
        self,
        folder: Path,
        model: ModelFamily,
        feed: ParticleFeed,
        shown: Int[np.ndarray, " shown"],
        *,
        tensorboard: bool = False,
    ) -> None:
        self._folder, self._samples = folder, Samples(model, feed, shown)
        self._wants_board = tensorboard
        self._board: TensorBoard | None = None
        self._failed: set[str] = set()
        self._drawn = time.monotonic()
        self._undrawn: tuple[int, Comparison | None] | None = None  # the last checkpoint
        self._reported = False  # since loss.png was drawn

    def __enter__(self) -> RunWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._draw()
            if self._reported:
                self._draw_course()
        if self._board is not None:
            with self._dispensable("tensorboard"):
                self._board.close()

    def report(self, line: dict[str, Any]) -> None:
        """Take a new line of log.jsonl."""
        self._reported = True
        if not self._wants_board:
            return
        with self._dispensable("tensorboard"):
            if self._board is None:
                self._board = TensorBoard(self._folder / "tensorboard")
            self._board.add_numbers(line["step"], line)

    def checkpoint(self, step: int, params: Any) -> None:
        """Take what a checkpoint has come to, and draw it unless figures were drawn a moment ago.

        Parameters
        ----------
        step : steps done.
        params : of the model, the ones to use, on one device.
        """
        compared = None
        with self._dispensable("samples.png"):
            compared = self._samples.compare(params)
        self._undrawn = step, compared
        if self._wants_board or time.monotonic() - self._drawn >= DRAWN_EVERY:
            self._draw()

    def _draw(self) -> None:
        """Draw the figures of the last checkpoint, unless they are drawn."""
        if self._undrawn is None:
            return
        (step, compared), self._undrawn = self._undrawn, None
        self._draw_course()
        path = self._folder / "samples.png"
        if compared is not None:
            with self._dispensable(path.name):
                self._draw_samples(path, step, compared)
                if self._board is not None:
                    with self._dispensable("tensorboard"):
                        self._board.add_figure(step, "samples", path)
        self._drawn = time.monotonic()

    def _draw_course(self) -> None:
        """Draw log.jsonl as it is now."""
        from libhetero.report.training import draw_training  # matplotlib loads after the first step

        self._reported = False
        with self._dispensable("loss.png"):
            lines = read_log(self._folder / "log.jsonl")
            course = Course(lines)
            draw_training(self._folder / "loss.png", lines, {name: course.means(name) for name in AVERAGED})

    def _draw_samples(self, path: Path, step: int, compared: Comparison) -> None:
        from libhetero.report.samples import draw_samples

        captions = [
            f"particle {row}\ncorrelation {correlation:.3f}"
            for row, correlation in zip(self._samples.rows, compared.correlation, strict=True)
        ]
        title = f"step {step}: mean correlation {compared.correlation.mean():.3f}, model × {compared.scale:.3g}"
        draw_samples(path, title, captions, compared.data, compared.model, self._samples.pixel_size)

    @contextmanager
    def _dispensable(self, what: str) -> Iterator[None]:
        """Let training go on when `what` fails, whatever the reason, and say so the first time."""
        try:
            yield
        except Exception as error:
            LOGGER.debug("%s failed", what, exc_info=True)
            if what not in self._failed:
                self._failed.add(what)
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                LOGGER.warning("%s: could not be written (%s); training goes on", self._folder / what, reason)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Particles beside what a model makes of them, as it is given them, less their means.

    Parameters
    ----------
    data : images.
    model : projections of the particles' own volumes, with CTF, times `scale`.
    correlation : of each pair, over all pixels.
    scale : one number for all.
    """

    data: Float[np.ndarray, "particles n n"]
    model: Float[np.ndarray, "particles n n"]
    correlation: Float[np.ndarray, " particles"]
    scale: float


def shown_places(trained_on: Int[np.ndarray, " particles"], seed: int) -> Int[np.ndarray, " shown"]:
    """Return the places of a few of the particles that are trained on, drawn by the seed: the same in every run of it.

    Parameters
    ----------
    trained_on : places of all of them.
    """
    return trained_on[sample_indices(len(trained_on), SHOWN, seed)]


class Samples:
    """A few of the particles that are trained on, beside what a model makes of them.

    A model's images are those of `render` with the CTF. No family compares the mean of an image, and
    Gaussians are on a scale of their own; so both are taken less their mean, and the model times

        scale = Σ ⟨model, data⟩ / Σ ⟨model, model⟩      over all particles shown,

    which is near 1 for CryoHype.

    Parameters
    ----------
    model : any family.
    feed : the particles.
    indices : places of those shown.
    """

    def __init__(self, model: ModelFamily, feed: ParticleFeed, indices: Int[np.ndarray, " shown"]) -> None:
        self.indices, self._feed = indices, feed
        self._project = jax.jit(partial(projections, model))

    @property
    def pixel_size(self) -> float:
        """Å, of the images."""
        return self._feed.pixel_size

    @cached_property
    def _batch(self) -> Batch:
        return drawn_from(self._feed).batch(self.indices)

    @property
    def rows(self) -> Int[np.ndarray, " shown"]:
        """Rows of the list that the images shown stand in."""
        return np.asarray(self._batch.index[:: self._batch.views])

    def compare(self, params: Any) -> Comparison:
        """Return the particles and what the model makes of them with these parameters.

        Raises
        ------
        DataError : when they cannot be read.
        """
        data = _centred(self._batch.images[:: self._batch.views])
        model = _centred(np.asarray(self._project(params, self._batch)))
        cross, power = np.sum(model * data), np.sum(model**2)
        scale = float(cross / power) if cross > 0 else 1.0  # a model that is no use yet is left alone
        return Comparison(data, scale * model, _correlation(data, model), scale)


def projections(model: ModelFamily, params: Any, batch: Batch) -> Float[Array, "particles n n"]:
    """Return what a model says that particles look like without noise.

    Each is encoded and seen as in its image, the first of its images where it has several.
    """
    first = slice(None, None, batch.views)
    latent, seen = model.encode(params, batch)[first], jax.tree.map(lambda leaf: leaf[first], batch.observation)
    return projections_at(model, params, latent, seen)


def projections_at(
    model: ModelFamily, params: Any, latent: Float[Array, "images latent"], seen: Observation
) -> Float[Array, "images n n"]:
    """Return what a model says that images look like without noise, of particles at these latents.

    Each is decoded, rendered at its pose and multiplied by its CTF; one after the other from the rendering on, for
    the memory of one.

    Parameters
    ----------
    latent : of the particle that each image shows.
    seen : how each image was seen.
    """
    n, pixel_size = model.box_size, model.pixel_size

    def one(item: tuple[Any, Observation]) -> Array:
        representation, observation = item
        plane = model.render(representation, observation.pose, n, pixel_size)
        return real_image(observed(plane, observation, half_plane(n, pixel_size)), n)

    return jax.lax.map(one, (model.decode(params, latent), jax.tree.map(jnp.asarray, seen)))


def _centred(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images, np.float64)
    return images - images.mean(axis=(1, 2), keepdims=True)


def _correlation(data: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Return the correlation of each pair of images of mean 0; 0 where one of them is flat."""
    cross = np.sum(data * model, axis=(1, 2))
    power = np.sum(data**2, axis=(1, 2)) * np.sum(model**2, axis=(1, 2))
    return cross / np.sqrt(np.where(power > 0, power, 1.0))
