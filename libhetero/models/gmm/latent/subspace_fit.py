"""Finding a set's subspace: which kinds of change the particles show, how many directions of each, and the modes.

1. For each kind of change that may be, presence (amplitudes) and motion (positions), the normal equations of a
   sample are formed for coarse patches of Gaussians (`normal_equations`), and directions are searched (`directions`).
   Each kind goes by itself, so that neither is drowned by the numbers and units of the other. A change of one kind is
   seen by the other, too (what turns away is missing where it was), but explains the images worse. The kind whose
   directions add more to the log-likelihood is there, and its directions are fitted and judged on fine patches: so many
   numbers of one kind would imitate large changes of the other.
2. Where that is presence, its modes, as changes of all Gaussians, become known directions of new normal equations, in
   which motion is searched in what is left. It is there where it adds a material part of what presence did: modes on
   patches are not exact, and what they leave of large changes would be taken for the other kind.
3. Where there is motion, what is linear in it is not enough, and presence beside it is searched once it is settled
   (`models.gmm.motions`). Presence explains a turn by many Å as well as motion that is linear in it does, so that
   where both kinds were found, motion alone is a second account of the set, between which what is settled decides.
4. Where nothing stands out, there are no modes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from libhetero.models.gmm.latent.directions import Found, find_directions
from libhetero.models.gmm.latent.low_rank import LowRank
from libhetero.models.gmm.latent.normal_equations import Equations, Fields, Patches
from libhetero.models.gmm.latent.nuisances import Nuisances, noticeable
from libhetero.models.gmm.latent.subspace import Imaging, Subspace
from libhetero.models.gmm.latent.views import particle_equations, relearnt
from libhetero.models.gmm.layout import Layout
from libhetero.records import Batch

LOGGER = logging.getLogger(__name__)
MOST_MODES = 16
DRAWS = 20  # of noise for each particle: what nothing gives
MATERIAL = 0.05  # part of the log-likelihood that the first kind adds, which the other must add to be there
KIND = {"a": "amplitude", "p": "motion"}


@dataclass(frozen=True, eq=False)
class Search:
    """What a search for one kind of change found.

    Parameters
    ----------
    kind : "a" or "p".
    found : directions on patches.
    equations : of the patches.
    patch : of each Gaussian.
    patches : the fine ones, and the coarse ones that were searched first.
    """

    kind: str
    found: Found
    equations: Equations
    patch: np.ndarray
    patches: Patches

    def spread(self, change: Float[np.ndarray, "columns numbers"]) -> Fields:
        """Return changes of patches as those of all Gaussians."""
        return spread(self.equations, self.patch, self.kind, change)

    @property
    def modes(self) -> Fields:
        """The modes as changes of all Gaussians."""
        return self.spread(self.found.model.modes)

    @property
    def mean(self) -> Fields:
        """The mean change of all Gaussians, one number."""
        return self.spread(self.found.model.mean[:, None])


def spread(
    equations: Equations, patch: Int[np.ndarray, "points"], kind: str, change: Float[np.ndarray, "columns numbers"]
) -> Fields:
    """Return changes of one kind of patches as those of all Gaussians; none where a Gaussian may not change.

    Parameters
    ----------
    equations : of the patches.
    patch : of each Gaussian, -1 for none.
    kind : "a" or "p".
    change : of the equations' columns.
    """
    layout, numbers = Layout.of(kind), change.shape[1]
    rows = change[equations.of_patches(kind)].reshape(len(layout.kinds), patch.max() + 1, numbers)
    rows = (rows[:, patch] * (patch >= 0)[:, None]).transpose(1, 0, 2).astype(np.float32)
    nothing = np.zeros((len(rows), 3, numbers), np.float32)
    return Fields(rows if layout.position else nothing, rows[:, 0] if layout.amplitude else nothing[:, 0])


def find_subspaces(
    imaging: Imaging,
    sample: Batch,
    layout: Layout,
    rank: int = 0,
    seed: int = 0,
    mobile: Bool[np.ndarray, "points"] | None = None,
    posed: bool = False,
) -> tuple[Subspace, ...]:
    """Find mean and modes of a sample of particles.

    Parameters
    ----------
    imaging : neutral mixture, scale and weights.
    sample : particles; some thousand make small pieces visible.
    layout : what of a Gaussian may change: position, amplitude or both.
    rank : number of modes; 0 takes those that stand out of the noise, at most 16, which may be none. Where both kinds
        may change and motion stands out, there are as many only once motions are settled (`models.gmm.motions`).
    seed : of k-means and of the noise's draws.
    mobile : (N,) bool, which Gaussians may change; None for all.
    posed : whether poses count as off however little that does to an image.

    Returns
    -------
    the likeliest subspace, its layout that of the kinds of change that were found, its modes those of the stronger kind
    first, in falling order of strength; 0 for Gaussians that may not change. Then, where both kinds were found, that of
    motion alone.
    """
    mobile = np.ones(len(imaging.neutral.sigma), bool) if mobile is None else np.asarray(mobile, bool)
    kinds = [kind for kind in "ap" if kind in layout.letters]
    forced = rank if len(kinds) == 1 else 0  # which kinds there are is decided before how many directions of each
    searches = [_searched(imaging, sample, kind, forced, seed, mobile) for kind in kinds]
    first = _strongest(imaging, sample, searches, forced, seed)
    kept, others = [first] if first.found.model.rank else [], []
    if len(searches) > 1 and kept and first.kind == "a":
        alone = next(one for one in searches if one.kind == "p")
        second = _searched_beside(imaging, sample, first, alone, seed)
        share = second.found.gain / first.found.gain
        LOGGER.info(
            "%s adds %.1f %% of what %s adds to the likelihood", KIND[alone.kind], 100 * share, KIND[first.kind]
        )
        if second.found.model.rank and share > MATERIAL:
            kept, others = [first, second], [alone]
    if rank and not kept:
        kept = [_strongest(imaging, sample, [_of_rank(one, rank) for one in searches], rank, seed)]
    elif rank and all(one.kind == "a" for one in kept):
        kept = [_of_rank(one, rank) for one in kept]
    subspace = _joined(kept, first, posed)
    _tell(subspace, len(first.equations.gradient))
    return subspace, *(_joined([one], one, posed) for one in others)


def _of_rank(search: Search, rank: int) -> Search:
    """Return a search with its strongest directions, or with more than stand out."""
    model = search.found.model
    if model.rank == rank:
        return search
    known = replace(model, modes=model.modes[:, :rank]) if model.rank else None
    return replace(search, found=find_directions(search.equations, search.kind, rank, known, forced=True))


def _tell(subspace: Subspace, count: int) -> None:
    """Say how many directions stand out, of which kind, and how surely."""
    told = [
        f"{KIND[kind]} {strength:.3g} (p {p:.1g})"
        for kind, strength, p in zip(subspace.kinds, subspace.strength, subspace.p, strict=True)
    ]
    LOGGER.info(
        "%d direction(s) of change stand out of the noise in %d particles%s",
        subspace.rank,
        count,
        "; signal over noise: " + ", ".join(told) if told else "; the latent has no numbers",
    )
    off = subspace.nuisances
    poses = f", poses are off by {off.shift:.2g} Å and {np.degrees(off.rotation):.2g} degrees along each axis"
    LOGGER.info("besides, contrast varies by %.1f %%%s", 100 * off.contrast, poses if off.posed else "")


def _searched(imaging: Imaging, sample: Batch, kind: str, rank: int, seed: int, mobile: np.ndarray) -> Search:
    """Search one kind on coarse patches."""
    layout = Layout.of(kind)
    patches = Patches.of(imaging.neutral.position, mobile, layout, seed)
    equations = particle_equations(imaging, sample, patches.together, layout, draws=DRAWS, seed=seed)
    found = find_directions(equations, kind, rank or MOST_MODES, forced=rank > 0)
    LOGGER.info(
        "%s: %d directions on coarse patches, log-likelihood higher by %.5g", KIND[kind], found.model.rank, found.gain
    )
    return Search(kind, found, equations, patches.together, patches)


def _strongest(imaging: Imaging, sample: Batch, searches: list[Search], rank: int, seed: int) -> Search:
    """Return the search that explains most, refined; the next one where nothing is left of it on fine patches."""
    falling = sorted(searches, key=lambda one: -one.found.gain)
    for search in falling:
        refined = _refined(imaging, sample, search, rank, seed)
        if refined.found.model.rank:
            return refined
    return falling[0] if not falling[0].found.model.rank else refined


def spreads_of(equations: Equations, model: LowRank, posed: bool = False) -> Nuisances:
    """Return the nuisances that the particles show, given what has been fitted to them; poses always if `posed`."""
    known, images = relearnt(equations, model), equations if equations.solved is None else equations.solved.images
    spreads = np.diag(model.known[: equations.nuisances]) if known is None else known.spread
    information = np.diagonal(images.hessian, axis1=1, axis2=2)[:, : len(spreads)].mean(axis=0)
    return noticeable(spreads, information, posed)


def _refined(imaging: Imaging, sample: Batch, search: Search, rank: int, seed: int) -> Search:
    """Fit the directions of a search on fine patches, look for more, and judge them; none stays none."""
    kind, coarse, patches = search.kind, search.found.model, search.patches
    if not coarse.rank:
        return search
    layout = Layout.of(kind)
    known = relearnt(search.equations, coarse)
    fine = particle_equations(imaging, sample, patches.fine, layout, known=known, draws=DRAWS, seed=seed)
    copied = patches.copied(layout, fine.nuisances)
    model = LowRank(copied @ coarse.known, copied @ coarse.modes, copied @ coarse.mean)
    found = find_directions(fine, kind, rank or MOST_MODES, model, forced=rank > 0)
    LOGGER.info(
        "%s: %d directions on fine patches, log-likelihood higher by %.5g", KIND[kind], found.model.rank, found.gain
    )
    return replace(search, found=found, equations=fine, patch=patches.fine)


def _searched_beside(imaging: Imaging, sample: Batch, first: Search, alone: Search, seed: int) -> Search:
    """Search one kind, searched alone before, in what the modes of the first leave, on coarse patches."""
    layout, patch = Layout.of(alone.kind), alone.patches.together
    modes, mean = first.modes, first.mean
    fields = Fields(
        np.concatenate([modes.displacement, mean.displacement], axis=2),
        np.concatenate([modes.amplitude, mean.amplitude], axis=1),
    )
    off = relearnt(first.equations, first.found.model)
    equations = particle_equations(imaging, sample, patch, layout, fields=fields, known=off, draws=DRAWS, seed=seed)
    count = equations.nuisances + equations.fields
    known, whole = np.zeros((equations.columns, count)), np.zeros(equations.columns)
    spreads = np.concatenate([np.diag(first.found.model.known[: equations.nuisances]), np.ones(equations.fields)])
    spreads[-1], whole[count - 1] = 0, 1  # the mean change is there whole in every particle
    whole[: equations.nuisances] = first.found.model.mean[: equations.nuisances]
    known[np.diag_indices(count)] = spreads
    model = LowRank(known, np.zeros((equations.columns, 0)), whole)
    return replace(
        alone, found=find_directions(equations, alone.kind, MOST_MODES, model), equations=equations, patch=patch
    )


def _joined(kept: list[Search], first: Search, posed: bool) -> Subspace:
    """Return the subspace of one kind of change, of both or of none."""
    letters = "".join(one.kind for one in kept)
    layout = Layout.of(letters or first.kind)
    parts = kept or [first]
    modes, means = [one.modes for one in parts], [one.mean for one in parts]
    displacement = np.concatenate([part.displacement for part in modes], axis=2)
    amplitude = np.concatenate([part.amplitude for part in modes], axis=1)[:, None]
    chosen = layout.chosen(position=[displacement], amplitude=[amplitude])
    moved = np.sum([part.displacement for part in means], axis=0)
    scaled = np.sum([part.amplitude for part in means], axis=0)[:, None]
    centre = layout.chosen(position=[moved], amplitude=[scaled])
    last = parts[-1]
    return Subspace(
        layout,
        np.concatenate(centre, axis=1)[:, :, 0],
        np.concatenate(chosen, axis=1),
        "".join(one.kind * one.found.model.rank for one in kept),
        np.concatenate([np.zeros(0), *(one.found.p for one in kept)]),
        np.concatenate([np.zeros(0), *(one.found.strength for one in kept)]),
        spreads_of(last.equations, last.found.model, posed),
    )
