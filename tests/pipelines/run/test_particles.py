"""Tilt series as options ask for them, wherever a program reads a list."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import read_particles, write_particles
from libhetero.io.tilt_series import known_exposure, particle_names
from libhetero.pipelines.decoding.class_files import write_lists_of_classes
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.list_digest import list_digest
from libhetero.pipelines.run.particle_record import particles_of_run, write_record
from libhetero.pipelines.run.particles import listed_particles, load_particles
from tests.making.particles import make_particles
from tests.making.tilt_series import DOSE, relion_star, warp_star, write_star


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_list_of_tilt_series_is_told_in_a_line(folder, caplog) -> None:
    caplog.set_level(logging.INFO)
    particles = load_particles(DataConfig(str(relion_star(folder))))
    np.testing.assert_array_equal(particles.group, [0, 0, 0, 0, 1, 1, 1, 2])
    assert (
        "list.star: 8 images of 3 particles (tilt series), tilts -3 to 6 degrees, exposure 1.5 to 10.5 e-/Å²"
        in caplog.text
    )


def test_images_apart_and_series_of_one_image_are_single_particles(folder, caplog) -> None:
    caplog.set_level(logging.INFO)
    path = str(relion_star(folder))
    assert load_particles(DataConfig(path, tilts="apart")).group is None
    least = load_particles(DataConfig(path, least_exposed=1))
    assert least.group is None and least.image_index.tolist() == [0, 4, 7]
    assert "tilt series" not in caplog.text


def test_images_by_exposure_and_tilt(folder) -> None:
    path = str(warp_star(folder))
    assert load_particles(DataConfig(path, least_exposed=2)).image_index.tolist() == [0, 1, 4, 5, 7]
    assert load_particles(DataConfig(path, most_tilted=3)).image_index.tolist() == [0, 1, 2, 4, 5, 6, 7]
    both = load_particles(DataConfig(path, most_tilted=2, least_exposed=2))
    assert both.image_index.tolist() == [0, 4, 7]


def test_exposures_count_over_all_images_of_a_particle(folder) -> None:
    """Those that --ntilts leaves out have been taken all the same."""
    path = str(warp_star(folder))
    particles = load_particles(DataConfig(path, dose=2.0, most_tilted=0))
    assert np.allclose(particles.ctf.exposure, 1) and len(particles) == 3
    curve = load_particles(DataConfig(path, dose_weighting="curve", least_exposed=2))
    np.testing.assert_allclose(curve.ctf.exposure, DOSE * np.array([1, 2, 1, 2, 1]))


@pytest.mark.parametrize(
    "asked", [{"dose": 2.0}, {"dose_weighting": "none"}, {"dose_weighting": "curve"}, {"least_exposed": 3}]
)
def test_what_is_of_tilt_series_is_refused_of_single_particles(folder, asked) -> None:
    rows = read_particles(relion_star(folder))
    write_particles("single.lst", load_particles(DataConfig(rows.source.data.path, tilts="apart")))
    with pytest.raises(DataError, match=r"single\.lst: holds no tilt series .* Leave the options of tilt series out"):
        load_particles(DataConfig("single.lst", **asked))


def test_single_particles_are_as_they_were(folder) -> None:
    write_particles("single.lst", read_particles(relion_star(folder)))
    text = Path("single.lst").read_text().replace('"ptcl3d_id"', '"mine3d_id"')
    Path("single.lst").write_text(text)
    assert load_particles(DataConfig("single.lst")).group is None


@pytest.mark.parametrize("write", [warp_star, relion_star])
@pytest.mark.parametrize("asked", [{"dose_weighting": "none"}, {"least_exposed": 2}, {"most_tilted": 3.0}])
def test_lists_state_doses_as_the_source_does(folder, write, asked) -> None:
    """What a run made of them is the run's: the next program reads the same list in the same way."""
    path = str(write(folder))
    data, whole = DataConfig(path, **asked), read_particles(path)
    particles = load_particles(data)
    for ending in (".star", ".lst"):
        write_particles(f"again{ending}", listed_particles(particles, data))
        again = read_particles(f"again{ending}")
        rows = again.image_index
        np.testing.assert_array_equal(again.group, np.unique(whole.group[rows], return_inverse=True)[1])
        np.testing.assert_allclose(known_exposure(again), known_exposure(whole)[rows], rtol=1e-6)
        np.testing.assert_allclose(again.ctf.b_factor, whole.ctf.b_factor[rows], rtol=1e-6)
        np.testing.assert_array_equal(again.ctf.exposure is None, whole.ctf.exposure is None)


def test_doses_that_were_given_are_no_part_of_lists(folder) -> None:
    data = DataConfig(str(warp_star(folder)), dose=5.0)
    write_particles("again.star", listed_particles(load_particles(data), data))
    stated = read_particles("again.star").ctf
    assert stated.exposure is None
    np.testing.assert_allclose(stated.b_factor[:4], 4 * DOSE * np.arange(1, 5))


