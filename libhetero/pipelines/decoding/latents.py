"""The latent of every particle of a run: read where training left it, encoded where it did not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_latent
from libhetero.models.families import family_named
from libhetero.pipelines.decoding.mid_latent import LatentStream, basis_path, read_basis, write_mid
from libhetero.pipelines.decoding.particle_findings import write_particle_findings
from libhetero.pipelines.run.folder import LATENTS, Run, latents_are_current
from libhetero.telling.progress import tracked

LOGGER = logging.getLogger(__name__)


def shows_nothing(run: Run) -> bool:
    """Return whether nothing was found to change in a run's particles: its latents have no numbers."""
    return getattr(run.model.config, "latent_size", None) == 0


def particle_latents(
    run: Run, batch_size: int, progress: Callable[[float], None] | None = None
) -> Float[np.ndarray, "particles latent"]:
    """Return a latent for every particle, at most 100 numbers: wider ones reduced by PCA.

    `mid_00.txt` is read where it is as new as the parameters; otherwise the particles are encoded
    and it is written, with what else a finished run says of its particles. Without numbers where nothing was found to
    change.
    """
    path, count = run.folder / LATENTS, len(run.particles)
    if shows_nothing(run):
        return np.zeros((count, 0), np.float32)
    if latents_are_current(run.folder, run.written):
        index, latent = read_latent(path)
        if np.array_equal(index, np.arange(count)):
            LOGGER.debug("read the latents of %d particles from %s", count, path)
            return latent.astype(np.float32)
    LOGGER.info("encoding %d particles", count)
    feed = run.feed()
    write_mid(
        path,
        run.model,
        run.params,
        feed,
        batch_size,
        progress,
        encoded=lambda posterior: write_particle_findings(run.folder, feed, run.config.data, posterior),
    )
    return read_latent(path)[1].astype(np.float32)


def decodable_latents(
    run: Run, indices: np.ndarray, batch_size: int, progress: Callable[[float], None] | None = None
) -> Iterator[Float[np.ndarray, "block latent"]]:
    """Yield the whole latents of some particles, as the decoder takes them, in blocks.

    They are read from `mid_00.txt` where the run's family has latents narrow enough to be kept whole there, and
    encoded again where it has not.

    Parameters
    ----------
    indices : places in the particle set.
    """
    if family_named(run.config.family).whole_latents:
        latent = particle_latents(run, batch_size, progress)[indices]
        for start in range(0, len(latent), batch_size):
            yield latent[start : start + batch_size]
    else:
        stream = LatentStream(run.model, run.params, run.feed(), batch_size)
        yield from tracked(stream.blocks(indices), len(indices), "encoding", progress=progress)


def lifted_latents(
    run: Run, points: Float[np.ndarray, "points columns"], where: str, batch_size: int
) -> Float[np.ndarray, "points latent"]:
    """Return latent points as the decoder takes them; those in the reduced space are taken back.

    Parameters
    ----------
    points : as wide as `mid_00.txt`.
    where : what they come from, for the message.

    Raises
    ------
    ConfigurationError : if they are of another width.
    """
    path = run.folder / LATENTS
    width = particle_latents(run, batch_size).shape[1]
    if points.shape[1] != width:
        raise ConfigurationError(f"{where}: {points.shape[1]} latent numbers; expected {width}, as in {path}.")
    basis = read_basis(path)
    if basis is not None and len(basis.directions) != width:
        raise DataError(
            f"{basis_path(path)}: {len(basis.directions)} directions; expected {width}, the numbers of {path.name}. "
            f"Remove {path.name}, from which it is made anew."
        )
    return np.asarray(points, np.float32) if basis is None else basis.lift(points)
