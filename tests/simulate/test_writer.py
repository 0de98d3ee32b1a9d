"""The folder of a simulated set: complete, true to its images, or not there at all."""

import dataclasses
import errno
import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import ImageReader, read_particles, read_volume
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import frequencies_2d, half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.rotations import axis_angle_to_matrix
from libhetero.simulate import steps, tables
from libhetero.simulate.complex import BEAD_SIGMA, generate_complex, generate_member
from libhetero.simulate.configuration import ImagingConfig
from libhetero.simulate.part import Part, begun_part
from libhetero.simulate.sets import assembly_of, mixture_of, motion_of
from libhetero.simulate.tables import write_tables
from libhetero.simulate.writer import survey_order, write_simulation
from tests.making.mixtures import gaussians
from tests.making.optics import two_microscopes
from tests.making.rendering import made_mixture

IMAGING = ImagingConfig(particles=70, box_size=24, pixel_size=5.0, snr=None, seed=1)
MODEL = generate_complex(0, 3, 70.0)


def _read(folder: Path) -> tuple:
    particles = read_particles(folder / "particles.star")
    truth = json.loads((folder / "truth" / "truth.json").read_text())
    return particles, ImageReader(particles).read(np.arange(len(particles))), truth


def _reprojected(truth: dict, folder: Path, particles: object, i: int) -> np.ndarray:
    """Project the atoms of the truth folder in the state of particle i, up to Nyquist."""
    atoms = np.load(folder / "truth" / "atoms.npz")
    position, weight = atoms["position"].copy(), atoms["weight"].copy()
    if truth["kind"] == "assembly":
        weight *= np.load(folder / "truth" / "states.npy")[i][atoms["piece"]]
    else:
        angles = np.load(folder / "truth" / "angles.npy")[i]
        for k, (hinge, axis) in enumerate(zip(truth["hinges"], truth["axes"], strict=True)):
            turn = np.asarray(axis_angle_to_matrix(jnp.asarray(axis), jnp.asarray(angles[k])))
            own = atoms["piece"] == k
            position[own] = (position[own] - hinge) @ turn.T + np.array(hinge)
    n, pixel_size = truth["box_size"], truth["pixel_size"]
    image = project_gaussians(gaussians(position, weight, BEAD_SIGMA), particles.pose.take(i), n, pixel_size)
    image = image * ctf_at(particles.ctf.take(i), half_plane(n, pixel_size))
    image = image * (np.sum(frequencies_2d(n) ** 2, axis=-1) <= 0.25)
    return np.asarray(real_image(image, n))


@pytest.mark.parametrize("kind", ["assembly", "motion"])
def test_images_are_projections_of_the_truth(kind: str, tmp_path: Path) -> None:
    assembly, motion = assembly_of(MODEL, IMAGING), motion_of(MODEL, IMAGING, 0.5)
    folder = write_simulation(tmp_path / "set", assembly if kind == "assembly" else motion)
    particles, images, truth = _read(folder)
    assert images.shape == (70, 24, 24) and len(particles) == 70
    assert truth["kind"] == kind and truth["pieces"] == 4 and truth["contrast"] == 1
    assert particles.uniform_pixel_size() == 5.0
    for i in (0, 1, 35, 69):
        expected = _reprojected(truth, folder, particles, i)
        assert np.corrcoef(images[i].ravel(), expected.ravel())[0, 1] > 0.999


def test_assembly_truth_adds_up(tmp_path: Path) -> None:
    folder = write_simulation(tmp_path / "set", assembly_of(MODEL, IMAGING)) / "truth"
    pieces = [read_volume(folder / f"piece_{k:02d}.mrc") for k in range(4)]
    full, pixel_size = read_volume(folder / "full.mrc")
    np.testing.assert_allclose(sum(volume for volume, _ in pieces), full, atol=1e-4)
    assert pixel_size == 5.0 and np.isclose(full.sum(), MODEL.gaussians.amplitude.sum(), rtol=1e-4)
    states, labels = np.load(folder / "states.npy"), np.loadtxt(folder / "labels.txt", dtype=int)
    assert states.dtype == np.uint8 and states.shape == (70, 4)
    np.testing.assert_array_equal(labels[:, 0], np.arange(70))
    np.testing.assert_array_equal(labels[:, 1], states[:, 1:] @ [1, 2, 4])


