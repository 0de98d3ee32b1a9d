"""A run's particles are those of its rows, whatever became of the list since: identity, not number and length."""

import dataclasses
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import read_particles, write_particles
from libhetero.io.tilt_series import thinned
from libhetero.pipelines.run import particle_record
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.particle_record import RECORD, particles_of_run, write_record
from libhetero.pipelines.run.particles import load_particles
from libhetero.pipelines.run.seen import at_full_strength, changed, seen
from tests.making.particles import sample_particles

RUN = Path("run")
ROWS = [2, 0, 5, 1, 7, 3]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with two stacks of the same name in two folders, a list of both, and a run's record of it."""
    folder = tmp_path / "project"
    (folder / "run").mkdir(parents=True)
    particles, _ = sample_particles(folder, 60)
    names = []
    for job, name in (("job1", "first.mrcs"), ("job2", "second.mrcs")):
        (folder / job).mkdir()
        (folder / name).rename(folder / job / "stack.mrcs")
        names.append(str(folder / job / "stack.mrcs"))
    unique = np.unique([particles.file_id, particles.image_index], axis=1, return_index=True)[1]
    particles = dataclasses.replace(particles, files=tuple(names)).take(unique)
    assert len(particles) > max(ROWS) and len(set(particles.file_id)) == 2
    monkeypatch.chdir(folder)
    write_list(particles.take(np.array(ROWS)))
    write_record(RUN, load_particles(listed()))
    return folder, particles


def stretched(count: int):
    return np.broadcast_to(np.array([[1.02, 0.0], [0.0, 0.98]], np.float32), (count, 2, 2)).copy()


def write_list(particles) -> None:
    write_particles("list.star", particles)


def listed(**others):
    return DataConfig(os.path.abspath("list.star"), **others)


def opened(**others):
    return particles_of_run(RUN, listed(**others))


def test_the_same_list_is_accepted(project) -> None:
    _, particles = project
    np.testing.assert_array_equal(opened().image_index, particles.image_index[ROWS])


def test_another_order_is_refused_and_called_that(project) -> None:
    _, particles = project
    write_list(particles.take(np.array(ROWS[::-1])))
    with pytest.raises(
        DataError, match=r"list.star: particle 0 \(from 0\) is image \d of .* run was trained with image"
    ):
        opened()
    with pytest.raises(DataError, match="the same in another order"):
        opened()


def test_another_particle_is_refused_by_its_row(project) -> None:
    _, particles = project
    write_list(particles.take(np.array([*ROWS[:-1], 4])))
    with pytest.raises(DataError, match=r"particle 5 \(from 0\) is image") as error:
        opened()
    assert "another order" not in str(error.value)


def test_another_number_of_particles_is_refused(project) -> None:
    _, particles = project
    write_list(particles.take(np.array(ROWS[:-1])))
    with pytest.raises(DataError, match="holds 5 particles; run was trained on 6"):
        opened()


def test_a_project_may_move(project, monkeypatch) -> None:
    folder, _ = project
    elsewhere = folder.with_name("elsewhere")
    text = (folder / "list.star").read_text()
    folder.rename(elsewhere)
    monkeypatch.chdir(elsewhere)
    (elsewhere / "list.star").write_text(text.replace(str(folder), str(elsewhere)))
    assert len(opened()) == len(ROWS)


def test_stacks_of_one_name_do_not_change_places_when_a_project_moves(project, monkeypatch) -> None:
    folder, particles = project
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    monkeypatch.chdir(elsewhere)
    moved = tuple(name.replace(str(folder), str(elsewhere)) for name in particles.files)
    write_list(dataclasses.replace(particles, files=moved).take(np.array(ROWS)))
    assert len(opened()) == len(ROWS)
    write_list(dataclasses.replace(particles, files=moved[::-1]).take(np.array(ROWS)))
    with pytest.raises(DataError, match="particle 0"):
        opened()


def test_stacks_of_one_name_do_not_change_places_where_they_are(project) -> None:
    _, particles = project
    write_list(dataclasses.replace(particles, files=particles.files[::-1]).take(np.array(ROWS)))
    with pytest.raises(DataError, match="particle 0"):
        opened()


