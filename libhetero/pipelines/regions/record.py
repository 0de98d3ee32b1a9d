"""`regions.json`: the regions of a run with what speaks for each, for programs and for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from libhetero.configuration import read_document, write_json
from libhetero.errors import DataError

RECORD = "regions.json"


@dataclass(frozen=True)
class KindRecord:
    """What speaks for one kind of change of a region; see `libhetero.analysis.region_evidence.Evidence`.

    Parameters
    ----------
    unit : "relative amplitude" or "Å", of `change`, `null` and `halves`.
    change : standard deviation over the particles.
    null : change that nothing reaches at the p-value asked for.
    p_value : of as much in nothing.
    halves : change in each half-set.
    agreement : of the half-sets, 0 to 1.
    """

    unit: str
    change: float
    null: float
    p_value: float
    halves: tuple[float, float]
    agreement: float


@dataclass(frozen=True)
class RegionRecord:
    """One region.

    Parameters
    ----------
    region : its number, from 1; of one that is not reported, its number before.
    gaussians : how many it has.
    mass : its share of the molecule, 0 to 1.
    kind : "amplitude", "motion" or "both".
    amplitude, motion : what speaks for each kind.
    p_value, agreement : of the kind that most speaks for.
    classes : particles of each class; empty for a continuum.
    continuous : whether its particles are not told apart, and have coordinates alone.
    """

    region: int
    gaussians: int
    mass: float
    kind: str
    amplitude: KindRecord
    motion: KindRecord
    p_value: float
    agreement: float
    classes: tuple[int, ...] = ()
    continuous: bool = False


@dataclass(frozen=True)
class RegionsRecord:
    """All regions of a run.

    Parameters
    ----------
    count : regions reported.
    feature : kinds of change that were looked for.
    gaussians, particles : of the run.
    tested : particles that the evidence is of.
    p_value : largest of a region that is reported.
    regions : those reported, in order.
    dropped : those without evidence.
    """

    count: int
    feature: str
    gaussians: int
    particles: int
    tested: int = 0
    p_value: float = 0.01
    regions: tuple[RegionRecord, ...] = ()
    dropped: tuple[RegionRecord, ...] = ()

    def __post_init__(self) -> None:
        if self.count != len(self.regions):
            raise DataError(f"count is {self.count} for {len(self.regions)} regions; expected as many")


def write_record(folder: Path, record: RegionsRecord) -> Path:
    """Write regions.json into a run folder."""
    write_json(folder / RECORD, asdict(record))
    return folder / RECORD


def read_record(folder: Path) -> RegionsRecord | None:
    """Read regions.json of a run folder; None where there is none.

    Raises
    ------
    ConfigurationError : if it is no such document.
    """
    path = Path(folder) / RECORD
    return read_document(path, RegionsRecord) if path.exists() else None
