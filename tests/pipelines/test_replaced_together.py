"""What a program writes of one result takes its place together: a program that ends early leaves the one before."""

import os
from pathlib import Path

import numpy as np
import pytest

from libhetero.io import write_volume
from libhetero.pipelines import embed, evaluate, segment
from libhetero.pipelines.decoding.class_files import write_classes
from programs.e2hype_guess_n import main as guess
from programs.e2hype_make3d import main as make3d
from tests.making.runs import gaussian_run
from tests.making.sets import write_tiny_set


class KilledError(BaseException):
    """No error that a program handles."""


def killed(*arguments, **others):
    raise KilledError


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


PROGRAMS = {
    "embed": (
        lambda folder, k: embed.run(embed.EmbedConfig(folder, method="pca", classes=k, lists=True)),
        "libhetero.pipelines.embedding.files.draw_particles",
        {"embed_particles.txt", "classes_particles.txt", "class_00.lst", "embed_particles.png"},
    ),
    "embed of Gaussians": (
        lambda folder, k: embed.run(embed.EmbedConfig(folder, gaussians=True, seed=k)),
        "libhetero.pipelines.embedding.files.draw_gaussians",
        {"embed_gaussians.txt", "embed_gaussians.png"},
    ),
    "segment": (
        lambda folder, k: segment.run(segment.SegmentConfig(folder, classes=k)),
        "libhetero.pipelines.regions.page.Page.html",
        {
            "regions.txt",
            "masks/region_01.mrc",
            "region_01_class_00.lst",
            "volumes/region_01_class_00.txt",
            "index.html",
        },
    ),
    "eval": (
        lambda folder, k: evaluate.run(evaluate.EvaluateConfig(folder, all_classes=k, name="mine")),
        "libhetero.pipelines.decoding.volume_files.draw_maps",
        {
            f"volumes/mine/{name}"
            for name in ("class_00.mrc", "class_00.txt", "volumes.txt", "volumes.png", "volumes.cxc")
        },
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_of_a_run(tmp_path, monkeypatch, name) -> None:
    call, last, names = PROGRAMS[name]
    run, *_ = gaussian_run(tmp_path, count=80)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    call(str(tmp_path), 3)
    before = contents(tmp_path)
    assert names <= before.keys()
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(last, killed)
        call(str(tmp_path), 2)
    assert contents(tmp_path) == before
    call(str(tmp_path), 2)
    after = contents(tmp_path)
    assert after != before
    kept = ("embeddings/", "segmentations/")
    assert not [path for path in after if "class_02" in path and not path.startswith(kept)]
    assert {path: after[path] for path in before if path.startswith(kept)} == {
        path: data for path, data in before.items() if path.startswith(kept)
    }, "what an earlier call has found is kept"


def test_fitted_gaussians(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    z, y, x = np.indices((16, 16, 16)) - 8
    write_volume("map.mrc", np.exp(-(x**2 + y**2 + z**2) / 8.0).astype(np.float32), 3.0)
    command = ["map.mrc", "gmm.txt", "--niter", "2", "--ngauss"]
    assert guess([*command, "3"]) == 0
    before = contents(tmp_path)
    assert {"gmm.txt", "gmm.pdb", "gmm_fsc.txt", "gmm_fsc.png"} <= before.keys()
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr("libhetero.pipelines.guessing.files.draw_fsc", killed)
        guess([*command, "4"])
    after = contents(tmp_path)
    assert {name: after[name] for name in before if name.startswith("gmm")} == {
        name: data for name, data in before.items() if name.startswith("gmm")
    }


def test_maps_of_classes_and_their_half_maps(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_set(tmp_path, 12)
    for name, count in (("three.txt", 3), ("two.txt", 2)):
        write_classes(Path(name), np.arange(12), np.arange(12) % count)
    command = ["particles.star", "maps", "--noinvert", "--classes"]
    assert make3d([*command, "three.txt"]) == 0
    before = contents(tmp_path / "maps")
    assert {"class_02.mrc", "class_02_half1.mrc", "resolution.txt", "fsc.png"} <= before.keys()
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr("libhetero.pipelines.maps.classes.draw_class_fsc", killed)
        make3d([*command, "two.txt"])
    assert contents(tmp_path / "maps") == before
    assert make3d([*command, "two.txt"]) == 0
    assert not list((tmp_path / "maps").glob("class_02*")) and os.listdir("maps")
