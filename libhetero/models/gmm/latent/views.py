"""Normal equations of particles that several images show, as the tilts of a series do.

What each image says of changes of the molecule is the same change, so that the equations add up; its nuisances are its
own (contrast, what its pose is off by) and are solved for first. With n for their columns and c for the others, S their
standard deviations over the images and m their means, a particle's equations are

    K_i = (H_nn + S⁻²)⁻¹,   H = Σ_i [H_cc - H_cn K_i H_nc],   g = Σ_i [g_c - H_cn m - H_cn K_i (g_n - H_nn m)]

which are those of the normal likelihood with the nuisances integrated over. What noise alone would say in the place of
g, N(0, H), comes of each image's draws in the same way, with one of its nuisances beside. S and m are learnt from the
images of some particles, at first as if nothing changed (`directions.nothing_changes`). Changes of the molecule look in
part like nuisances; once a search has found them, they are taken off, and S and m are learnt again (`relearnt`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from libhetero.models.gmm.latent.directions import nothing_changes
from libhetero.models.gmm.latent.low_rank import LowRank, expected
from libhetero.models.gmm.latent.noise_power import LOOKED_AT, Said
from libhetero.models.gmm.latent.normal_equations import (
    NUISANCES,
    About,
    Equations,
    Fields,
    Solved,
    each_image,
    given_columns,
    normal_equations,
    number_of_columns,
)
from libhetero.models.gmm.latent.subspace import Imaging
from libhetero.models.gmm.layout import Layout
from libhetero.records import Batch
from libhetero.tilts import rows_of_views

LEARNT_FROM = 1024  # images
LEAST_SPREAD = 1e-6  # in the units of the nuisances


@dataclass(frozen=True, eq=False)
class Known:
    """Nuisances of images.

    Parameters
    ----------
    spread, mean : (6,), over the images.
    """

    spread: np.ndarray
    mean: np.ndarray


def particle_equations(
    imaging: Imaging,
    sample: Batch,
    patch: np.ndarray,
    layout: Layout,
    *,
    fields: Fields | None = None,
    about: About | None = None,
    nuisances: bool = True,
    known: Known | None = None,
    draws: int = 0,
    seed: int = 0,
) -> Equations:
    """Return what every particle of a sample says, its nuisances in columns, or solved for where it has several images.

    Parameters
    ----------
    imaging, sample, patch, layout, fields, about, draws, seed : see `normal_equations`. Particles none of whose images
        has weight are left out.
    nuisances : whether there are any.
    known : of images of particles, from an earlier search; None to learn them.
    """
    options: dict[str, Any] = {"fields": fields, "about": about, "nuisances": nuisances, "seed": seed}
    if sample.views == 1:
        return normal_equations(imaging, sample, patch, layout, draws=draws, **options)
    used = np.flatnonzero(sample.weight)
    held, particle = np.unique(used // sample.views, return_inverse=True)
    images, of_image = _some_images(imaging, sample, patch, layout, options, LEARNT_FROM if nuisances else LOOKED_AT)
    solved, power = _solved(images, of_image, known) if nuisances else None, images.power
    del images
    left = number_of_columns(patch, layout, fields=fields, about=about)
    parts = [np.zeros((len(held), *rest, left), np.float32) for rest in ((left,), (), (draws,))]
    told = {"next": 0}
    waiting: dict[int, tuple[np.ndarray, ...]] = {}
    lock = Lock()

    def take(rows: slice, said: Said) -> None:
        said = power.divided(said)
        each: tuple[np.ndarray, ...] = said.hessian, said.gradient, said.noise
        if solved is not None:
            random = np.random.default_rng([seed, rows.start])
            each = without_nuisances(each, solved.spread, solved.mean, random)
        # Added up in the order of the images, whichever thread is first, so that sums are the same each time.
        with lock:
            waiting[rows.start] = each
            while (start := told["next"]) in waiting:
                ready = waiting.pop(start)
                told["next"] = start + len(ready[1])
                for whole, part in zip(parts, ready, strict=True):
                    np.add.at(whole, particle[start : told["next"]], part)

    each_image(imaging, replace(sample, views=1), patch, layout, take, draws=draws, **options)
    hessian, gradient, noise = parts
    return Equations(hessian, gradient, noise, 0, given_columns(fields, about), layout.kinds, power, solved)


def _some_images(
    imaging: Imaging, sample: Batch, patch: np.ndarray, layout: Layout, options: dict[str, Any], most: int
) -> tuple[Equations, Int[np.ndarray, "images"]]:
    """Return the equations of at most so many images, all of their particles, and the place of each one's particle."""
    used = (np.asarray(sample.weight) > 0).reshape(-1, sample.views)
    held = np.flatnonzero(used.any(axis=1))
    count = min(max(most // sample.views, 1), len(held))
    places = np.arange(count) * len(held) // count
    rows = rows_of_views(held[places], sample.views)
    there = np.asarray(sample.weight)[rows] > 0
    particle, rows = np.repeat(places, sample.views)[there], rows[there]
    some = replace(jax.tree.map(lambda leaf: leaf[rows], sample), views=1)
    if options["about"] is not None:
        options = {**options, "about": replace(options["about"], latent=options["about"].latent[rows])}
    return normal_equations(imaging, some, patch, layout, **options), particle


def _solved(images: Equations, particle: Int[np.ndarray, "images"], known: Known | None) -> Solved:
    """Return the nuisances of images, learnt from those of some particles where they are not known."""
    if known is not None:
        return Solved(known.spread, known.mean, images, particle)
    model, size = nothing_changes(images), len(NUISANCES)
    return Solved(np.maximum(np.diag(model.known[:size]), LEAST_SPREAD), model.mean[:size], images, particle)


def relearnt(equations: Equations, model: LowRank) -> Known | None:
    """Return the nuisances of images once the changes of their particles are taken off; None for single images.

    Parameters
    ----------
    equations : of particles.
    model : of their changes, which the search had found in them.
    """
    solved, size = equations.solved, len(NUISANCES)
    if solved is None:
        return None
    images = solved.images
    members, place = np.unique(solved.particle, return_inverse=True)
    own = replace(
        equations,
        hessian=equations.hessian[members],
        gradient=equations.gradient[members],
        noise=equations.noise[members],
    )
    change = expected(own, model).latent @ model.directions.T + model.mean
    left = images.gradient - np.einsum("ipq,iq->ip", images.hessian[:, :, size:], change[place].astype(np.float32))
    alone = Equations(images.hessian[:, :size, :size], left[:, :size], images.noise[:, :, :size], size, 0, "")
    fitted = nothing_changes(alone)
    return Known(np.maximum(np.diag(fitted.known), LEAST_SPREAD), fitted.mean)


def without_nuisances(
    said: tuple[np.ndarray, ...],
    spread: Float[np.ndarray, "6"],
    mean: Float[np.ndarray, "6"],
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return H, g and noise of images, their nuisances, the first columns, solved for; the module says the equations.

    Parameters
    ----------
    said : H (images, columns, columns), g (images, columns) and noise (images, draws, columns).
    spread, mean : of the nuisances.
    random : for what the draws of noise have in the place of nuisances.
    """
    (hessian, gradient, noise), count = said, len(spread)
    own = hessian[:, :count, :count] + np.diag(spread**-2).astype(np.float32)
    cross = hessian[:, count:, :count]
    taken = np.linalg.solve(own, cross.transpose(0, 2, 1))  # K H_nc
    rest = gradient - hessian[:, :, :count] @ mean.astype(np.float32)
    drawn = random.standard_normal((*noise.shape[:2], count)).astype(np.float32) / spread.astype(np.float32)
    return (
        hessian[:, count:, count:] - cross @ taken,
        rest[:, count:] - (rest[:, None, :count] @ taken)[:, 0],
        noise[..., count:] - (noise[..., :count] + drawn) @ taken,
    )
