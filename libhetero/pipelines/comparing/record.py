"""comparison.json: what runs have in common, pair by pair; and the rule by which they are said to agree."""

from __future__ import annotations

from dataclasses import dataclass

FILE = "comparison.json"
AGREE, PARTLY = 0.8, 0.4  # of an index or an R² that is 0 by chance and 1 at most


@dataclass(frozen=True)
class ClassAgreement:
    """Two sortings of the same particles.

    Parameters
    ----------
    particles : that are in a class of both.
    names : of the classes of either run, in the order of `table`.
    table : particles in each class of the first run (rows) and of the second; matched classes come first, in order.
    matched : pairs of classes of the best one-to-one matching.
    ari, ami : adjusted Rand index and adjusted mutual information, 0 by chance and 1 for the same classes.
    in_matched : part of the particles in matched classes; the more the larger the classes are, whatever they say.
    """

    particles: int
    names: tuple[tuple[int, ...], tuple[int, ...]]
    table: tuple[tuple[int, ...], ...]
    matched: tuple[tuple[int, int], ...]
    ari: float
    ami: float
    in_matched: float

    @property
    def tells(self) -> bool:
        """Whether it says something: one class and one class are the same whatever the runs have found."""
        return max(map(len, self.names)) > 1


@dataclass(frozen=True)
class LatentAgreement:
    """Two latents of the same particles, compared up to a linear map, and by neighbours.

    Parameters
    ----------
    particles : that were looked at.
    numbers : of the latent of either run.
    canonical : canonical correlations on particles held out, the best first.
    chance : correlation that the best one stays below by chance, 19 times of 20.
    beyond_chance : how many correlations are above it.
    predicted : R² of the second latent by the first, and of the first by the second, held out.
    neighbours, neighbours_chance : part of the ten nearest neighbours that are the same, and by chance.
    """

    particles: int
    numbers: tuple[int, int]
    canonical: tuple[float, ...]
    chance: float
    beyond_chance: int
    predicted: tuple[float, float]
    neighbours: float
    neighbours_chance: float


@dataclass(frozen=True)
class RegionAgreement:
    """Regions of two clouds of Gaussians, each Gaussian with the nearest of the other cloud.

    Parameters
    ----------
    gaussians : of either run.
    paired : part of the Gaussians of either run that have one of the other near by.
    distance : Å, median to the nearest one.
    regions : that change, in either run.
    ari : adjusted Rand index over these pairs, the core a group as well: mean over both directions.
    matched : region of the first run, region of the second that is matched to it, and their IoU.
    """

    gaussians: tuple[int, int]
    paired: tuple[float, float]
    distance: float
    regions: tuple[int, int]
    ari: float
    matched: tuple[tuple[int, int, float], ...]

    @property
    def tells(self) -> bool:
        """Whether it says something: two cores without regions are the same whatever the runs have found."""
        return max(self.regions) > 0


@dataclass(frozen=True)
class VolumeMatch:
    """Two volumes that were matched.

    Parameters
    ----------
    names : of the files.
    area : under their FSC at 48 voxels a side at most, of the most it can be.
    runner_up : the area of the volume of the second run that is most like it but for this one; None without others.
    resolution : Å, where it falls below 0.5; the last shell's where it never does.
    to_the_last_shell : whether it never does.
    """

    names: tuple[str, str]
    area: float
    runner_up: float | None
    resolution: float
    to_the_last_shell: bool


@dataclass(frozen=True)
class PairRecord:
    """Two runs.

    Parameters
    ----------
    runs : their folders.
    shared : particles that both have.
    classes, latents, regions, volumes : how far they agree; None where that was left out.
    left_out : why, and which command would mend it, a line each.
    verdict : in one line.
    """

    runs: tuple[str, str]
    shared: int
    classes: ClassAgreement | None
    latents: LatentAgreement | None
    regions: RegionAgreement | None
    volumes: tuple[VolumeMatch, ...]
    left_out: tuple[str, ...]
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """All pairs of some runs.

    Parameters
    ----------
    runs : folders, in the order named.
    families : of each.
    particles : of each.
    pairs : the first with the second, the first with the third, …
    volumes : of each, the folder of the volumes that were matched; "" for none.
    """

    runs: tuple[str, ...]
    families: tuple[str, ...]
    particles: tuple[int, ...]
    pairs: tuple[PairRecord, ...]
    volumes: tuple[str, ...] = ()


def verdict_of(
    runs: tuple[str, str],
    shared: int,
    classes: ClassAgreement | None,
    latents: LatentAgreement | None,
    regions: RegionAgreement | None,
    volumes: tuple[VolumeMatch, ...],
) -> str:
    """Return in a line whether two runs say the same.

    They agree where the adjusted Rand indices of classes and of regions, and the larger R² of one latent by the other,
    are all 0.8 or more; they do not where all are below 0.4 (or the latents share no more than chance); in part in
    between. Where both have one class, or no region, that is told and not judged. Neither are volumes: how well they
    should match depends on the noise.
    """
    judged: list[float] = []
    said = []
    if classes is not None and not classes.tells:
        said.append("classes: one in both")
    elif classes is not None:
        judged.append(classes.ari)
        said.append(f"classes: ARI {classes.ari:.2f}, {100 * classes.in_matched:.0f} % of particles in matched classes")
    if latents is not None:
        judged.append(max(latents.predicted) if latents.beyond_chance else 0.0)
        best = f", the best {latents.canonical[0]:.2f}" if latents.canonical else ""
        said.append(
            f"latents: {latents.beyond_chance} canonical correlation(s) beyond chance{best}, one predicts "
            f"{100 * max(max(latents.predicted), 0.0):.0f} % of the other"
        )
    if regions is not None and not regions.tells:
        said.append("regions: none in both")
    elif regions is not None:
        judged.append(regions.ari)
        said.append(f"regions: ARI {regions.ari:.2f}")
    if volumes:
        worst = max(one.resolution for one in volumes)
        said.append(f"{len(volumes)} volume(s) match to {worst:.3g} Å or better (FSC 0.5)")
    told = "; ".join(said) or "nothing was there to compare"
    return f"{runs[0]} and {runs[1]}, {shared} particles of both, {_word(judged)}: {told}."


def _word(judged: list[float]) -> str:
    if not judged:
        return "are not judged"
    if min(judged) >= AGREE:
        return "agree"
    return "do not agree" if max(judged) < PARTLY else "agree in part"
