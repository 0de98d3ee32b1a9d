"""The verdict on a region, row by row of its table."""

import dataclasses

import pytest

from libhetero.analysis.support import Evidence, verdict

GOOD = Evidence((0.9, 0.8), 0.95, 1 / 21, 20)


def test_a_region_that_all_speaks_for_is_supported():
    said = verdict(GOOD)
    assert said.word == "supported"
    assert said.reasons == (
        "found again in both of the half-sets (overlap 0.90 and 0.80)",
        "the half-sets' models agree on the particles (correlation 0.95)",
        "0 of 20 null sets show a change as large",
        "follows nothing of how particles were imaged",
    )


@pytest.mark.parametrize(
    ("changed", "word", "reason"),
    [
        ({"overlap": None}, "doubtful", "half-sets were not compared"),
        ({"overlap": (0.9, 0.4)}, "doubtful", "found again in one of the half-sets (overlap 0.90 and 0.40)"),
        ({"overlap": (0.1, 0.0)}, "not supported", "found again in neither of the half-sets (overlap 0.10 and 0.00)"),
        ({"coordinate": 0.3}, "doubtful", "the half-sets' models disagree on the particles (correlation 0.30)"),
        ({"false_positive": None, "nulls": 0}, "doubtful", "no null sets were searched"),
        (
            {"false_positive": 1 / 11, "nulls": 10},
            "doubtful",
            "0 of 10 null sets show a change as large, which are too few to tell 1 in 20",
        ),
        ({"false_positive": 4 / 21}, "doubtful", "3 of 20 null sets show a change as large"),
        ({"false_positive": 6 / 21}, "not supported", "5 of 20 null sets show a change as large"),
        ({"follows": ("defocus", 0.1)}, "doubtful", "follows the defocus (R² 0.10)"),
        ({"follows": ("micrograph", 0.6)}, "not supported", "follows the micrograph (R² 0.60)"),
        ({"p_value": 0.2}, "doubtful", "the segmentation gives it p = 0.2"),
        ({"p_value": 0.01}, "supported", "found again in both of the half-sets (overlap 0.90 and 0.80)"),
    ],
)
def test_what_speaks_against_it_is_said_first(changed, word, reason):
    said = verdict(dataclasses.replace(GOOD, **changed))
    assert (said.word, said.reasons[0]) == (word, reason)


def test_the_worst_of_several_counts():
    assert verdict(Evidence((0.1, 0.1), None, 1 / 21, 20, ("defocus", 0.1))).word == "not supported"
