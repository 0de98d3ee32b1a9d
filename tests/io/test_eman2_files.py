"""What is written for EMAN2 passes a reader that takes nothing but what EMAN2 itself takes."""

import dataclasses
import shutil

import h5py
import numpy as np
import pytest

from libhetero.io import (
    HdfWriter,
    read_gaussians,
    read_latent,
    read_particles,
    write_gaussians,
    write_latent,
    write_particles,
    write_volume,
)
from libhetero.records import ParticleEstimates
from tests.making.mixtures import gaussians
from tests.making.optics import aberrations
from tests.making.particles import BOX, PIXEL, sample_particles
from tests.reference import eman2_files
from tests.reference.shared_data import FOLDER, shared_file

THEIRS = ("ptcls.lst", "ptcls_nojson.lst")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty folder that is the current one, as EMAN2's project folder is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_strict_reader_takes_the_files_of_eman2(monkeypatch):
    monkeypatch.chdir(shared_file("formats", "eman2"))
    for name in THEIRS:
        numbers = [number for number, stack, _ in eman2_files.read_list(name) if stack == "ptcls.hdf"]
        assert sorted(numbers) == [0, 1, 2, 3], name
    assert [image["ny"] for image in eman2_files.read_hdf("ptcls.hdf")] == 4 * [32]
    assert eman2_files.read_hdf("vol.hdf")[0]["image"].shape == (48, 48, 48)
    index, latent = eman2_files.read_latents("e2gmm/midall_e2gmm_batch_first20.txt")
    assert len(index) == 20 and latent.shape[1] > 1


def broken(data: bytes) -> dict[str, bytes]:
    """Return lists of which each has one fault that EMAN2 minds."""
    head, body = data.split(b"\n", 3)[:3], data.split(b"\n", 3)[3]
    length = int(head[2][2:])

    def with_length(number: int) -> bytes:
        return b"\n".join([*head[:2], b"# %d" % number, body])

    return {
        "another length": with_length(length + 1),
        "a length of all lines": with_length(len(body)),
        "Windows line ends": data.replace(b" \n", b"\r\n"),
        "a letter beyond ASCII": data.replace(b"first.mrcs", "fürst.mrcs".encode()),
        "a name that is cut": data.replace(b"first.mrcs", b"fir t.mrcs"),
        "spaces in the JSON": data.replace(b'"matrix":"', b'"matrix": "').replace(b" \n", b"\n"),
        "keys out of order": data.replace(b'"ampcont"', b'"zampcont"'),
        "not a number": data.replace(b'"hetero_half":0', b'"hetero_half":NaN').replace(b"  \n", b"\n"),
        "code": data.replace(b'"Transform"', b'"Tranzform"'),
    }


@pytest.mark.parametrize("what", broken(b"#LSX\n#\n# 2\n1\n"))
def test_the_strict_reader_minds_faults(project, what):
    write_particles("list.lst", sample_particles(project)[0])
    assert len(eman2_files.read_list("list.lst")) == 11
    wrong = broken((project / "list.lst").read_bytes())[what]
    assert wrong != (project / "list.lst").read_bytes()
    (project / "wrong.lst").write_bytes(wrong)
    with pytest.raises((AssertionError, ValueError)):
        eman2_files.read_list("wrong.lst")


def of_variable_length(group):
    group.attrs["EMAN.ctf"] = "E1 0 0 0 10 300 2.7 2 0 0 0"


@pytest.mark.parametrize(
    "spoil",
    [
        of_variable_length,
        lambda group: group.attrs.create("EMAN.nx", np.array([BOX], np.int64)),
        lambda group: group.attrs.create("EMAN.nx", np.int32(BOX)),
        lambda group: group.attrs.create("EMAN.stored_renderbits", np.array([8], np.int32)),
        lambda group: group.attrs.__delitem__("EMAN.datatype"),
        lambda group: group.attrs.create("other", np.array([1], np.int32)),
        lambda group: group.parent.attrs.__delitem__("imageid_max"),
    ],
)
def test_the_strict_reader_minds_attributes(project, spoil):
    write_particles("stack.hdf", sample_particles(project)[0])
    assert len(eman2_files.read_hdf("stack.hdf")) == 11
    with h5py.File("stack.hdf", "a") as file:
        spoil(file["MDF/images/3"])
    with pytest.raises((AssertionError, KeyError)):
        eman2_files.read_hdf("stack.hdf")