@pytest.mark.parametrize("asked", [{"tilts": "apart"}, {"least_exposed": 1}, {"tilts": "apart", "no_ctf": True}])
def test_lists_of_images_apart_keep_their_series(folder, asked) -> None:
    """Names, tilts and exposures of images that a run took for particles of their own, as of every CryoHype run."""
    data = DataConfig(str(relion_star(folder)), **asked)
    particles, whole = load_particles(data), read_particles(data.particles)
    assert particles.group is None
    listed = listed_particles(particles, data)
    write_lists_of_classes(folder, listed, np.zeros(len(listed), int), "class")
    for ending in (".star", ".lst"):
        again = read_particles(f"class_00{ending}")
        np.testing.assert_array_equal(again.group, whole.group[again.image_index])
        assert particle_names(again) == [particle_names(whole)[place] for place in again.image_index]
        np.testing.assert_allclose(again.tilt, whole.tilt[again.image_index])
        if not data.no_ctf:
            np.testing.assert_allclose(again.ctf.exposure, whole.ctf.exposure[again.image_index])
    assert Path("class_00_particles.txt").read_text() == "TS_01/1\nTS_01/2\nTS_01/3\n"


def test_a_dose_that_a_list_states_twice_counts_once(folder) -> None:
    """By B-factors, or by the curve; lists of a run state both as its own list does."""
    rows = [f"{name} {-4 * DOSE * (place + 1)} {DOSE * place}" for name in "ab" for place in range(3)]
    path = str(write_star(folder, "rlnGroupName rlnCtfBfactor rlnMicrographPreExposure", rows))
    stated = read_particles(path).ctf
    for asked in ({}, {"tilts": "apart"}, {"dose_weighting": "curve"}, {"least_exposed": 1}):
        data = DataConfig(path, **asked)
        particles = load_particles(data)
        curve = data.dose_weighting == "curve"
        assert np.any(particles.ctf.b_factor) != curve and (particles.ctf.exposure is not None) == curve
        for ending in (".star", ".lst"):
            write_particles(f"again{ending}", listed_particles(particles, data))
            again = read_particles(f"again{ending}")
            np.testing.assert_allclose(again.ctf.exposure, stated.exposure[again.image_index])
            np.testing.assert_allclose(again.ctf.b_factor, stated.b_factor[again.image_index])


@pytest.mark.parametrize("asked", [{}, {"dose_weighting": "none"}, {"tilts": "apart"}, {"least_exposed": 2}])
def test_tilts_that_a_list_tells_count_and_lists_stay_as_they_were(folder, asked, caplog) -> None:
    caplog.set_level(logging.INFO)
    path = str(relion_star(folder))
    data, whole = DataConfig(path, **asked), read_particles(path)
    particles = load_particles(data)
    cosine = np.cos(np.radians(whole.tilt))[particles.image_index]
    np.testing.assert_allclose(particles.ctf.scale, cosine, rtol=1e-6)
    assert caplog.text.count("an image counts by the cosine of its tilt") == 1
    for ending in (".star", ".lst"):
        write_particles(f"again{ending}", listed_particles(particles, data))
        assert np.all(read_particles(f"again{ending}").ctf.scale == 1)
    assert "rlnCtfScalefactor" not in Path("again.star").read_text()
    caplog.clear()
    warp = load_particles(DataConfig(str(warp_star(folder))))
    np.testing.assert_array_equal(warp.ctf.scale, read_particles(folder / "list.star").ctf.scale)
    assert "cosine" not in caplog.text


def test_a_run_reads_the_same_rows_again(folder) -> None:
    data = DataConfig(str(warp_star(folder)), least_exposed=2, dose_weighting="curve")
    particles = load_particles(data)
    Path("run").mkdir()
    write_record(Path("run"), particles)
    again = particles_of_run(Path("run"), data.seen(data.preprocess, len(particles)), to_train=True)
    assert list_digest(again) == list_digest(particles)
    with pytest.raises(DataError, match="holds 8 particles"):
        particles_of_run(Path("run"), DataConfig(data.particles))
    with pytest.raises(DataError, match="CTF of 5 of 5 particles.*have changed since the run began"):
        particles_of_run(Path("run"), DataConfig(data.particles, least_exposed=2), to_train=True)


def test_classes_are_lists_of_images_and_of_particles(folder) -> None:
    """As these may fall into classes image by image, too: a particle is named in each that has one of its images."""
    particles = load_particles(DataConfig(str(warp_star(folder))))
    write_lists_of_classes(folder, particles, np.array([0, 0, 0, 0, 1, 1, 1, -1]), "class")
    assert Path("class_00_particles.txt").read_text() == "series_0\n"
    assert Path("class_01_particles.txt").read_text() == "series_1\n"
    for ending in (".star", ".lst"):
        assert read_particles(f"class_01{ending}").image_index.tolist() == [4, 5, 6]
    again = read_particles("class_01.star").source.data.particles
    assert set(again["rlnGroupName"]) == {"series_1"} and list(again["rlnCtfBfactor"]) == ["-12.00", "-24.00", "-36.00"]
    write_lists_of_classes(folder, particles, np.zeros(8, int), "class")
    assert Path("class_00_particles.txt").read_text() == "series_0\nseries_1\nseries_2\n"
    assert not Path("class_01_particles.txt").exists()
    single = make_particles(2)
    write_lists_of_classes(folder, single, np.zeros(2, int), "class")
    assert not Path("class_00_particles.txt").exists()
