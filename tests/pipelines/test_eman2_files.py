"""What runs, segmentations and embeddings leave for EMAN2 is as EMAN2 takes it."""

import numpy as np
import pytest

from libhetero.analysis.configuration import RegionConfig
from libhetero.io import MrcsWriter
from libhetero.pipelines import embed, segment
from libhetero.pipelines.decoding.latents import particle_latents
from libhetero.pipelines.embed import EmbedConfig
from libhetero.pipelines.segment import SegmentConfig
from tests.making.runs import gaussian_run
from tests.reference.eman2_files import check_folder, read_gaussians, read_latents, read_list

COUNT = 120


@pytest.mark.parametrize("motion", [False, True])
def test_files_of_a_run_of_gaussians(tmp_path, monkeypatch, motion):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hype_00").mkdir()
    run, *_ = gaussian_run(tmp_path / "hype_00", count=COUNT, motion=motion)
    box = int(run.particles.box_size[0])
    with MrcsWriter("imaginary.mrcs", box, COUNT, 2.0) as writer:
        writer.write(np.zeros((COUNT, box, box), np.float32))
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    grouping = RegionConfig(embedding="pca")  # without the compiler that UMAP waits for
    result = segment.run(SegmentConfig(str(run.folder), classes=2, regions=grouping))
    embed.run(EmbedConfig(str(run.folder), method="pca", classes=2, lists=True))
    (run.folder / "mid_00.txt").unlink()
    latent = particle_latents(run, 16)

    found = check_folder(run.folder)
    lists = {
        f"region_{region:02d}_class_{number:02d}.lst"
        for region in range(1, result.regions.count + 1)
        for number in (0, 1)
    }
    assert result.regions.count > 1
    assert found >= lists | {"class_00.lst", "class_01.lst", "ptcls_00.lst", "ptcls_junk.lst"}
    assert found >= {"mid_00.txt", "mid_00_sd.txt", "embed_particles.txt", "regions.txt"}
    assert found >= {"region_01.hdf", "region_01_class_00.txt"}
    assert {stack for _, stack, _ in read_list(run.folder / "ptcls_00.lst")} == {"imaginary.mrcs"}
    index, read = read_latents(run.folder / "mid_00.txt")
    np.testing.assert_array_equal(index, np.arange(COUNT))
    np.testing.assert_allclose(read, latent, rtol=1e-6)
    np.testing.assert_array_equal(read_gaussians(run.folder / "regions.txt")[:, 5], result.regions.label)
    junk = [number for number, *_ in read_list(run.folder / "ptcls_junk.lst")]
    assert junk == list(range(9, COUNT, 10))
