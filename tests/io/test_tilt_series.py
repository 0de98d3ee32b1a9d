"""Tilt series: what lists say of tilt and exposure, and images chosen and weighted by it."""

import dataclasses
import json
import os

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import ImageReader, read_particles, write_particles
from libhetero.io.exposures import exposure_of_image
from libhetero.io.joining import write_joined
from libhetero.io.tilt_series import (
    apart,
    as_stated,
    describe_series,
    faded_once,
    known_exposure,
    least_exposed,
    particle_keys,
    particle_names,
    thinned,
    tilted_less,
    together,
    weighted_by,
    with_exposure,
)
from tests.making.particles import make_particles
from tests.making.tilt_series import DOSE, TILTS, relion_star, tilt_series, warp_star, write_star
from tests.reference.shared_data import shared_file

OF_FOUR = DOSE * (np.arange(4) + 0.5)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_warp_says_the_tilt_by_the_scale_and_the_exposure_by_the_b_factor(folder):
    particles = read_particles(warp_star(folder))
    np.testing.assert_array_equal(particles.group, [0, 0, 0, 0, 1, 1, 1, 2])
    np.testing.assert_allclose(particles.tilt[:4], np.abs(TILTS), atol=0.06)
    assert particles.ctf.exposure is None
    np.testing.assert_allclose(particles.ctf.b_factor[:4], 4 * DOSE * np.arange(1, 5))
    np.testing.assert_allclose(known_exposure(particles)[:4], DOSE * np.arange(1, 5))


def test_relion_says_the_exposure_before_an_image(folder):
    """Half of the image's own, by the step from one to the next, is counted here."""
    particles = read_particles(relion_star(folder))
    np.testing.assert_allclose(particles.tilt[:4], TILTS)
    np.testing.assert_allclose(particles.ctf.exposure, [*OF_FOUR, *OF_FOUR[:3], OF_FOUR[0]])
    assert particles.ctf.exposure.dtype == np.float32 and not particles.ctf.b_factor.any()


def test_a_list_of_single_images_has_neither(folder):
    rows = [f"{place} {0.9 - 0.1 * place}" for place in range(3)]
    particles = read_particles(write_star(folder, "rlnMicrographPreExposure rlnCtfScalefactor", rows))
    assert particles.group is None and particles.tilt is None and particles.ctf.exposure is None


def test_an_exposure_below_0_is_refused(folder):
    with pytest.raises(DataError, match=r"particle 2: rlnMicrographPreExposure is -1; expected 0 or more"):
        read_particles(write_star(folder, "rlnTomoParticleName rlnMicrographPreExposure", ["a 3", "a -1"]))


@pytest.mark.parametrize("rows", [["a 1", "a 1"], ["a 1.2", "a 0.9"], ["a 0", "a 1"]])
def test_a_scale_that_is_no_cosine_is_no_tilt(folder, rows):
    assert read_particles(write_star(folder, "rlnTomoParticleName rlnCtfScalefactor", rows)).tilt is None


def test_nextpyp_numbers_its_particles(folder):
    rows = ["7 -3 0", "7 -6 1", "9 -3 0"]
    particles = read_particles(write_star(folder, "rlnGroupNumber rlnCtfBfactor rlnTiltIndex", rows))
    np.testing.assert_array_equal(particles.group, [0, 0, 1])
    single = read_particles(write_star(folder, "rlnGroupNumber rlnCtfBfactor", ["7 -3", "7 -6", "9 -3"]))
    assert single.group is None, "of RELION's single particles it is a group of micrographs"


def test_the_export_of_warp_and_m():
    """39 tilts of 3 degrees each to 60, from the least exposed on, of 5 particles; 24 of the sixth."""
    particles = read_particles(shared_file("formats", "tilt_series", "sta_testing_bin8.star"))
    np.testing.assert_array_equal(np.bincount(particles.group), [39] * 5 + [24])
    tilt, exposure = particles.tilt, known_exposure(particles)
    np.testing.assert_allclose(exposure[:39], 3.25 * np.arange(1, 40))
    np.testing.assert_allclose(np.diff(np.unique(np.round(tilt[:39]))), 3)
    assert tilt.max() == pytest.approx(60, abs=0.01)
    assert describe_series(particles) == (
        "219 images of 6 particles (tilt series), tilts 0 to 60 degrees without a sign, exposure 3.2 to 126.8 e-/Å² "
        "(by B-factors)"
    )
    kept = least_exposed(particles, 10)
    assert len(kept) == 60 and known_exposure(kept).max() == 32.5
    np.testing.assert_array_equal(ImageReader(kept).read([10]), ImageReader(particles).read([39]))
    assert len(tilted_less(particles, 30)) == 21 * 5 + 21


