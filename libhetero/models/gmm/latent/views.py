"""Normal equations of particles that several images show, as the tilts of a series do.

What each image says of changes of the molecule is the same change, so that the equations add up; its nuisances are its
own (contrast, what its pose is off by) and are solved for first. With n for their columns and c for the others, S their
standard deviations over the images and m their means, a particle's equations are

    K_i = (H_nn + S⁻²)⁻¹,   H = Σ_i [H_cc - H_cn K_i H_nc],   g = Σ_i [g_c - H_cn m - H_cn K_i (g_n - H_nn m)]

which are those of the normal likelihood with the nuisances integrated over. What noise alone would say in the place of
g, N(0, H), comes of each image's draws in the same way, with one of its nuisances beside. S and m are learnt from some
of the images, as those of a set of single images are (`directions.nothing_changes`).
"""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Float

from libhetero.models.gmm.latent.directions import nothing_changes
from libhetero.models.gmm.latent.normal_equations import (
    NUISANCES,
    About,
    Equations,
    Fields,
    Solved,
    each_image,
    normal_equations,
)
from libhetero.models.gmm.latent.subspace import Imaging
from libhetero.models.gmm.layout import Layout
from libhetero.models.sample import spread_over
from libhetero.records import Batch
from libhetero.tilts import images_alone

LEARNT_FROM = 1024  # images
LEAST_SPREAD = 1e-6  # in the units of the nuisances


def particle_equations(
    imaging: Imaging,
    sample: Batch,
    patch: np.ndarray,
    layout: Layout,
    *,
    fields: Fields | None = None,
    about: About | None = None,
    nuisances: bool = True,
    draws: int = 0,
    seed: int = 0,
) -> Equations:
    """Return what every particle of a sample says, its nuisances in columns, or solved for where it has several images.

    Parameters
    ----------
    imaging, sample, patch, layout, fields, about, draws, seed : see `normal_equations`. Particles none of whose images
        has weight are left out.
    nuisances : whether there are any.
    """
    options: dict[str, Any] = {"fields": fields, "about": about, "nuisances": nuisances, "draws": draws, "seed": seed}
    if sample.views == 1:
        return normal_equations(imaging, sample, patch, layout, **options)
    learnt = _learnt(imaging, sample, patch, layout, seed) if nuisances else None
    used = np.flatnonzero(sample.weight)
    held, particle = np.unique(used // sample.views, return_inverse=True)
    parts: list[np.ndarray] = []
    told: dict[str, int] = {}
    lock = Lock()

    def begin(columns: int, given: int) -> None:
        told.update(fields=given)
        left = columns - (0 if learnt is None else len(NUISANCES))
        parts.extend(np.zeros((len(held), *rest, left), np.float32) for rest in ((left,), (), (draws,)))

    def take(rows: slice, said: tuple[np.ndarray, ...]) -> None:
        if learnt is not None:
            said = without_nuisances(said, learnt[0].spread, learnt[1], np.random.default_rng([seed, rows.start]))
        with lock:
            for whole, part in zip(parts, said, strict=True):
                np.add.at(whole, particle[rows], part)

    each_image(imaging, replace(sample, views=1), patch, layout, begin, take, **options)
    hessian, gradient, noise = parts
    return Equations(hessian, gradient, noise, 0, told["fields"], layout.kinds, None if learnt is None else learnt[0])


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


def _learnt(
    imaging: Imaging, sample: Batch, patch: np.ndarray, layout: Layout, seed: int
) -> tuple[Solved, Float[np.ndarray, "6"]]:
    """Return spreads of the nuisances of images and how much these say of them, and the nuisances' means."""
    some = spread_over(images_alone(sample), LEARNT_FROM)
    equations = normal_equations(imaging, some, patch, layout, nuisances=True, seed=seed)
    model, count = nothing_changes(equations), len(NUISANCES)
    information = np.diagonal(equations.hessian, axis1=1, axis2=2)[:, :count].mean(axis=0)
    return Solved(np.maximum(np.diag(model.known[:count]), LEAST_SPREAD), information), model.mean[:count]
