"""Columns of a run: what the files hold, by name, with their kinds."""

from __future__ import annotations

import numpy as np
import pytest

from libhetero.dashboard import tables
from libhetero.dashboard.columns import Columns, density_of, embeddings_of, principal_components, view_angles
from libhetero.dashboard.refusals import Refusal
from libhetero.dashboard.runs import ServedRun
from libhetero.io import read_particles, write_latent
from libhetero.physics.rotations import random_rotations
from tests.making.shown_runs import COUNT, latents


@pytest.fixture
def columns(run):
    return Columns(ServedRun(0, run, "gmm_00"))


def test_every_column_is_described_and_has_a_value_for_each_particle(columns) -> None:
    columns.run.particles()
    found = columns.all()
    for name, column in found.items():
        values = column.values()
        assert values.shape == (COUNT,), name
        assert values.dtype == {"number": np.float32, "category": np.int32, "flag": np.uint8}[column.kind], name
        told = column.described()
        assert told["name"] == name and told["label"]
        if column.ready and column.kind == "number":
            assert told["minimum"] == pytest.approx(float(values.min())), name
    assert {"z1", "pca1", "density", "junk", "defocus", "azimuth", "list/rlnAnglePsi"} < found.keys()
    assert {"umap_classes_2/x", "umap_classes_2/class", "motion/region_01_1", "motion/region_01_class"} < found.keys()
    assert (
        found["motion/region_02"].label == "region 2, displacement (motion)" and found["motion/region_02"].unit == "Å"
    )


def test_values_are_those_of_the_files(columns) -> None:
    np.testing.assert_allclose(columns.values("z2"), latents()[:, 1], rtol=1e-6)
    label = np.arange(COUNT) % 2
    label[-1] = -1
    np.testing.assert_array_equal(columns.values("umap_classes_2/class"), label)
    np.testing.assert_array_equal(columns.values("junk") > 0.5, np.arange(COUNT) % 10 == 9)
    particles = read_particles(columns.run.folder.parent / "particles.star")
    defocus = (np.asarray(particles.ctf.defocus_u) + np.asarray(particles.ctf.defocus_v)) / 2e4
    np.testing.assert_allclose(columns.values("defocus"), defocus, rtol=1e-5)


def test_the_lists_own_columns_come_once_it_is_read(columns) -> None:
    assert not any(name.startswith("list/") for name in columns.all())
    columns.run.particles()
    np.testing.assert_allclose(columns.values("list/image"), np.arange(COUNT))
    names = columns.column("list/stack").categories()
    assert len(names) == 1 and names[0].endswith("particles.mrcs") and (columns.values("list/stack") == 0).all()


def test_a_file_that_is_written_anew_is_read_anew(columns, run) -> None:
    before = columns.values("z1")
    write_latent(run / "mid_00.txt", np.arange(COUNT), -latents())
    np.testing.assert_allclose(columns.values("z1"), -before, rtol=1e-6)
    assert columns.column("z1").described()["maximum"] == pytest.approx(float(-before.min()), rel=1e-6)


def test_particles_that_a_table_leaves_out_have_no_value(columns, run) -> None:
    write_latent(run / "mid_00.txt", np.arange(5), latents()[:5])
    assert np.isfinite(columns.values("z1")[:5]).all() and np.isnan(columns.values("z1")[5:]).all()
    assert np.isnan(columns.values("density")[5:]).sum() == 0  # the mean stands for what is missing


def test_the_latest_embedding_is_shown_where_no_call_has_kept_it(columns, run) -> None:
    assert [name for name, _ in embeddings_of(columns.run)] == ["umap_classes_2"]
    write_latent(run / "embed_particles.txt", np.arange(COUNT), latents()[:, 1:])
    assert [name for name, _ in embeddings_of(columns.run)] == ["latest", "umap_classes_2"]
    np.testing.assert_allclose(columns.values("latest/x"), latents()[:, 1], rtol=1e-6)
    kept = run / "embeddings" / "umap_classes_2" / "embed_particles.txt"
    (run / "embed_particles.txt").unlink()
    (run / "embed_particles.txt").hardlink_to(kept)
    assert [name for name, _ in embeddings_of(columns.run)] == ["umap_classes_2"]


def test_a_name_of_none_is_refused(columns) -> None:
    with pytest.raises(Refusal, match="has no column 'z9'") as refused:
        columns.values("z9")
    assert refused.value.status == 404


def test_a_million_letters_are_no_column(visitor) -> None:
    assert visitor.get(f"/api/runs/0/column?name={'z' * 10_000}").status == 404


def test_columns_travel_as_numbers(visitor) -> None:
    said = visitor.get("/api/runs/0/column?name=z1")
    assert said.headers["x-dtype"] == "float32" and int(said.headers["x-count"]) == COUNT
    np.testing.assert_allclose(said.array, latents()[:, 0], rtol=1e-6)
    assert float(said.headers["x-maximum"]) == pytest.approx(float(said.array.max()), rel=1e-6)
    assert visitor.get("/api/runs/0/column?name=umap_classes_2/class").array.dtype == np.int32
    listed = {column["name"]: column for column in visitor.get("/api/runs/0/columns?list=1").json}
    assert listed["list/rlnDefocusU"]["minimum"] is None and listed["z1"]["maximum"] is not None
    assert visitor.get("/api/runs/0/categories?name=list/stack").json


def test_principal_components_are_those_of_the_covariance() -> None:
    points = np.random.default_rng(0).normal(size=(500, 3)) * [3.0, 1.0, 0.1] + 5
    found, share = principal_components(points)
    np.testing.assert_allclose(np.cov(found.T), np.diag(np.var(found, axis=0, ddof=1)), atol=1e-2)
    np.testing.assert_allclose(share.sum(), 1.0)
    assert abs(np.corrcoef(found[:, 0], points[:, 0])[0, 1]) > 0.99 and share[0] > share[1] > share[2]


def test_nothing_is_written_for_what_is_only_looked_at(run, monkeypatch) -> None:
    monkeypatch.setattr(tables, "LARGE", 10)
    for keep in (False, True):
        columns = Columns(ServedRun(0, run, "gmm_00"), keep=keep)
        for name in ("pca1", "density", "umap_classes_2/density"):
            assert columns.values(name).shape == (COUNT,)
        assert (run / "dashboard").exists() == keep


def test_density_is_highest_in_the_crowd() -> None:
    random = np.random.default_rng(0)
    crowd, alone = random.normal(size=(1000, 2)) * 0.1, np.array([[5.0, 5.0]])
    found = density_of(np.concatenate([crowd, alone]).astype(np.float32))
    assert found.max() <= 1 and found[-1] < 0.1 * np.median(found[:-1])


def test_views_point_where_the_rotation_says() -> None:
    import jax

    rotation = np.asarray(random_rotations(jax.random.key(0), (20,)))
    azimuth, altitude = np.radians(view_angles(rotation))
    beam = np.einsum("nji,j->ni", rotation, [0.0, 0.0, 1.0])
    direction = [np.cos(altitude) * np.cos(azimuth), np.cos(altitude) * np.sin(azimuth), np.sin(altitude)]
    np.testing.assert_allclose(np.stack(direction, axis=1), beam, atol=1e-4)