def test_tables_of_cryodrgn_go_with_it():
    """Poses and CTF by cryoDRGN, in whose table doses and tilts are not: they stay the list's. --ind numbers images."""
    star = shared_file("formats", "tilt_series", "sta_testing_bin8.star")
    poses, ctf, chosen = (
        shared_file("formats", "tilt_series", name)
        for name in ("sta_pose.pkl", "sta_ctf.pkl", "ind_39_sta_testing_bin8.pkl")
    )
    particles, own = read_particles(star, poses=poses, ctf=ctf, indices=chosen), read_particles(star)
    assert len(particles) == 195 and len(np.unique(particles.group)) == 5
    np.testing.assert_allclose(particles.pose.rotation, own.pose.rotation[:195], atol=1e-5)
    np.testing.assert_allclose(particles.ctf.defocus_u, own.ctf.defocus_u[:195], rtol=1e-5)
    np.testing.assert_array_equal(known_exposure(particles), known_exposure(own)[:195])
    np.testing.assert_array_equal(particles.ctf.scale, own.ctf.scale[:195])


@pytest.mark.parametrize("name", ["220728_TS_01.star", "tilt_series.star"])
def test_what_lists_no_images_of_particles_is_refused_with_what_to_give(name):
    with pytest.raises(
        DataError, match=r"tilt series: give a list of its particles that has a row for each tilt image"
    ):
        read_particles(shared_file("formats", "relion5", name))


@pytest.mark.parametrize("label", ["rlnTomoTiltSeriesName", "rlnTomoParticlesFile"])
def test_tomograms_and_optimisation_sets_are_refused(folder, label):
    (folder / "list.star").write_text(f"data_\n\nloop_\n_{label}\na\n")
    with pytest.raises(DataError, match="give a list of its particles that has a row for each tilt image"):
        read_particles("list.star")


def test_stacks_of_all_tilts_are_refused_with_what_to_do(folder):
    path = relion_star(folder)
    text = path.read_text()
    general = "data_general\n\n_rlnTomoSubTomosAre2DStacks 1\n\n"
    path.write_text(general + text.replace("data_\n", "data_particles\n").replace("000001@", ""))
    with pytest.raises(
        DataError, match=r"names a stack of all its tilts .* Export a particle series, as Warp and M do"
    ):
        read_particles(path)
    path.write_text(text.replace("000001@", ""))
    with pytest.raises(DataError, match="a row for each tilt"):
        read_particles(path)


def lst_of(folder, keys):
    """Write a project list of a stack's images with these JSON keys, an object each."""
    relion_star(folder, (len(keys),))
    lines = [f"{place}\tstack.mrcs\t{json.dumps(each)}" for place, each in enumerate(keys)]
    (folder / "list.lst").write_text("#LSX\n# a comment\n# 200\n" + "".join(f"{line:199s}\n" for line in lines))
    return read_particles("list.lst")


def test_particles_of_eman2_are_numbered_from_0_and_keep_their_own_numbers(folder):
    particles = lst_of(folder, [{"ptcl3d_id": number} for number in (7, 2, 7)])
    np.testing.assert_array_equal(particles.group, [0, 1, 0])
    assert particles.tilt is None and particle_names(particles) == ["7", "2", "7"]
    write_particles("again.lst", particles.take(np.array([2, 1], int)))
    assert particle_names(read_particles("again.lst")) == ["7", "2"]
    write_particles("again.star", particles)
    assert list(read_particles("again.star").source.data.particles["rlnTomoParticleName"]) == [
        f"series_{number:06d}" for number in (7, 2, 7)
    ]