def test_stacks_may_come_from_another_folder(tmp_path, monkeypatch) -> None:
    """As with --datadir, a copy on a fast disk."""
    (tmp_path / "run").mkdir()
    (tmp_path / "fast").mkdir()
    monkeypatch.chdir(tmp_path)
    particles, _ = sample_particles(tmp_path)
    write_list(particles)
    write_record(RUN, load_particles(listed()))
    for name in ("first.mrcs", "second.mrcs"):
        shutil.move(tmp_path / name, tmp_path / "fast" / name)
    text = (tmp_path / "list.star").read_text()
    (tmp_path / "list.star").write_text(text.replace(f"{tmp_path}/", ""))
    assert len(opened(datadir="fast")) == len(particles)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: {"pose": dataclasses.replace(p.pose, shift=p.pose.shift + np.float32(3.0))}, "shift of 6 of 6"),
        (lambda p: {"pose": dataclasses.replace(p.pose, rotation=p.pose.rotation[::-1])}, "orientation of"),
        (lambda p: {"ctf": dataclasses.replace(p.ctf, defocus_u=p.ctf.defocus_u + 500)}, "CTF of 6 of 6"),
        (lambda p: {"ctf": dataclasses.replace(p.ctf, magnification=stretched(len(p)))}, "CTF of 6 of 6"),
    ],
)
def test_what_was_refined_since_is_told_and_not_trained_on(project, caplog, change, words) -> None:
    _, particles = project
    chosen = particles.take(np.array(ROWS))
    write_list(dataclasses.replace(chosen, **change(chosen)))
    assert len(opened()) == len(ROWS)
    assert words in caplog.text and "have changed since training" in caplog.text
    with pytest.raises(DataError, match=words):
        particles_of_run(RUN, listed(), to_train=True)


def test_what_another_program_rounds_is_no_change(project, caplog) -> None:
    _, particles = project
    chosen = particles.take(np.array(ROWS))
    shift, defocus = chosen.pose.shift + np.float32(0.004), chosen.ctf.defocus_u + 0.4
    pose, ctf = dataclasses.replace(chosen.pose, shift=shift), dataclasses.replace(chosen.ctf, defocus_u=defocus)
    write_list(dataclasses.replace(chosen, pose=pose, ctf=ctf))
    opened()
    assert "changed" not in caplog.text


def test_another_pixel_size_is_refused(project) -> None:
    data = listed(pixel_size=3.0)
    with pytest.raises(DataError, match="pixels of 3 Å; the run was trained with 2.5 Å"):
        particles_of_run(RUN, data)


def test_a_run_of_before_is_compared_with_its_first_list(project, caplog) -> None:
    _, particles = project
    os.remove(f"run/{RECORD}")
    write_particles(f"run/{particle_record.LIST}", read_particles("list.star"))
    opened()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    write_list(particles.take(np.array(ROWS[::-1])))
    with pytest.raises(DataError, match="the same in another order"):
        opened()


def test_a_run_that_tells_nothing_is_taken_on_trust_and_that_is_told(project, caplog) -> None:
    os.remove(f"run/{RECORD}")
    opened()
    assert caplog.text.count("taken on trust") == 1


@pytest.mark.parametrize("damage", ["cut", "stacks", "shape"])
def test_a_damaged_record_is_one_line(project, damage) -> None:
    path = f"run/{RECORD}"
    with np.load(path) as file:
        arrays = dict(file)
    if damage == "cut":
        os.truncate(path, 100)
    else:
        arrays |= {"file_id": arrays["file_id"] + 7} if damage == "stacks" else {"file_id": arrays["file_id"][1:]}
        np.savez(path, **arrays)
    with pytest.raises(DataError, match=rf"{RECORD}.*restore"):
        opened()


def same_ctf(ctf):
    """Return CTFs that other programs write in other words: half a turn, U and V exchanged, one angle for two."""
    turned = dataclasses.replace(ctf, defocus_angle=ctf.defocus_angle + np.float32(np.pi))
    exchanged = dataclasses.replace(
        ctf, defocus_u=ctf.defocus_v, defocus_v=ctf.defocus_u, defocus_angle=ctf.defocus_angle - np.float32(np.pi / 2)
    )
    contrast = np.full_like(ctf.phase_shift, 0.05)
    phase = ctf.phase_shift + np.arcsin(ctf.amplitude_contrast) - np.arcsin(contrast)
    return turned, exchanged, dataclasses.replace(ctf, amplitude_contrast=contrast, phase_shift=phase)


@pytest.mark.parametrize("way", [0, 1, 2])
def test_the_same_ctf_in_other_words_is_no_change(project, caplog, way) -> None:
    _, particles = project
    chosen = particles.take(np.array(ROWS))
    write_list(dataclasses.replace(chosen, ctf=same_ctf(chosen.ctf)[way]))
    particles_of_run(RUN, listed(), to_train=True)
    assert "changed" not in caplog.text


