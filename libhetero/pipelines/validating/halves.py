"""The two half-sets of a run's particles, a model trained on each with the run's own settings, and what they share.

A half-set is the run's list with the places of its particles (`--ind`) beside it, so that every column is read as the
run read it. Its model starts from the Gaussians that the run started from, number by number the same; nothing that the
run learnt goes into it, nor what its particles decided, such as how many latent numbers there are and what varies.
What is finished is not trained again: a half-set's run begins or goes on as `e2hype_refine.py --requeue` does.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.agreement import canonical_correlations, predicted_variance
from libhetero.configuration.limits import MOST_PARTICLES
from libhetero.errors import ConfigurationError, DataError, StoppedEarly
from libhetero.io.indices import read_indices, write_indices
from libhetero.io.paths import stacks_known
from libhetero.io.tilt_series import together
from libhetero.pipelines import refine
from libhetero.pipelines.decoding.latents import particle_latents
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.data import ParticleListConfig
from libhetero.pipelines.run.epoch_folder import run_and_epoch
from libhetero.pipelines.run.folder import LATENTS, Run, open_run
from libhetero.pipelines.run.particles import listed
from libhetero.records import ParticleSet
from libhetero.tilts import one_image_each
from libhetero.training.checkpoint import last_step
from libhetero.training.log import read_log

LOGGER = logging.getLogger(__name__)
START = "model_00.txt"
MEASURED = ("deviation",)  # of the preparation: found anew on each half-set
FEWEST = 20  # particles of a half-set

Half = Int[np.ndarray, "_"]


@dataclass(frozen=True, eq=False)
class HalfModel:
    """What was learnt from one half-set.

    Parameters
    ----------
    members : places of its particles in the run.
    whole : its model as a run over all particles of the run, in a folder of its own.
    """

    members: Half
    whole: Run

    def latents(self, batch_size: int) -> Float[np.ndarray, "particles latent"]:
        """Return the latent of every particle of the run, at most 100 numbers."""
        self.whole.folder.mkdir(exist_ok=True)
        return particle_latents(self.whole, batch_size)


def half_sets(particles: ParticleSet) -> tuple[Half, Half]:
    """Return the places of each half-set's images: those of the list, else of the even and of the odd particles.

    The images of a tilt series stay together, with the first, also where each is taken for a particle of its own.

    Raises
    ------
    DataError : if there are too few to train on.
    """
    first_image, shown = one_image_each(together(particles))
    half = None if particles.half_set is None else np.asarray(particles.half_set)[first_image]
    if half is None or _smaller(half) < FEWEST:
        half = np.arange(len(first_image)) % 2
    if _smaller(half) < FEWEST:
        raise DataError(
            f"{len(first_image)} particles: too few for two half-sets; expected {FEWEST} in each. Add --skip_halves."
        )
    first, second = (np.flatnonzero(half[shown] == one) for one in (0, 1))
    return first, second


def _smaller(half: Int[np.ndarray, "particles"]) -> int:
    """Return the number of particles of the smaller half-set."""
    return int(min(np.count_nonzero(half == one) for one in (0, 1)))


def seconds_of_training(run: Run) -> float | None:
    """Return how long the steps of the run took, as its log says; None where it does not."""
    log = run_and_epoch(run.folder)[0] / "log.jsonl"
    lines = read_log(log) if log.is_file() else []
    rates = [line["particles_per_second"] for line in lines if line.get("particles_per_second")]
    if not rates:
        return None
    first = max((line.get("first_step_seconds", 0.0) for line in lines), default=0.0)
    return float(lines[-1]["epoch"] * run.particles.distinct / np.median(rates) + first)


def train_half(
    run: Run, number: int, members: Half, folder: Path, progress: Callable[[float], None] | None = None
) -> HalfModel:
    """Train one half-set, or go on, or find it finished.

    Parameters
    ----------
    run : whose settings are taken.
    number : of the half-set, 1 or 2.
    members : places of its particles.
    folder : RUN/validation; the half-set's run is half1 or half2 in it.
    progress : called with the fraction done.

    Raises
    ------
    StoppedEarly : the system or the user asked to stop; the same command goes on.
    UserError : one line on what is wrong.
    """
    name = folder / f"half{number}"
    chosen = _rows_of_list(run, members)
    indices = folder / f"half{number}.pkl"
    if not indices.exists():
        write_indices(indices, chosen)
    asked = half_request(run, name, indices)
    try:
        if not np.array_equal(read_indices(indices, MOST_PARTICLES, run.config.data.particles), chosen):
            raise ConfigurationError(f"{indices}: its particles are others than those of half-set {number}.")
        with stacks_known(run.particles.files):
            refine.run(asked, progress=progress, go_on=f"the same command; what is trained in {folder} is kept")
    except StoppedEarly as stop:
        raise StoppedEarly(f"half-set {number} of 2 was {stop}", stop.code) from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{error} To train the half-sets anew, remove {folder}.") from None
    half = open_run(name)
    return HalfModel(members, dataclasses.replace(half, folder=name / "whole", particles=run.particles))


def trained_so_far(folder: Path) -> list[str]:
    """Return how far the half-sets in RUN/validation are trained, in words; those that are not begun are left out."""
    found = []
    for number in (1, 2):
        half = folder / f"half{number}"
        step = last_step(half / "checkpoints")
        if (half / LATENTS).is_file():
            found.append(f"half-set {number}, trained")
        elif step is not None:
            found.append(f"half-set {number}, trained to step {step}")
    return found


def half_request(run: Run, name: Path, indices: Path) -> RefineConfig:
    """Return what is asked for of a half-set's run: all that the run has, and the particles of one half.

    Parameters
    ----------
    name : of the half-set's run folder.
    indices : of its particles.
    """
    data = _fields(run.config.data, "particles", "preprocess", "count", "classes") | {"indices": str(indices.resolve())}
    start = run.folder / START
    if data["reference"] is not None and start.is_file():
        data["reference"] = str(start.resolve())
    return RefineConfig(
        particles=run.config.data.particles,
        family=run.config.family,
        data=data,
        preprocess=_fields(run.config.data.preprocess, *MEASURED),
        model=_fields(run.config.model.as_asked(), "decided"),
        training=_fields(run.config.training, "extended"),
        folder=str(name),
        requeue=True,
    )


def _fields(configuration: Any, *without: str) -> dict[str, Any]:
    """Return a configuration's fields by name, but for some."""
    named = {field.name: getattr(configuration, field.name) for field in dataclasses.fields(configuration)}
    return {name: value for name, value in named.items() if name not in without}