def test_images_of_eman2_are_in_the_order_of_tilt_id(folder):
    particles = lst_of(folder, [{"ptcl3d_id": 0, "tilt_id": place} for place in (2, 0, 1)])
    np.testing.assert_array_equal(least_exposed(particles, 2).image_index, [1, 2])
    plain = lst_of(folder, [{"ptcl3d_id": 0}] * 3)
    np.testing.assert_array_equal(least_exposed(plain, 2).image_index, [0, 1])


@pytest.mark.parametrize("kept", [[0, 2], [0], [1], [3, 0]])
@pytest.mark.parametrize("ending", [".lst", ".star"])
def test_the_exposure_of_an_image_does_not_depend_on_the_others_of_a_list(folder, kept, ending):
    """Half of its own is part of it, which images that are left out have told; RELION's column stays what it was."""
    particles = read_particles(relion_star(folder))
    chosen = particles.take(np.array([*kept, *(4 + place for place in kept if place < 3)]))
    for name, source in (("part", chosen), ("fresh", dataclasses.replace(chosen, source=None)), ("again", None)):
        write_particles(f"{name}{ending}", read_particles(f"part{ending}") if source is None else source)
        again = read_particles(f"{name}{ending}")
        np.testing.assert_allclose(again.ctf.exposure, chosen.ctf.exposure, rtol=1e-6)
    write_particles("back.star", read_particles(f"again{ending}"))
    table = read_particles("back.star").source.data
    np.testing.assert_allclose(table.number("rlnMicrographPreExposure"), chosen.ctf.exposure - DOSE / 2, rtol=1e-6)


def test_lists_of_all_images_are_without_a_column_of_ours(folder):
    particles = read_particles(relion_star(folder))
    for name, source in (("again", particles), ("fresh", dataclasses.replace(particles, source=None))):
        write_particles(f"{name}.star", source)
        assert "libheteroExposure" not in read_particles(f"{name}.star").source.data.particles


@pytest.mark.parametrize("ending", [".lst", ".star"])
def test_joined_lists_keep_the_exposures_of_each(folder, ending):
    """Of images of 3 e⁻/Å² with gaps between, and of another set's, of 1."""
    other = folder / "other"
    other.mkdir()
    path = relion_star(other)
    path.write_text(path.read_text().replace("TS_01", "TS_02"))
    every, thinner = read_particles(relion_star(folder)), read_particles(path)
    thinner = with_exposure(dataclasses.replace(thinner, ctf=dataclasses.replace(thinner.ctf, exposure=None)), 1.0)
    parts = [every.take(np.array([0, 2, 4, 6])), thinner]
    write_joined(f"both{ending}", parts)
    both = read_particles(f"both{ending}")
    expected = np.concatenate([part.ctf.exposure for part in parts])
    np.testing.assert_allclose(both.ctf.exposure, expected, rtol=1e-6)
    write_joined(f"whole{ending}", [every, thinner])
    np.testing.assert_allclose(read_particles(f"whole{ending}").ctf.exposure[:4], OF_FOUR, rtol=1e-6)


@pytest.mark.parametrize("write", [warp_star, relion_star])
@pytest.mark.parametrize("ending", [".lst", ".star", ".hdf"])
def test_tilt_and_exposure_go_through_every_format(folder, write, ending):
    particles = read_particles(write(folder))
    write_particles(f"again{ending}", particles)
    again = read_particles(f"again{ending}")
    np.testing.assert_array_equal(again.group, particles.group)
    np.testing.assert_allclose(again.tilt, particles.tilt, atol=1e-5)
    np.testing.assert_allclose(known_exposure(again), known_exposure(particles), rtol=1e-6)
    assert (again.ctf.exposure is None) == (particles.ctf.exposure is None)


def test_a_set_of_no_table_is_written_with_both(folder):
    particles = dataclasses.replace(read_particles(relion_star(folder)), source=None)
    write_particles("fresh.star", particles)
    again = read_particles("fresh.star")
    np.testing.assert_allclose(again.ctf.exposure, particles.ctf.exposure, atol=1e-4)
    np.testing.assert_allclose(again.tilt, particles.tilt)


