"""What a run says of its particles beside their latents: deviations, contrast, evidence and junk."""

import dataclasses
import json

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import read_latent, read_particles, write_latent, write_particles
from libhetero.io.particle_findings import ParticleFindings, read_findings, write_findings
from libhetero.io.star import read_table
from libhetero.pipelines.decoding.class_files import write_class_lists
from libhetero.pipelines.decoding.latents import particle_latents
from libhetero.pipelines.decoding.particle_findings import findings_of, latent_deviations, particle_findings
from libhetero.records import ParticleEstimates, Posterior
from tests.making.particles import make_particles
from tests.making.runs import field_run, gaussian_run
from tests.making.series import series_run

COUNT = 60
FINDINGS = ParticleFindings(np.array([1.1, 0.9]), np.array([0.1, 0.2]), np.array([40.5, -1.25]), np.array([0.0, 0.75]))


def keys_of(path):
    """Return the JSON of each line of a list."""
    lines = path.read_text().splitlines()
    return [json.loads(line.split("\t")[2]) for line in lines if not line.startswith("#")]


def test_a_run_says_of_each_particle_what_its_model_says(tmp_path, caplog) -> None:
    run, *_ = gaussian_run(tmp_path, count=COUNT)
    assert particle_findings(run) is None and latent_deviations(run) is None  # an old run
    (tmp_path / "mid_00.txt").unlink()
    latent = particle_latents(run, 16)
    np.testing.assert_allclose(latent_deviations(run), np.full(latent.shape, 0.1), rtol=1e-6)
    found, junk = particle_findings(run), np.arange(COUNT) % 10 == 9
    np.testing.assert_array_equal(found.junk > 0.5, junk)
    np.testing.assert_allclose(found.contrast[:3], [0.9, 1, 1.1], rtol=1e-5)
    np.testing.assert_allclose(found.evidence, np.where(junk, -1, 50))
    listed = read_particles(tmp_path / "ptcls_junk.lst", need_images=False)
    np.testing.assert_array_equal(listed.image_index, run.particles.image_index[junk])
    assert (tmp_path / "evidence.png").exists()
    assert "6 particles (10.0%) look like junk (their images show nothing of the molecule); ptcls_junk.lst" in [
        record.getMessage() for record in caplog.records
    ]
    np.testing.assert_allclose([line["hetero_junk"] > 0.5 for line in keys_of(tmp_path / "ptcls_00.lst")], junk)


def test_particles_of_several_images_are_counted_once_among_junk(tmp_path, caplog) -> None:
    """The toy finds every tenth image without contrast, which are all images of one particle here."""
    run = series_run(tmp_path, [place % 10 if place % 10 == 9 else place for place in range(COUNT)])
    particle_latents(run, 16)
    assert f"1 particles ({100 / 55:.1f}%) look like junk" in caplog.text
    assert len(read_particles(tmp_path / "ptcls_junk.lst", need_images=False)) == 6


@pytest.mark.parametrize(
    "table",
    [np.full((COUNT - 1, 3), 0.1), np.full((COUNT, 1), 0.1), np.full((COUNT, 3), -0.1)],
    ids=["particles", "numbers", "sign"],
)
def test_deviations_of_other_latents_are_refused(tmp_path, table) -> None:
    run, *_ = gaussian_run(tmp_path, count=COUNT)
    write_latent(tmp_path / "mid_00_sd.txt", np.arange(len(table)), table)
    with pytest.raises(DataError, match="both are made anew"):
        latent_deviations(run)


def test_class_lists_carry_contrast_and_junk(tmp_path) -> None:
    run, *_ = gaussian_run(tmp_path, count=COUNT)
    label = np.arange(COUNT) % 2
    write_class_lists(run, label, "class")
    assert "hetero_junk" not in keys_of(tmp_path / "class_00.lst")[0]
    found = ParticleFindings(1 + 0.001 * np.arange(COUNT), np.full(COUNT, 0.1), np.ones(COUNT), np.arange(COUNT) / 100)
    write_findings(tmp_path / "particles_00.txt", found)
    write_class_lists(run, label, "class")
    lines = keys_of(tmp_path / "class_01.lst")
    np.testing.assert_allclose([line["hetero_particle_contrast"] for line in lines], found.contrast[1::2], atol=1e-4)
    table = read_table(tmp_path / "class_01.star")
    np.testing.assert_allclose(table.number("libheteroJunk", np.arange(len(lines))), found.junk[1::2])