def test_without_astigmatism_its_angle_is_nothing(project, caplog) -> None:
    _, particles = project
    chosen = particles.take(np.array(ROWS))
    for angle in (0.3, 1.1):
        ctf = dataclasses.replace(
            chosen.ctf, defocus_v=chosen.ctf.defocus_u, defocus_angle=np.full(len(chosen), angle, np.float32)
        )
        write_list(dataclasses.replace(chosen, ctf=ctf))
        if angle == 0.3:
            write_record(RUN, load_particles(listed()))
    particles_of_run(RUN, listed(), to_train=True)
    assert "changed" not in caplog.text


def test_another_astigmatism_is_a_change(project, caplog) -> None:
    _, particles = project
    chosen = particles.take(np.array(ROWS))
    ctf = dataclasses.replace(chosen.ctf, defocus_angle=chosen.ctf.defocus_angle + np.float32(np.pi / 2))
    write_list(dataclasses.replace(chosen, ctf=ctf))
    opened()
    assert "CTF of 6 of 6" in caplog.text


def another_set(particles):
    """Return particles with the names and numbers of these, and the poses and defocus of others."""
    rotation = np.roll(particles.pose.rotation, 1, axis=0)
    pose = dataclasses.replace(particles.pose, rotation=rotation)
    defocus = {name: np.roll(getattr(particles.ctf, name), 1) for name in ("defocus_u", "defocus_v")}
    return dataclasses.replace(particles, pose=pose, ctf=dataclasses.replace(particles.ctf, **defocus))


def test_another_set_under_the_same_names_is_refused(project) -> None:
    """As when an extraction is done again with other particles: no refinement changes poses and defocus of most."""
    _, particles = project
    write_list(another_set(particles.take(np.array(ROWS))))
    with pytest.raises(DataError, match=r"orientation and defocus of \d of 6 particles .* are of another set"):
        opened()


def test_poses_and_ctf_that_were_refined_are_told_and_taken(project, caplog) -> None:
    """All poses sought anew, defocus moved as a refinement moves it."""
    _, particles = project
    chosen = particles.take(np.array(ROWS))
    moved = {name: getattr(chosen.ctf, name) + np.float32(300) for name in ("defocus_u", "defocus_v")}
    write_list(dataclasses.replace(another_set(chosen), ctf=dataclasses.replace(chosen.ctf, **moved)))
    opened()
    assert "orientation and CTF of 6 of 6" in caplog.text


def test_exposures_that_programs_of_before_did_not_read_are_named(project, caplog) -> None:
    _, particles = project
    chosen = particles.take(np.array(ROWS))
    record = particle_record.ParticleRecord((), chosen.file_id, chosen.image_index, None, seen(chosen))
    exposure = np.linspace(1, 60, len(chosen)).astype(np.float32)
    exposed = dataclasses.replace(chosen, ctf=dataclasses.replace(chosen.ctf, exposure=exposure))
    with pytest.raises(DataError, match=r"set.star: states the exposure of each image, .* Train a new run."):
        particle_record._check_seen(exposed, record, "set.star", to_train=True)
    particle_record._check_seen(exposed, record, "set.star", to_train=False)
    assert "are of images that do not fade" in caplog.text and "CTF" not in caplog.text


def test_a_run_of_before_goes_on_without_the_cosines_of_tilts(project) -> None:
    """Its list states tilts and no factors, which were 1 then; a run that has the cosines keeps them."""
    _, particles = project
    chosen, tilt = particles.take(np.array(ROWS)), np.linspace(-60, 60, len(ROWS)).astype(np.float32)
    ctf = dataclasses.replace(chosen.ctf, scale=np.ones(len(ROWS), np.float32))
    chosen = dataclasses.replace(chosen, tilt=tilt, ctf=ctf)
    now = thinned(chosen)
    assert not np.array_equal(now.ctf.scale, chosen.ctf.scale)
    as_then = at_full_strength(seen(chosen), now)
    assert not changed(seen(chosen), seen(as_then))["ctf"].any() and changed(seen(chosen), seen(now))["ctf"].any()
    assert at_full_strength(seen(now), now) is now


def test_a_record_without_all_of_the_ctf_is_one_line(project) -> None:
    with np.load(f"run/{RECORD}") as file:
        arrays = dict(file)
    np.savez(f"run/{RECORD}", **(arrays | {"ctf": arrays["ctf"][:, :5]}))
    with pytest.raises(DataError, match=rf"{RECORD}: ctf: expected 9 parameters or more, found 5; restore"):
        opened()


def test_a_record_tells_which_images_show_one_particle(project) -> None:
    _, particles = project
    chosen = particles.take(np.array(ROWS))
    write_record(RUN, chosen)
    np.testing.assert_array_equal(particle_record.record_of(RUN).group, chosen.group)
    write_record(RUN, dataclasses.replace(chosen, group=None))
    assert particle_record.record_of(RUN).group is None
