"""Two runs beside each other, particle by particle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from libhetero.dashboard.columns import Columns
from libhetero.dashboard.compare import comparison, matched_rows
from libhetero.dashboard.runs import ServedRun
from libhetero.errors import UserError
from libhetero.io import read_particles, write_latent
from libhetero.pipelines.run.particle_record import write_record
from tests.making.sets import PIXEL
from tests.making.shown_runs import COUNT, add_embedding, add_segmentation, add_volumes, latents, write_shown_run
from tests.making.visitor import visited


@pytest.fixture
def pair(tmp_path):
    """Return two runs of one list that say the same, the second in coordinates of its own."""
    folders = [write_shown_run(tmp_path, f"gmm_0{number}") for number in range(2)]
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    write_latent(folders[1] / "mid_00.txt", np.arange(COUNT), latents() @ turn)
    for folder in folders:
        add_embedding(folder)
        add_segmentation(folder)
    return [ServedRun(number, folder, folder.name) for number, folder in enumerate(folders)]


def compared(pair):
    return comparison((Columns(pair[0]), Columns(pair[1])))


def test_runs_that_say_the_same_agree(pair) -> None:
    told = compared(pair)
    assert told["matched"] == COUNT and told["canonical"][0] > 0.99 and told["latents"]["predicted"][0] > 0.9
    assert told["classes"]["ari"] == 1.0 and told["embeddings"] == ["umap_classes_2"] * 2
    assert "agree" in told["verdict"] and told["loss"][0]["loss"] == [1 / step for step in range(1, 13)]
    assert told["loss"][1]["epoch"][-1] == 3.0


def test_volumes_of_classes_are_matched_by_what_they_show(pair) -> None:
    """The classes of the second run are numbered the other way round; the newest set of other classes is not taken."""
    add_volumes(pair[0].folder, (-3, 3))
    add_volumes(pair[1].folder, (3, -3))
    add_volumes(pair[1].folder, (3, 3), "others")
    record = pair[1].folder / "volumes" / "others" / "evaluation.json"
    record.write_text(json.dumps({"options": {"all_classes": 2}, "volumes": ["class_00.mrc", "class_01.mrc"]}))
    told = compared(pair)
    matches = told["volumes"]["matches"]
    assert told["volumes"]["sets"] == ["classes", "classes"]
    assert sorted(one["names"] for one in matches) == [
        ("class_00.mrc", "class_01.mrc"),
        ("class_01.mrc", "class_00.mrc"),
    ]
    for one in matches:
        assert one["area"] > 0.99 > one["runner_up"] and one["to_the_last_shell"]
        first, second = one["shown"]
        assert first["label"] == Path(one["names"][0]).stem and first["level"] == 0.5
        assert second["url"].startswith("/api/runs/1/file?path=volumes/classes/class_0")
    assert not any(line.startswith("volumes") for line in told["left_out"])


def test_volumes_that_cannot_be_matched_are_left_out_and_said(pair) -> None:
    add_volumes(pair[0].folder, (-3, 3))
    told = compared(pair)
    assert told["volumes"] is None and any(
        "gmm_01 has none of classes; e2hype_analyze.py" in one for one in told["left_out"]
    )
    add_volumes(pair[1].folder, (3, -3), apix=3 * PIXEL)
    assert any(one.startswith("volumes: ") and "expected one grid" in one for one in compared(pair)["left_out"])
    (pair[1].folder / "checkpoints" / "80").mkdir(parents=True)
    assert any("gmm_01 has those of an earlier step alone" in one for one in compared(pair)["left_out"])


def test_what_one_has_not_is_left_out_and_said(pair) -> None:
    (pair[1].folder / "mid_00.txt").unlink()
    for name in ("embeddings", "segmentations"):
        (pair[1].folder / name).rename(pair[1].folder / f"no_{name}")
    told = compared(pair)
    assert told["latents"] is None and told["classes"] is None and told["canonical"] == []
    assert any("gmm_01 has none; e2hype_embed.py" in line for line in told["left_out"])


def test_particles_are_matched_by_their_images(pair) -> None:
    """Of a run of a part of the list, in another order."""
    rows = np.arange(COUNT)[::-2]
    particles = read_particles(pair[1].folder.parent / "particles.star").take(rows)
    write_record(pair[1].folder, particles)
    found = matched_rows(*pair)
    np.testing.assert_array_equal(found[rows], np.arange(len(rows)))
    assert (found >= 0).sum() == len(rows)


def test_images_of_one_particle_are_counted_once(pair) -> None:
    particles = read_particles(pair[1].folder.parent / "particles.star")
    group = np.arange(COUNT) // 2
    write_record(pair[1].folder, dataclasses.replace(particles, group=group))
    told = compared(pair)
    assert told["matched"] == told["latents"]["particles"] == COUNT // 2
    assert f"{COUNT // 2} particles of both" in told["verdict"]
    assert (matched_rows(*pair) >= 0).all(), "rows are still those of images"


def test_runs_that_share_no_particle_are_refused(pair, tmp_path) -> None:
    other = ServedRun(1, write_shown_run(tmp_path / "other", "gmm_00"), "other")
    with pytest.raises(UserError, match="share no particle"):
        compared([pair[0], other])
    with pytest.raises(UserError, match="twice the same"):
        compared([pair[0], pair[0]])


def test_the_comparison_is_served_with_its_rows(pair) -> None:
    with visited([run.folder for run in pair]) as visitor:
        visitor.enter()
        told = visitor.get("/api/compare?runs=0,1").json
        np.testing.assert_array_equal(visitor.get(told["url"]).array, np.arange(COUNT))
        for runs in ("0", "0,1,2", "0,7", "a,b", "", "0,0"):
            assert visitor.get(f"/api/compare?runs={runs}").status in (400, 404)