def test_estimates_are_written_into_the_table_that_particles_came_from(tmp_path) -> None:
    write_particles(tmp_path / "a.star", make_particles(4))
    particles = read_particles(tmp_path / "a.star", need_images=False)
    estimates = ParticleEstimates(np.arange(4) / 4, np.arange(4) / 8)
    write_particles(tmp_path / "b.star", dataclasses.replace(particles, estimates=estimates).take(slice(2, None)))
    table = read_table(tmp_path / "b.star")
    np.testing.assert_allclose(table.number("libheteroContrast", np.arange(2)), [0.5, 0.75])


def test_deviations_that_are_not_known_are_not_written_and_old_ones_go(tmp_path) -> None:
    run = field_run(tmp_path, COUNT)
    (tmp_path / "mid_00_sd.txt").write_text("0 1\n")
    assert particle_latents(run, 16).shape[1] < 128  # reduced
    assert latent_deviations(run) is None
    assert np.count_nonzero(particle_findings(run).junk > 0.5) == 6
    assert read_latent(tmp_path / "mid_00.txt")[0].tolist() == list(range(COUNT))


def test_images_left_out_are_no_junk() -> None:
    contrast = np.where(np.arange(COUNT) < 10, 0.0, 1.0).astype(np.float32)
    posterior = Posterior(np.zeros((COUNT, 1)), np.ones((COUNT, 1)), contrast, np.full(COUNT, 0.1), np.ones(COUNT))
    found, prior = findings_of(posterior, np.array([0, 3]))
    assert np.flatnonzero(found.junk > 0.5).tolist() == [1, 2, 4, 5, 6, 7, 8, 9]
    assert prior.mean == pytest.approx(1, abs=0.02)
    alike = dataclasses.replace(posterior, contrast=np.ones(COUNT), contrast_deviation=np.zeros(COUNT))
    assert not findings_of(alike, np.zeros(0, int))[0].junk.any()  # --contrast none


def test_the_images_of_a_particle_decide_together_whether_it_is_junk() -> None:
    """One image of 12 tells little, at deviations of 0.5 and 1; all of them tell which particles are junk."""
    random, views = np.random.default_rng(0), 12
    of = np.repeat(np.arange(200), views)
    junk, deviation = of % 5 == 0, np.tile([1.0, 1.0, 2.0], len(of) // 3) / 2
    contrast = np.where(junk, 0.0, 1.0) + deviation * random.normal(size=len(of))
    order = random.permutation(len(of))
    of, junk, deviation, contrast = (part[order] for part in (of, junk, deviation, contrast))
    posterior = Posterior(np.zeros((len(of), 1)), np.ones((len(of), 1)), contrast, deviation, np.ones(len(of)))
    alone = findings_of(posterior, np.zeros(0, int))[0].junk
    assert np.mean((alone > 0.5) == junk) < 0.95
    lost = np.flatnonzero(of == 7)
    found, prior = findings_of(posterior, np.append(lost, 0), of)
    assert np.ptp(found.junk[of == of[0]]) == 0 and not found.junk[lost].any()
    assert np.mean((found.junk > 0.5) == junk) > 0.99
    assert prior.junk == pytest.approx(0.2, abs=0.05) and prior.mean == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(found.contrast, contrast)
    np.testing.assert_array_equal(found.contrast_deviation, deviation)


def test_particles_of_one_image_each_are_judged_the_same() -> None:
    random = np.random.default_rng(1)
    contrast = np.where(np.arange(COUNT) < 10, 0.0, 1.0) + 0.1 * random.normal(size=COUNT)
    posterior = Posterior(np.zeros((COUNT, 1)), np.ones((COUNT, 1)), contrast, np.full(COUNT, 0.1), np.ones(COUNT))
    bad = np.array([0, 30])
    one, prior = findings_of(posterior, bad)
    other, same = findings_of(posterior, bad, np.arange(COUNT))
    assert prior.mean == pytest.approx(same.mean, rel=1e-6)
    np.testing.assert_allclose(one.junk, other.junk, atol=1e-6)


def test_findings_come_back_and_what_is_none_is_refused(tmp_path) -> None:
    path = tmp_path / "particles_00.txt"
    write_findings(path, FINDINGS)
    back = read_findings(path, 2)
    assert back.poses is None  # in a file of its own
    for field in dataclasses.fields(back)[:-1]:
        np.testing.assert_allclose(getattr(back, field.name), getattr(FINDINGS, field.name))
    with pytest.raises(DataError, match="particles_00.txt: 2 particles, from 0 to 1; expected 3 from 0 in their order"):
        read_findings(path, 3)
    path.write_text(path.read_text().replace("0.75000", "1.75000"))
    with pytest.raises(DataError, match="a probability of junk outside 0 to 1; expected particle index, contrast"):
        read_findings(path, 2)
    path.write_text("0 1 2\n")
    with pytest.raises(DataError, match="3 columns; expected particle index, contrast, contrast_sd, evidence and junk"):
        read_findings(path, 1)