def test_a_cs_says_that_it_loses_them(folder, caplog):
    write_particles("again.cs", read_particles(relion_star(folder)))
    assert "tilt series are lost" in caplog.text


def test_a_chosen_part_keeps_the_names_of_its_particles(folder):
    particles = read_particles(warp_star(folder))
    write_particles("whole.lst", particles)
    for source in (particles, read_particles("whole.lst")):
        chosen = source.take(np.array([4, 5, 6, 7]))
        write_particles("part.star", chosen)
        again = read_particles("part.star")
        assert particle_names(again) == ["series_1"] * 3 + ["series_2"] == particle_names(chosen)
        labels = ["rlnCtfBfactor", "rlnCtfScalefactor", "rlnGroupName"]
        stated, kept = (one.source.data.particles[labels] for one in (particles, again))
        assert kept.equals(stated.iloc[4:].reset_index(drop=True)), "texts of the source are kept"
        write_particles("part.lst", chosen)
        assert particle_names(read_particles("part.lst").take(np.array([], int))) == []
        assert {json.loads(text)["ptcl3d_id"] for text in read_particles("part.lst").source.data.texts} == {1, 2}


def test_an_exposure_that_was_given_is_written_into_an_export(folder):
    """Warp's B-factors are 0 then, by which its groups were known: particles are named for RELION."""
    particles = with_exposure(read_particles(warp_star(folder)), 2.0)
    for name in ("given.lst", "given.star"):
        write_particles(name, particles)
        again = read_particles(name)
        np.testing.assert_allclose(again.ctf.exposure[:4], [1, 3, 5, 7])
        np.testing.assert_array_equal(again.group, particles.group)
        assert not again.ctf.b_factor.any()


def test_particles_of_several_lists_stay_apart_and_those_of_one_together(folder):
    for name, prefix in (("first", "a"), ("second", "b")):
        os.makedirs(name)
        path = warp_star(folder / name)
        path.write_text(path.read_text().replace("series_", f"{prefix}_"))
    first, second = (read_particles(f"{name}/list.star") for name in ("first", "second"))
    write_joined("both.lst", [first, second])
    both = read_particles("both.lst")
    np.testing.assert_array_equal(both.group, [*first.group, *(second.group + 3)])
    parts = [first.take(np.array([0, 1, 7], int)), first.take(np.array([2, 3, 4], int))]
    write_joined("one.lst", parts)
    np.testing.assert_array_equal(read_particles("one.lst").group, [0, 0, 1, 0, 0, 2])
    for name, part in (("a.lst", first), ("b.lst", second)):
        write_particles(name, part)
    write_joined("imported.lst", [read_particles("a.lst"), read_particles("b.lst")])
    np.testing.assert_array_equal(read_particles("imported.lst").group, both.group)


def test_lists_of_which_one_tells_no_tilts_are_joined_without(folder, caplog):
    os.makedirs("first")
    told = read_particles(relion_star(folder / "first"))
    plain = read_particles(write_star(folder, "rlnTomoParticleName", ["x", "x"]))
    write_joined("both.lst", [told, plain])
    both = read_particles("both.lst")
    assert both.tilt is None and both.ctf.exposure is None and len(np.unique(both.group)) == 4
    assert "tells no tilts" in caplog.text and "tells no exposures" in caplog.text


def test_the_images_of_least_exposure_are_kept_in_the_order_of_the_list():
    stated = tilt_series([0, 1, 0, 1, 0], exposure=[5, 1, 1, 2, 3])
    np.testing.assert_array_equal(least_exposed(stated, 2).image_index, [1, 2, 3, 4])
    np.testing.assert_array_equal(least_exposed(stated, 9).image_index, np.arange(5))
    by_b_factor = tilt_series([0, 1, 0, 1, 0], b_factor=[20, 4, 4, 8, 12])
    np.testing.assert_array_equal(least_exposed(by_b_factor, 1).image_index, [1, 2])
    fitted = tilt_series([0, 1, 0, 1, 0], b_factor=[20, 4, 4, 8, 20])
    assert known_exposure(fitted) is None, "two images of a particle have one B-factor"
    np.testing.assert_array_equal(least_exposed(fitted, 1).image_index, [0, 1])