def test_mixture_lies_in_the_order_of_its_labels(tmp_path: Path) -> None:
    models = made_mixture(0, 3, 70.0)
    imaging = dataclasses.replace(IMAGING, ctf=None)
    folder = write_simulation(tmp_path / "set", mixture_of(models, imaging))
    particles, images, truth = _read(folder)
    labels = np.loadtxt(folder / "truth" / "labels.txt", dtype=int)[:, 1]
    for k, model in enumerate(models):
        volume, _ = read_volume(folder / "truth" / f"map_{k:03d}.mrc")
        mass = model.gaussians.amplitude.sum()
        assert np.isclose(volume.sum(), mass, rtol=1e-4)
        np.testing.assert_allclose(images[labels == k].sum(axis=(1, 2)), mass, rtol=5e-3)
    assert particles.ctf is None and not truth["ctf"]
    assert truth["structures"] == 3 and len(truth["structure_names"]) == 3


def test_lists_agree_and_are_the_same_however_they_are_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = assembly_of(MODEL, dataclasses.replace(IMAGING, particles=50, snr=0.5))
    folder = write_simulation(tmp_path / "set", simulation)
    texts = [(folder / name).read_bytes() for name in ("particles.star", "particles.lst")]
    particles, listed = (read_particles(folder / f"particles.{s}") for s in ("star", "lst"))
    np.testing.assert_allclose(particles.pose.rotation, listed.pose.rotation, atol=1e-5)
    np.testing.assert_allclose(particles.ctf.defocus_u, listed.ctf.defocus_u, rtol=1e-5)
    assert listed.contrast == 1 and len(set(texts[1].splitlines()[3:])) == 50
    assert len({len(line) for line in texts[1].splitlines()[3:]}) == 1
    (folder / "particles.mrcs").rename(tmp_path / "first.mrcs")
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    monkeypatch.setattr(tables, "ROWS", 16)
    monkeypatch.setattr(steps, "BLOCK", 20)
    write_simulation(folder, simulation, threads=2)
    assert texts == [(folder / name).read_bytes() for name in ("particles.star", "particles.lst")]
    assert (tmp_path / "first.mrcs").read_bytes() == (folder / "particles.mrcs").read_bytes()


