"""Regions of toy runs are found, written, and sort the particles by what each piece does."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from libhetero.errors import ConfigurationError
from libhetero.io import read_gaussian_groups, read_gaussians, read_volume
from libhetero.pipelines import segment
from libhetero.pipelines.segment import SegmentConfig
from tests.pipelines.toy_run import BOX, PIXEL, field_run, gaussian_run


@pytest.mark.parametrize("motion", [False, True])
def test_regions_and_classes_are_those_of_the_truth(tmp_path, monkeypatch, motion):
    run, piece, states = gaussian_run(tmp_path, motion=motion)
    monkeypatch.setattr(segment, "open_run", lambda folder: run)
    result = segment.run(SegmentConfig(str(tmp_path)))
    assert result.feature == ("motion" if motion else "amplitude")
    assert adjusted_rand_score(piece, result.regions.label) == 1.0
    for item in result.classes:
        region_piece = piece[result.regions.members(item.region)][0]
        truth = states[:, region_piece - 1]
        assert adjusted_rand_score(truth, item.label) == 1.0
        if not motion:
            np.testing.assert_array_equal(item.label, truth)
    assert all(path.exists() for path in result.files)


def test_files_hold_what_their_readers_expect(tmp_path, monkeypatch):
    run, piece, _ = gaussian_run(tmp_path)
    monkeypatch.setattr(segment, "open_run", lambda folder: run)
    written = {}
    monkeypatch.setattr(
        "libhetero.pipelines.region_particles.write_particles",
        lambda path, particles: written.update({path.name: particles.image_index}),
    )
    result = segment.run(SegmentConfig(str(tmp_path), classes=3))
    label = result.regions.label
    np.testing.assert_array_equal(read_gaussian_groups(tmp_path / "regions.txt"), label)
    mixture = read_gaussians(tmp_path / "regions.txt", BOX, PIXEL)
    np.testing.assert_allclose(mixture.position, run.model.neutral.position, atol=1e-3)

    chains = [line[21] for line in (tmp_path / "regions.pdb").read_text().splitlines()[:-1]]
    assert chains == ["ABCD"[region] for region in label]

    masks = sorted(path.name for path in (tmp_path / "masks").iterdir())
    assert masks == [f"region_{region:02d}.mrc" for region in range(4)]
    for region in range(4):
        mask, pixel_size = read_volume(tmp_path / "masks" / f"region_{region:02d}.mrc")
        voxel = np.round(mixture.position[label == region] / pixel_size).astype(int) + BOX // 2
        inside = (voxel >= 0).all(axis=1) & (voxel < BOX).all(axis=1)
        x, y, z = voxel[inside].T
        assert mask[z, y, x].min() > 0.9 and mask.min() == 0.0

    classes = np.loadtxt(tmp_path / "classes_region_01.txt", dtype=int)
    assert classes.shape == (300, 2) and set(classes[:, 1]) == {0, 1, 2}
    for suffix in ("lst", "star"):
        expected = np.flatnonzero(classes[:, 1] == 2)
        np.testing.assert_array_equal(written[f"region_01_class_02.{suffix}"], expected)
    script = (tmp_path / "regions.cxc").read_text()
    assert "open regions.pdb" in script and "open masks/region_03.mrc" in script


def test_a_second_segmentation_leaves_nothing_of_the_first(tmp_path, monkeypatch):
    run, *_ = gaussian_run(tmp_path)
    monkeypatch.setattr(segment, "open_run", lambda folder: run)
    (tmp_path / "masks").mkdir()
    for stale in ("classes_region_04.txt", "region_01_class_07.lst", "masks/region_04.mrc"):
        (tmp_path / stale).touch()
    segment.run(SegmentConfig(str(tmp_path), constant=100.0))
    left = sorted(path.name for path in tmp_path.glob("*class*"))
    assert left == []
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["region_00.mrc"]


def test_hdbscan_for_both(tmp_path, monkeypatch):
    run, piece, _ = gaussian_run(tmp_path)
    monkeypatch.setattr(segment, "open_run", lambda folder: run)
    config = SegmentConfig(str(tmp_path), method="hdbscan", class_method="hdbscan", feature="both")
    result = segment.run(config)
    assert adjusted_rand_score(piece, result.regions.label) == 1.0
    assert not (tmp_path / "regions_eps.png").exists()


def test_a_run_without_gaussians_says_so(tmp_path, monkeypatch):
    run = field_run(tmp_path)
    monkeypatch.setattr(segment, "open_run", lambda folder: run)
    with pytest.raises(ConfigurationError, match="has no Gaussians"):
        segment.run(SegmentConfig(str(tmp_path)))


@pytest.mark.parametrize(
    "wrong", [{"eps": -1.0}, {"class_method": "som"}, {"classes": 0}, {"components": 1}]
)
def test_configuration_is_checked(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        SegmentConfig("hype_00", **wrong)


def test_program(tmp_path, monkeypatch, load_program, capsys):
    run, *_ = gaussian_run(tmp_path)
    monkeypatch.setattr(segment, "open_run", lambda folder: run)
    monkeypatch.chdir(tmp_path)
    program = load_program("e2hype_segment.py")
    assert program.main([str(tmp_path), "--feature", "amplitude", "--classes", "2"]) == 0
    said = capsys.readouterr().out
    assert "eps" in said and "silhouette" in said and "3 region(s)" in said
    assert program.main([str(tmp_path), "--auto", "--eps", "1"]) == 2
