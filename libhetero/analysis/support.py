"""What speaks for a region, in one word: supported, doubtful or not supported.

| evidence | for it | in doubt | against it |
|---|---|---|---|
| region of the same Gaussians in a half-set | in both, IoU ≥ 0.5 | in one of them | in neither |
| its coordinate, both halves' models on all particles | correlation ≥ 0.5 | less | |
| null sets with a change as large | at most 1 in 20 | at most 1 in 5 | more |
| follows how particles were imaged | R² ≤ 0.05 or p ≥ 0.01 | more | R² ≥ 0.5 |
| p-value of the segmentation | ≤ 0.05 | more | |

One entry against a region is enough to drop it, one in doubt to doubt it, and a test that was not made is a doubt.
"""

from __future__ import annotations

from dataclasses import dataclass

SUPPORTED, DOUBTFUL, NOT_SUPPORTED = "supported", "doubtful", "not supported"
REPRODUCED = 0.5  # |A ∩ B| / |A ∪ B| of a region and that of a half-set
SAME_COORDINATE = 0.5
RARE, OFTEN = 0.05, 0.2
MOSTLY = 0.5  # R² by something of the imaging


@dataclass(frozen=True)
class Evidence:
    """What is known of a region; None for what was not tested.

    Parameters
    ----------
    overlap : IoU with the region of each half-set that is matched to it.
    coordinate : correlation of its coordinate as the models of the two half-sets give it, over all particles.
    false_positive : how often nothing gives a change as large, (k + 1) / (N + 1).
    nulls : N.
    follows : what of the imaging its coordinate follows in a material way, and R²; None for nothing.
    p_value : of the segmentation.
    """

    overlap: tuple[float, float] | None = None
    coordinate: float | None = None
    false_positive: float | None = None
    nulls: int = 0
    follows: tuple[str, float] | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Verdict:
    """A word, and why.

    Parameters
    ----------
    word : "supported", "doubtful" or "not supported".
    reasons : sentences; what speaks against the region first.
    """

    word: str
    reasons: tuple[str, ...]


def verdict(evidence: Evidence) -> Verdict:
    """Return what the evidence comes to, by the module's table."""
    said = [*_halves(evidence), *_nulls(evidence), *_imaging(evidence)]
    order = (NOT_SUPPORTED, DOUBTFUL, SUPPORTED)
    word = min((each for each, _ in said), key=order.index)
    return Verdict(word, tuple(text for one in order for each, text in said if each == one))


def _halves(evidence: Evidence) -> list[tuple[str, str]]:
    if evidence.overlap is None:
        return [(DOUBTFUL, "half-sets were not compared")]
    found = sum(one >= REPRODUCED for one in evidence.overlap)
    shown = " and ".join(f"{one:.2f}" for one in evidence.overlap)
    word = (NOT_SUPPORTED, DOUBTFUL, SUPPORTED)[found]
    said = [(word, f"found again in {('neither', 'one', 'both')[found]} of the half-sets (overlap {shown})")]
    if evidence.coordinate is not None and found:
        same = evidence.coordinate >= SAME_COORDINATE
        text = f"the half-sets' models {'agree' if same else 'disagree'} on the particles"
        said.append((SUPPORTED if same else DOUBTFUL, f"{text} (correlation {evidence.coordinate:.2f})"))
    return said


def _nulls(evidence: Evidence) -> list[tuple[str, str]]:
    said = []
    if evidence.p_value is not None and evidence.p_value > RARE:
        said.append((DOUBTFUL, f"the segmentation gives it p = {evidence.p_value:.2g}"))
    rate, nulls = evidence.false_positive, evidence.nulls
    if rate is None:
        return [*said, (DOUBTFUL, "no null sets were searched")]
    as_large = round(rate * (nulls + 1)) - 1
    text = f"{as_large} of {nulls} null sets show a change as large"
    if rate <= RARE:
        return [*said, (SUPPORTED, text)]
    if as_large == 0:
        return [*said, (DOUBTFUL, f"{text}, which are too few to tell 1 in 20")]
    return [*said, (DOUBTFUL if rate <= OFTEN else NOT_SUPPORTED, text)]


def _imaging(evidence: Evidence) -> list[tuple[str, str]]:
    if evidence.follows is None:
        return [(SUPPORTED, "follows nothing of how particles were imaged")]
    name, share = evidence.follows
    return [(NOT_SUPPORTED if share >= MOSTLY else DOUBTFUL, f"follows the {name} (R² {share:.2f})")]