def test_every_row_names_its_own_optics_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two voltages, drawn at random, in parts of which some hold one voltage alone."""
    table = two_microscopes()
    mixture = mixture_of(MODELS, SMALL, table)
    texts = []
    for rows in (4, 100):
        monkeypatch.setattr(tables, "ROWS", rows)
        (tmp_path / f"{rows}" / "truth").mkdir(parents=True)
        write_tables(tmp_path / f"{rows}", tmp_path, mixture, [2])
        texts.append([path.read_bytes() for path in sorted((tmp_path / f"{rows}").glob("p*"))])
    assert texts[0] == texts[1] and len(texts[0]) == 4
    structure = mixture.structure_of_particles()
    drawn = mixture.truth(np.arange(60, dtype=np.int32), structure).ctf
    assert min(len(np.unique(drawn.voltage[i : i + 4])) for i in range(0, 60, 4)) == 1
    assert len(np.unique(drawn.voltage)) == 2
    for name, kept in (("particles", structure < 3), ("particles_0002", structure < 2)):
        for suffix in ("star", "lst"):
            path = tmp_path / "4" / f"{name}.{suffix}"
            ctf = read_particles(path, need_images=False).ctf
            for field in ("voltage", "spherical_aberration", "amplitude_contrast", "defocus_u"):
                expected = getattr(drawn, field)[kept]
                np.testing.assert_allclose(getattr(ctf, field), expected, rtol=1e-5)


@pytest.mark.parametrize("kind, name", [("assembly", "states"), ("motion", "angles")])
def test_tables_are_those_that_numpy_writes(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROWS", 16)
    assembly, motion = assembly_of(MODEL, IMAGING), motion_of(MODEL, IMAGING, 0.5)
    (tmp_path / "truth").mkdir()
    write_tables(tmp_path, tmp_path, assembly if kind == "assembly" else motion)
    path = tmp_path / "truth" / f"{name}.npy"
    values = np.load(path)
    mapped = np.lib.format.open_memmap(tmp_path / "mapped.npy", "w+", values.dtype, values.shape)
    mapped[:] = values
    mapped.flush()
    assert path.read_bytes() == (tmp_path / "mapped.npy").read_bytes()


def test_a_link_stays_and_its_folder_becomes_the_set(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "set").symlink_to(tmp_path / "large")
    simulation = assembly_of(MODEL, dataclasses.replace(IMAGING, particles=10))
    assert write_simulation(tmp_path / "set", simulation) == tmp_path / "large"
    assert (tmp_path / "set").is_symlink() and len(_read(tmp_path / "set")[0]) == 10


def test_two_dots_behind_a_link_lead_where_the_system_goes(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "real" / "deep")
    simulation = assembly_of(MODEL, dataclasses.replace(IMAGING, particles=10))
    write_simulation(tmp_path / "here" / "link" / ".." / "set", simulation)
    assert len(_read(tmp_path / "real" / "set")[0]) == 10 and not (tmp_path / "here" / "set").exists()


def test_a_full_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        write_simulation(tmp_path, assembly_of(MODEL, IMAGING))
    with pytest.raises(DataError, match="exists already"):
        write_simulation(tmp_path / "mine", assembly_of(MODEL, IMAGING))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_missing_parent_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        write_simulation(tmp_path / "no" / "set", assembly_of(MODEL, IMAGING))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_nothing_half_written_is_left(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(steps.SetWorker, "__call__", fail)
    expected = DataError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_simulation(tmp_path / "set", assembly_of(MODEL, IMAGING))
    assert list(tmp_path.iterdir()) == [], "nothing was done: nothing is kept"


def test_cropped_set_says_where_its_snr_holds(tmp_path: Path) -> None:
    imaging = dataclasses.replace(IMAGING, particles=20, snr=0.1, crop=12)
    folder = write_simulation(tmp_path / "set", assembly_of(MODEL, imaging))
    particles, images, truth = _read(folder)
    assert images.shape == (20, 12, 12) and particles.uniform_pixel_size() == 10.0
    assert (truth["snr"], truth["snr_box_size"], truth["box_size"]) == (0.1, 24, 12)
    assert read_volume(folder / "truth" / "full.mrc")[0].shape == (12, 12, 12)


SMALL = dataclasses.replace(IMAGING, particles=60, snr=0.5, pixel_size=7.5)
MODELS = [generate_member(0, k, 70.0) for k in (0, 1, 3)]  # that one compiled function renders
MIXTURE = mixture_of(MODELS, SMALL)


def _contents(folder: Path) -> dict[str, bytes]:
    """Return every file's bytes, lists without the name of the folder."""
    name = folder.parent.name.encode()
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(name, b"")
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def blocks_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every mixture of 60 in six blocks."""
    monkeypatch.setattr(steps, "BLOCK", 10)


@pytest.fixture
def uninterrupted(tmp_path: Path, blocks_of_ten: None) -> dict[str, bytes]:
    """What a call without interruption writes; others go to another folder, under the same name."""
    for name in ("whole", "other"):
        (tmp_path / name).mkdir()
    return _contents(write_simulation(tmp_path / "whole" / "set", MIXTURE, subsets=[2]))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
@pytest.mark.parametrize("after", [1, 4, 8])
def test_a_resumed_set_is_that_of_an_uninterrupted_call(
    after: int,
    error: BaseException,
    tmp_path: Path,
    uninterrupted: dict,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Three structures are surveyed, then six blocks rendered: stop after 1, 4 and 8 steps."""
    folder, done = tmp_path / "other" / "set", []
    work = steps.SetWorker.__call__

    def stopping(worker: steps.SetWorker, step: object) -> dict:
        if len(done) == after:
            raise error
        done.append(step)
        return work(worker, step)

    with monkeypatch.context() as patch:
        patch.setattr(steps.SetWorker, "__call__", stopping)
        expected = DataError if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(expected) as failure:
            write_simulation(folder, MIXTURE, subsets=[2])
    assert not folder.exists()
    assert begun_part(folder) == folder.with_name(".set.part")
    if isinstance(error, OSError):
        assert "no space left" in str(failure.value) and "go on with --resume" in str(failure.value)
    else:
        assert not caplog.text, "whoever is asked to stop says so himself"
    counted = []
    write_simulation(folder, MIXTURE, subsets=[2], resume=True, progress=lambda *values: counted.append(values))
    assert counted[0] == ("structures", min(after, 3), 3)
    assert ("particles", 10 * max(after - 3, 0), 60) in counted
    assert _contents(folder) == uninterrupted
    assert [path.name for path in folder.parent.iterdir()] == ["set"]