def test_images_that_are_tilted_more_are_left_out():
    particles = dataclasses.replace(tilt_series([0] * 4), tilt=np.array([0.0, -45.0, 45.2, 60.0]))
    np.testing.assert_array_equal(tilted_less(particles, 45).image_index, [0, 1])
    with pytest.raises(DataError, match=r"all images are tilted by more than 10 degrees, the least by 45\.2"):
        tilted_less(particles.take(np.array([2, 3], int)), 10)
    with pytest.raises(DataError, match="tells no tilts; expected rlnTomoNominalStageTiltAngle"):
        tilted_less(tilt_series([0, 0]), 10)
    with pytest.raises(DataError, match=r"holds no tilt series .* Leave the options of tilt series out"):
        tilted_less(make_particles(3), 10)


def test_exposures_by_the_place_in_the_series():
    plain = with_exposure(tilt_series([3, 1, 3, 1, 3]), 2.0)
    np.testing.assert_allclose(plain.ctf.exposure, [1, 1, 3, 3, 5])
    warp = with_exposure(tilt_series([3, 1, 3, 1, 3], b_factor=[12, 4, 8, 8, 4]), 2.0)
    np.testing.assert_allclose(warp.ctf.exposure, [5, 1, 3, 3, 1])
    assert not warp.ctf.b_factor.any(), "no dose counts twice"
    with pytest.raises(DataError, match="states the exposure of each image; leave --dose out"):
        with_exposure(warp, 2.0)
    with pytest.raises(DataError, match="holds no tilt series"):
        with_exposure(make_particles(3), 2.0)
    with pytest.raises(DataError, match="has no CTF, and exposures are part of it"):
        with_exposure(dataclasses.replace(tilt_series([0, 0]), ctf=None), 2.0)


def test_weights():
    warp = tilt_series([0, 0, 1], b_factor=[12, 24, 12])
    assert weighted_by(warp, "list") is warp
    curve = weighted_by(warp, "curve")
    np.testing.assert_allclose(curve.ctf.exposure, [3, 6, 3])
    assert not curve.ctf.b_factor.any()
    none = weighted_by(curve, "none")
    assert none.ctf.exposure is None and not none.ctf.b_factor.any()
    stated = tilt_series([0, 0, 1], b_factor=[30, 30, 30], exposure=[1, 2, 1])
    np.testing.assert_array_equal(weighted_by(stated, "curve").ctf.b_factor, [30, 30, 30])
    with pytest.raises(DataError, match="tells no exposures for a curve; give that of each image with --dose"):
        weighted_by(tilt_series([0, 0]), "curve")
    with pytest.raises(DataError, match="holds no tilt series"):
        weighted_by(make_particles(2), "none")


BOTH = "rlnGroupName rlnCtfBfactor rlnMicrographPreExposure"


def test_a_dose_that_a_list_states_twice_counts_once(folder):
    """By Warp's B-factors as the list has them, or by the curve of the exposures; for lists both are kept."""
    rows = [
        f"{name} {-4 * DOSE * (place + 1)} {DOSE * place}"
        for name, count in (("a", 4), ("b", 1))
        for place in range(count)
    ]
    particles = read_particles(write_star(folder, BOTH, rows))
    expected = [*OF_FOUR, OF_FOUR[0]]
    np.testing.assert_allclose(particles.ctf.exposure, expected)
    write_particles("list.lst", particles)
    for source in (particles, read_particles("list.lst")):
        once, curve = faded_once(source), weighted_by(source, "curve")
        np.testing.assert_allclose(once.ctf.b_factor[:4], 4 * DOSE * np.arange(1, 5))
        assert once.ctf.exposure is None and not curve.ctf.b_factor.any()
        np.testing.assert_allclose(curve.ctf.exposure, expected)
        assert faded_once(curve) is curve
        np.testing.assert_allclose(as_stated(once).ctf.exposure, expected)


