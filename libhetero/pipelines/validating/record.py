"""validation.json: what the tests of a run came to, and what follows for each region."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import read_document, to_dict, write_json

FOLDER, FILE = "validation", "validation.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class HalfSets:
    """How far the models of two half-sets agree.

    Parameters
    ----------
    particles : of each half-set.
    regions : that each half-set has.
    agreement : adjusted Rand index over Gaussians of the half-sets' regions, and of each with the run's; empty
        without Gaussians.
    canonical : correlations of the latents of both models, over all particles and held out.
    predicted : R² of the second half's latents by the first's, and the other way round.
    """

    particles: tuple[int, int]
    regions: tuple[int, ...]
    agreement: tuple[float, ...]
    canonical: tuple[float, ...]
    predicted: tuple[float, float]


@dataclass(frozen=True)
class NullSets:
    """What the search finds where nothing changes.

    Parameters
    ----------
    directions : found in each set.
    change : of the region that changes most in each set, in the unit of `feature`; 0 without regions.
    feature : what the change is of, as of the run's regions.
    """

    directions: tuple[int, ...]
    change: tuple[float, ...]
    feature: str

    @property
    def with_directions(self) -> int:
        """Return how many sets show a direction."""
        return sum(one > 0 for one in self.directions)

    def false_positive(self, change: float) -> float:
        """Return how often nothing gives a change as large, (k + 1) / (N + 1)."""
        return (1 + sum(one >= change for one in self.change)) / (1 + len(self.change))


@dataclass(frozen=True)
class Following:
    """How far one coordinate follows one property of the imaging.

    Parameters
    ----------
    coordinate : "latent 1", "region 2" …
    property : "defocus", "direction of view" …
    share : R².
    p_value : corrected for the number of tests.
    """

    coordinate: str
    property: str
    share: float
    p_value: float


@dataclass(frozen=True)
class ClassVolume:
    """How far the half-sets' models agree on a class of particles.

    Parameters
    ----------
    classes : the file that tells the particles of each class.
    label : of the class.
    particles : of it in each half-set.
    resolution : Å, where the FSC of the two volumes falls below 0.143.
    difference_resolution : the same of what the class has over the mean of all; None for the only class.
    difference : correlation of that in real space.
    """

    classes: str
    label: int
    particles: tuple[int, int]
    resolution: float
    difference_resolution: float | None
    difference: float | None


@dataclass(frozen=True)
class RegionFinding:
    """One region.

    Parameters
    ----------
    region : its number.
    gaussians : in it.
    change : median size of its Gaussians' change.
    overlap : IoU with the region matched to it in each half-set; None where these were not compared.
    coordinate : correlation of its coordinate between the half-sets' models.
    false_positive : how often nothing gives a change as large.
    follows : property of the imaging that it follows in a material way; "" for none.
    verdict : "supported", "doubtful" or "not supported".
    reasons : in words.
    """

    region: int
    gaussians: int
    change: float
    overlap: tuple[float, float] | None
    coordinate: float | None
    false_positive: float | None
    follows: str
    verdict: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Validation:
    """validation.json.

    Parameters
    ----------
    run : its folder.
    family : of its model.
    particles : in the run.
    regions : a finding each; empty where there are none.
    halves, nulls : None where they were not looked at.
    following : every coordinate and property.
    volumes : every class.
    format_version : of the file.
    """

    run: str
    family: str
    particles: int
    regions: tuple[RegionFinding, ...]
    halves: HalfSets | None
    nulls: NullSets | None
    following: tuple[Following, ...]
    volumes: tuple[ClassVolume, ...]
    format_version: int = FORMAT_VERSION

    def count(self, word: str) -> int:
        """Return how many regions have a verdict."""
        return sum(one.verdict == word for one in self.regions)


def write_validation(folder: Path, found: Validation) -> Path:
    """Write validation.json into RUN/validation and return its path."""
    path = Path(folder) / FILE
    write_json(path, to_dict(found))
    return path


def read_validation(run: str | Path) -> Validation:
    """Read what a run's last validation found.

    Raises
    ------
    ConfigurationError : if the run has not been validated, or the file is no such document.
    """
    return read_document(Path(run) / FOLDER / FILE, Validation)


def rounded(found: Validation) -> Validation:
    """Return the same with figures of four digits, as they are written."""
    return _rounded(found)


def _rounded(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _rounded(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    if isinstance(value, tuple):
        return tuple(_rounded(one) for one in value)
    return float(f"{value:.4g}") if isinstance(value, float) else value