def _rows_of_list(run: Run, members: Half) -> Half:
    """Return the rows of the list that a half-set is to be read from.

    Where the run has taken some of the images of each tilt series, these are all images of the half-set's particles
    that it took them from: the half-set's run takes some of them by the same options, and exposures of `--dose` are
    counted over all.
    """
    data = run.config.data
    some = data.least_exposed is not None or data.most_tilted is not None
    if data.indices is None and not some:
        return members
    alone = ParticleListConfig(data.particles, datadir=data.datadir, pixel_size=data.pixel_size)
    with stacks_known(run.particles.files):
        whole = listed(dataclasses.replace(alone, passthrough=data.passthrough))
    rows = np.arange(len(whole))
    if data.indices is not None:
        rows = read_indices(data.indices, len(whole), data.particles)
    group, shown = together(whole).group, together(run.particles).group
    if not some or group is None or shown is None:  # images of no series, of which none were left out
        return rows[members]
    return rows[np.isin(group[rows], shown[members])]


def latents_agree(
    first: Float[np.ndarray, "particles latent"], second: Float[np.ndarray, "particles others"], seed: int
) -> tuple[tuple[float, ...], tuple[float, float]]:
    """Return the canonical correlations of two models' latents, and how far each predicts the other.

    Parameters
    ----------
    first, second : latents of the same particles, one row each, whatever number of images they have. Each has as many
        numbers as its half-set shows directions, which may be none: then there are no correlations.
    seed : of folds.
    """
    canonical = canonical_correlations(first, second, seed)
    predicted = (predicted_variance(first, second, seed), predicted_variance(second, first, seed))
    LOGGER.info(
        "latents of the half-sets: canonical correlations %s; R² of one by the other %.2f and %.2f",
        " ".join(f"{one:.2f}" for one in canonical[:16]) or "none",
        *predicted,
    )
    return tuple(float(one) for one in canonical), predicted