def test_lists_and_stacks_with_every_record(project):
    """Poses given and refined, optics beyond the CTF, half-sets, series, contrast and junk."""
    particles, images = sample_particles(project)
    count = len(particles)
    estimates = ParticleEstimates(np.linspace(0.8, 1.2, count), np.linspace(0, 1, count))
    ctf = dataclasses.replace(particles.ctf, **aberrations(count))
    full = dataclasses.replace(particles, ctf=ctf, estimates=estimates, contrast=1)
    for name in ("list", "stack"):
        write_particles(f"{name}.{'lst' if name == 'list' else 'hdf'}", full)
    listed = eman2_files.read_list("list.lst")
    assert [number for number, *_ in listed] == particles.image_index.tolist()
    assert {"ctf", "xform.projection", "class", "hetero_half", "hetero_junk", "ptcl3d_id"} <= set(listed[0][2])
    stored = eman2_files.read_hdf("stack.hdf")
    np.testing.assert_array_equal([one["image"] for one in stored], images)
    for (_, _, values), header in zip(listed, stored, strict=True):
        matrix = np.array(eman2_files.json.loads(values["xform.projection"]["matrix"])).reshape(3, 4)
        np.testing.assert_allclose(header["xform.projection"], matrix, atol=1e-6)


def test_lists_of_other_programs(project):
    """A list that is written again from EMAN2's own, from a .star and from a .cs."""
    particles, _ = sample_particles(project)
    write_particles("particles.star", particles)
    write_particles("particles.cs", particles)
    for name in ("particles.star", "particles.cs"):
        write_particles("project.lst", read_particles(name))
        assert len(eman2_files.read_list("project.lst")) == 11
        write_particles("some.lst", read_particles("project.lst").take(np.array([4, 0, 7])))
        values = [values for _, _, values in eman2_files.read_list("some.lst")]
        assert [one["hetero_row"] for one in values] == [4, 0, 7]
    if not FOLDER.exists():
        return
    for name in (*THEIRS, "ptcls_min.lst", "ptcls.hdf"):
        shutil.copy(shared_file("formats", "eman2", name), project)
    for name in (*THEIRS, "ptcls_min.lst"):
        write_particles("again.lst", read_particles(name))
        assert len(eman2_files.read_list("again.lst")) == len(read_particles(name))


def test_an_empty_list_is_one(project):
    particles, _ = sample_particles(project)
    write_particles("empty.lst", particles.take(np.arange(0)))
    assert eman2_files.read_list("empty.lst") == []


def test_stack_names_that_eman2_would_cut_are_told(project, caplog):
    particles, _ = sample_particles(project)
    (project / "two words.mrcs").write_bytes((project / "first.mrcs").read_bytes())
    named = dataclasses.replace(particles, files=(str(project / "two words.mrcs"), particles.files[1]))
    write_particles("list.lst", named)
    assert "two words.mrcs" in caplog.text and "EMAN2" in caplog.text
    assert set(read_particles("list.lst").files) == set(named.files)


def test_maps_gaussians_and_latents(project):
    volume = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    write_volume("map.hdf", volume, PIXEL, particles=12)
    (stored,) = eman2_files.read_hdf("map.hdf")
    np.testing.assert_array_equal(stored["image"], volume)
    assert stored["ptcl_repr"] == 12
    with HdfWriter("stack.hdf", PIXEL) as writer:
        writer.write(volume[0], {"long": 2**40, "text": "micrographs/mic_0001.hdf", "few": np.arange(3)})
    (stored,) = eman2_files.read_hdf("stack.hdf")
    assert stored["text"] == "micrographs/mic_0001.hdf" and stored["long"] == 2**40

    mixture = gaussians(10 * np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32))
    write_gaussians("gmm.txt", mixture, BOX, PIXEL)
    write_gaussians("regions.txt", mixture, BOX, PIXEL, group=np.array([0, 1, 1, -1, 2]))
    assert eman2_files.read_gaussians("gmm.txt").shape == (5, 5)
    np.testing.assert_array_equal(eman2_files.read_gaussians("regions.txt")[:, 5], [0, 1, 1, -1, 2])
    np.testing.assert_allclose(read_gaussians("regions.txt", BOX, PIXEL).position, mixture.position, atol=1e-5)

    latent = np.random.default_rng(2).normal(size=(4, 3))
    write_latent("mid_00.txt", np.array([0, 2, 3, 7]), latent)
    index, read = eman2_files.read_latents("mid_00.txt")
    np.testing.assert_array_equal(index, [0, 2, 3, 7])
    np.testing.assert_array_equal(read, latent)
    np.testing.assert_array_equal(read_latent("mid_00.txt")[1], latent)