def test_a_tilt_that_is_told_is_the_factor_of_the_ctf(folder):
    """Where a list has none of its own; for lists it is taken back."""
    particles = read_particles(relion_star(folder))
    write_particles("list.lst", particles)
    for source in (particles, read_particles("list.lst")):
        seen = thinned(source)
        np.testing.assert_allclose(seen.ctf.scale[:4], np.cos(np.radians(TILTS)), rtol=1e-6)
        assert np.all(source.ctf.scale == 1) and np.all(as_stated(seen.take(np.array([2, 1]))).ctf.scale == 1)
        assert thinned(seen) is seen
    warp, single, untold = read_particles(warp_star(folder)), make_particles(2), tilt_series([0, 0, 1])
    assert all(thinned(one) is one for one in (warp, single, untold))
    np.testing.assert_array_equal(as_stated(warp).ctf.scale, warp.ctf.scale)
    for tilt in ([0, 0], [10, 90], [180, 0]):
        odd = dataclasses.replace(tilt_series([0, 0]), tilt=np.array(tilt, float))
        assert thinned(odd) is odd


def test_b_factors_of_another_kind_stay_beside_exposures():
    for b_factor in ([30, 30, 30], [200, 210, 190], [0, 0, 0]):
        particles = tilt_series([0, 0, 1], b_factor=b_factor, exposure=[1, 2, 1])
        assert faded_once(particles) is particles
        np.testing.assert_array_equal(weighted_by(particles, "curve").ctf.b_factor, b_factor)
    warp, single = tilt_series([0, 0], b_factor=[12, 24]), make_particles(2)
    assert faded_once(warp) is warp and faded_once(single) is single


@pytest.mark.parametrize("write", [warp_star, relion_star])
def test_what_a_list_states_can_be_had_again(folder, write):
    particles = read_particles(write(folder))
    write_particles("list.lst", particles)
    for source in (particles, read_particles("list.lst")):
        back = as_stated(weighted_by(source, "none").take(slice(None, None, -1)))
        np.testing.assert_allclose(back.ctf.b_factor, particles.ctf.b_factor[::-1], rtol=1e-6)
        assert (back.ctf.exposure is None) == (particles.ctf.exposure is None)
        np.testing.assert_allclose(known_exposure(back), known_exposure(particles)[::-1], rtol=1e-6)
    made = tilt_series([0, 0])
    assert as_stated(made) is made


def test_the_exposure_of_an_image_is_the_step_within_a_particle():
    group = np.array([0, 1, 0, 1, 0])
    assert exposure_of_image(np.array([0.0, 9, 3, 12, 6]), group) == 3
    assert exposure_of_image(np.array([4.0, 4, 4, 4, 4]), group) == 0
    assert exposure_of_image(np.zeros(0), np.zeros(0, int)) == 0


def test_images_apart_are_no_series():
    particles = apart(tilt_series([0, 0]))
    assert particles.group is None
    with pytest.raises(DataError, match="holds no tilt series"):
        describe_series(particles)


@pytest.mark.parametrize("ending", [".lst", ".star"])
def test_images_that_were_apart_are_written_with_their_series(folder, ending):
    particles = read_particles(relion_star(folder))
    chosen = apart(apart(particles)).take(np.array([7, 4, 1]))
    assert chosen.group is None
    write_particles(f"again{ending}", together(chosen))
    again = read_particles(f"again{ending}")
    assert particle_names(again) == ["TS_01/3", "TS_01/2", "TS_01/1"]
    np.testing.assert_allclose(again.tilt, particles.tilt[[7, 4, 1]])
    assert together(particles) is particles


def test_a_particle_is_one_in_several_lists(folder):
    particles = read_particles(relion_star(folder))
    write_particles("first.lst", particles.take(np.array([4, 0])))
    write_particles("second.lst", particles.take(np.array([5, 7])))
    write_particles("second.star", particles.take(np.array([5, 7])))
    first, second, star = (read_particles(name) for name in ("first.lst", "second.lst", "second.star"))
    assert particle_keys(first, True)[0] == particle_keys(star, True)[0] == particle_keys(second, True)[0]
    assert particle_keys(first, False)[0] == particle_keys(second, False)[0]
    keys = {key for one in (first, second) for by_name in (True, False) for key in particle_keys(one, by_name)}
    assert len(keys) == 2 * 3
    made = tilt_series([0, 1, 0])
    assert len(set(particle_keys(made, True))) == 2
