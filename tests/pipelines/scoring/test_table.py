"""Scores as JSON and as lines."""

from libhetero.pipelines.scoring.table import finite, table

BEGUN = {"run": "hype_00", "family": "gmm", "truth": "truth", "kind": "assembly", "particles": 1000}
ROW = {"ari": 0.5, "ami": 0.5, "nmi": 0.5, "accuracy": 0.75, "in_class": 1.0}


def test_what_json_cannot_hold_is_null() -> None:
    assert finite({"a": [float("nan"), 1.0], "b": float("inf")}) == {"a": [None, 1.0], "b": None}


def test_the_main_numbers_come_first() -> None:
    """Each once, before any definition: of classes the best table, and none of a single region."""
    amplitude = {"all": 0.912, "optional": 0.875, "always_present": 0.8}
    gaussians = {
        "gaussians": 64,
        "particles": 100,
        "mean_distance_to_atom": 1.5,
        "amplitude": {"neutral": dict.fromkeys(amplitude, 0.1), "percentile": amplitude},
        "regions": {"ari": 0.7, "recovered": 2, "pieces": 3, "extra": 0, "core": 0},
    }
    labels = {
        "kmeans": {"classes": 3, **ROW},
        "classes_particles.txt": {"classes": 3, **ROW, "ari": 0.625},
        "classes_region_01.txt": {"classes": 2, "piece": 1, **ROW, "ari": 1.0},
    }
    poses = {name: {"rotation": turn, "shift": 0.5, "z": 1.0} for name, turn in (("given", 3.0), ("refined", 1.5))}
    lines = table({**BEGUN, "labels": labels, "gaussians": gaussians, "poses": poses})
    assert lines[1:3] == ["", "In short (definitions below)"]
    assert [" ".join(line.split()) for line in lines[3 : lines.index("", 2)]] == [
        "particles in their true classes ARI 0.625 (classes_particles.txt)",
        "pieces recovered as regions 2 of 3",
        "accuracy of Gaussians' amplitudes 0.912 (0.875 in the optional pieces)",
        "error of poses, median (degrees) 1.500 (3.000 as given)",
    ]


def test_where_there_is_nothing_to_score_there_is_no_summary() -> None:
    assert len(table(BEGUN)) == 2