def test_processes_change_no_bit(tmp_path: Path, uninterrupted: dict) -> None:
    folder = write_simulation(tmp_path / "other" / "set", MIXTURE, processes=2, threads=2, subsets=[2])
    assert _contents(folder) == uninterrupted


@pytest.mark.parametrize("count", [2, 5])
def test_the_last_share_puts_the_set_together(count: int, tmp_path: Path, uninterrupted: dict) -> None:
    folder = tmp_path / "other" / "set"
    for number in range(count, 1, -1):
        assert write_simulation(folder, MIXTURE, share=(number, count), subsets=[2]) is None
        assert not folder.exists()
    assert write_simulation(folder, MIXTURE, share=(1, count), subsets=[2]) == folder
    assert _contents(folder) == uninterrupted


def test_of_shares_that_end_together_one_puts_the_set_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "set"
    assert write_simulation(folder, MIXTURE, share=(2, 2)) is None
    with monkeypatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(Part, "alone", lambda part, seconds: False)
        assert write_simulation(folder, MIXTURE, share=(1, 2)) is None
    assert "so is every block" in caplog.text and "run any share again" in caplog.text

    def too_late(part: Part, seconds: float) -> bool:
        part.appear()
        return True

    monkeypatch.setattr(Part, "alone", too_late)
    assert write_simulation(folder, MIXTURE, share=(1, 2)) == folder
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert not (folder / "particles.star").exists(), "the other one has written it"


def test_shares_help_each_other_out_of_step() -> None:
    orders = [survey_order(40, (place, 4)) for place in (1, 2, 3, 4)]
    for place, order in enumerate(orders):
        assert order[:10] == list(range(place, 40, 4)) and sorted(order) == list(range(40))
    assert orders[0][10:] != sorted(orders[0][10:])
    assert survey_order(3, (1, 1)) == [0, 1, 2] and survey_order(2, (5, 5))[0] in (0, 1)


def test_a_share_that_never_came_is_done_by_resuming(tmp_path: Path, uninterrupted: dict) -> None:
    folder = tmp_path / "other" / "set"
    assert write_simulation(folder, MIXTURE, share=(2, 3), subsets=[2]) is None
    assert write_simulation(folder, MIXTURE, resume=True, subsets=[2]) == folder
    assert _contents(folder) == uninterrupted


def test_subsets_are_the_first_structures_of_the_same_stack(tmp_path: Path) -> None:
    folder = write_simulation(tmp_path / "set", MIXTURE, subsets=[2, 3])
    labels = np.loadtxt(folder / "truth" / "labels.txt", dtype=int)[:, 1]
    everything = read_particles(folder / "particles.star")
    for suffix in ("star", "lst"):
        two, three = (read_particles(folder / f"particles_000{k}.{suffix}") for k in (2, 3))
        np.testing.assert_array_equal(two.image_index, np.flatnonzero(labels < 2))
        np.testing.assert_array_equal(three.image_index, np.arange(60))
        assert set(two.files) == set(everything.files)
        expected = everything.pose.rotation[labels < 2]
        np.testing.assert_allclose(two.pose.rotation, expected, atol=1e-5)
    assert json.loads((folder / "truth" / "truth.json").read_text())["subsets"] == [2, 3]


def test_a_structure_that_does_not_fit_leaves_nothing_but_surveys(tmp_path: Path) -> None:
    large = generate_complex(0, 0, 250.0)
    with pytest.raises(ConfigurationError, match=r"structure 0 \(core\): 2\d\d Å across"):
        write_simulation(tmp_path / "set", mixture_of([large, *MODELS[:2]], SMALL))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigurationError, match=r"structure 2 .* kept in .*\.set\.part: go on"):
        write_simulation(tmp_path / "set", mixture_of([*MODELS[:2], large], SMALL))
    counted = []
    write_simulation(tmp_path / "set", MIXTURE, resume=True, progress=lambda *values: counted.append(values))
    assert counted[0] == ("structures", 2, 3)


def test_a_set_larger_than_the_disk_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free)
    with pytest.raises(DataError, match=r"stack and maps: .* KiB needed, 1000 B free"):
        write_simulation(tmp_path / "set", MIXTURE)
    assert list(tmp_path.iterdir()) == []
