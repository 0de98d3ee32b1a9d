"""Gaussian models, latents, atoms, and the finding of files."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import read_atoms, read_gaussians, read_latent, write_gaussians, write_gaussians_pdb, write_latent
from libhetero.io.fsc import write_fsc
from libhetero.io.paths import project_path, resolve_path
from libhetero.records import Gaussians
from tests.making.limited import refusal
from tests.reference.shared_data import shared_file


@pytest.fixture
def gaussians():
    rng = np.random.default_rng(0)
    return Gaussians(rng.normal(size=(20, 3)) * 30, rng.uniform(0, 2, 20), rng.uniform(1, 5, 20))


def test_gaussians_round_trip(tmp_path, gaussians):
    group = np.arange(20) % 3
    write_gaussians(tmp_path / "model.txt", gaussians, 64, 2.0, group)
    again = read_gaussians(tmp_path / "model.txt", 64, 2.0)
    np.testing.assert_allclose(again.position, gaussians.position, rtol=1e-6)
    np.testing.assert_allclose(again.amplitude, gaussians.amplitude, rtol=1e-6)
    np.testing.assert_allclose(again.sigma, gaussians.sigma, rtol=1e-6)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "model.txt")[:, 5], group)
    write_gaussians(tmp_path / "five.txt", gaussians, 64, 2.0)
    table = np.loadtxt(tmp_path / "five.txt")
    assert table.shape == (20, 5)
    np.testing.assert_allclose(table[:, 1], -gaussians.position[:, 1] / 128, rtol=1e-9)
    with pytest.raises(DataError, match="not a table of numbers"):
        (tmp_path / "bad.txt").write_text("x y z\n")
        read_gaussians(tmp_path / "bad.txt", 64, 2.0)
    with pytest.raises(DataError, match="2 columns; expected x y z amp sigma"):
        (tmp_path / "bad.txt").write_text("1 2\n")
        read_gaussians(tmp_path / "bad.txt", 64, 2.0)


def test_gaussians_are_in_eman2s_units(tmp_path):
    """Places in boxes, y and z downwards; the root of the amplitude; 0.001 / 2π² of the variance in boxes²."""
    (tmp_path / "model.txt").write_text("0.1 0.2 -0.3 3 2\n")
    found = read_gaussians(tmp_path / "model.txt", 50, 2.0)
    np.testing.assert_allclose(found.position, [[10, -20, 30]], rtol=1e-6)
    np.testing.assert_allclose(found.amplitude, [9], rtol=1e-6)
    np.testing.assert_allclose(found.sigma, [100 * np.sqrt(0.002 / (2 * np.pi**2))], rtol=1e-6)


def test_gaussians_as_atoms(tmp_path, gaussians):
    write_gaussians_pdb(tmp_path / "model.pdb", gaussians, np.arange(20), np.arange(20) % 2, (64, 64, 64))
    atoms = read_atoms(tmp_path / "model.pdb")
    order = np.argsort(atoms.b_factor)
    np.testing.assert_allclose(atoms.b_factor[order], np.arange(20), atol=1e-2)
    np.testing.assert_allclose(atoms.position[order], gaussians.position + 64, atol=1e-3)
    assert set(atoms.chain) == {"A", "B"}
    far = Gaussians(gaussians.position + 2000, gaussians.amplitude, gaussians.sigma)
    with pytest.raises(DataError, match="beyond 999"):
        write_gaussians_pdb(tmp_path / "far.pdb", far)


def test_latent(tmp_path):
    latent = np.random.default_rng(0).normal(size=(6, 3))
    index = np.array([4, 0, 7, 9, 1, 2])
    write_latent(tmp_path / "mid.txt", index, latent)
    again_index, again = read_latent(tmp_path / "mid.txt")
    np.testing.assert_array_equal(again_index, index)
    np.testing.assert_array_equal(again, latent)
    np.savetxt(tmp_path / "bare.txt", latent)
    again_index, again = read_latent(tmp_path / "bare.txt")
    np.testing.assert_array_equal(again_index, np.arange(6))
    assert again.shape == (6, 3)
    np.savetxt(tmp_path / "repeated.txt", [[0, 1.5], [0, 2.5]])
    again_index, again = read_latent(tmp_path / "repeated.txt")
    np.testing.assert_array_equal(again_index, [0, 1])
    assert again.shape == (2, 2), "the first column is a latent, as it names nothing"
    with pytest.raises(DataError, match="2 indices for 6 latents"):
        write_latent(tmp_path / "mid.txt", [0, 1], latent)


def test_a_table_that_is_one_line_without_end(tmp_path):
    (tmp_path / "mid.txt").write_text("0 1.5\n1 ")
    os.truncate(tmp_path / "mid.txt", 2**33)
    line = refusal(f"read_latent({str(tmp_path / 'mid.txt')!r})", memory=2**25)
    assert "mid.txt: line 2 has more than 1048576 letters" in line


def test_an_index_beyond_all_measure_is_a_latent(tmp_path):
    (tmp_path / "mid.txt").write_text("1e300 1.5\n")
    index, latent = read_latent(tmp_path / "mid.txt")
    assert index.tolist() == [0] and latent.tolist() == [[1e300, 1.5]]


def test_latents_of_eman2():
    index, latent = read_latent(shared_file("formats", "eman2", "e2gmm", "midall_e2gmm_batch_first20.txt"))
    np.testing.assert_array_equal(index, np.arange(20))
    assert latent.shape == (20, 2)
    assert read_latent(shared_file("formats", "eman2", "e2gmm", "mid_heter_first20.txt"))[1].shape == (20, 4)
    model = read_gaussians(shared_file("formats", "eman2", "e2gmm", "model100.txt"), 64, 2.0)
    assert len(model.amplitude) == 100


PDB = """\
ATOM      1  N   ALA A   5      11.000  12.000  13.000  1.00 10.00           N
ATOM      2  CA AALA A   5      12.000  12.000  13.000  0.60 11.00           C
ATOM      3  CA BALA A   5      12.500  12.000  13.000  0.40 12.00           C
HETATM    4  O   HOH A 101      20.000  20.000  20.000  1.00 30.00           O
ATOM      5  P    DA B   1       1.000   2.000   3.000  1.00 20.00           P
END
"""


CIF = """\
data_x
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_seq_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.B_iso_or_equiv
_atom_site.auth_seq_id
_atom_site.auth_asym_id
ATOM 1 C CA . ALA A 1 {x} 2.0 3.0 1.0 10.0 1 A
"""


def test_atoms(tmp_path):
    (tmp_path / "model.pdb").write_text(PDB)
    atoms = read_atoms(tmp_path / "model.pdb")
    assert list(atoms.element) == ["N", "C", "P"], "no water, first alternate location"
    np.testing.assert_array_equal(atoms.position[1], [12, 12, 13])
    np.testing.assert_array_equal(atoms.residue, [5, 5, 1])
    assert len(atoms.take(atoms.chain == "A")) == 2
    (tmp_path / "model.pdb.gz").write_bytes(gzip.compress(PDB.encode()))
    assert len(read_atoms(tmp_path / "model.pdb.gz")) == 3
    (tmp_path / "empty.pdb").write_text("END\n")
    with pytest.raises(DataError, match="expected"):
        read_atoms(tmp_path / "empty.pdb")
    (tmp_path / "bad.cif").write_text("data_x\nloop_\n_a\n")
    with pytest.raises(DataError, match="bad.cif"):
        read_atoms(tmp_path / "bad.cif")


def test_an_atom_beyond_the_world(tmp_path):
    (tmp_path / "model.cif").write_text(CIF.format(x="1e300"))
    with pytest.raises(DataError, match=r"atom 1 \(C, chain A, residue 1\) lies at \[1e\+300, 2.0, 3.0\] Å"):
        read_atoms(tmp_path / "model.cif")
    (tmp_path / "model.cif").write_text(CIF.format(x="?"))
    with pytest.raises(DataError, match=r"lies at \[nan, 2.0, 3.0\] Å"):
        read_atoms(tmp_path / "model.cif")
    (tmp_path / "model.cif").write_text(CIF.format(x="1.5"))
    np.testing.assert_array_equal(read_atoms(tmp_path / "model.cif").position, [[1.5, 2, 3]])


@pytest.mark.parametrize("name", ["model.pdb.gz", "model.cif.gz"])
def test_compressed_structures_that_are_damaged_or_without_end(tmp_path, name):
    whole = gzip.compress(PDB.encode() * 20)
    (tmp_path / name).write_bytes(whole[:-20])
    with pytest.raises(DataError, match="not a readable .gz file"):
        read_atoms(tmp_path / name)
    (tmp_path / name).write_bytes(gzip.compress(b"REMARK\n" * 2**17) * 256)
    assert "bytes of text; expected an atomic model" in refusal(f"read_atoms({str(tmp_path / name)!r})", memory=2**25)


def test_a_structure_of_absurd_length(tmp_path):
    (tmp_path / "model.pdb").write_text(PDB)
    os.truncate(tmp_path / "model.pdb", 2**40)
    assert "more than 1073741824 bytes of text" in refusal(f"read_atoms({str(tmp_path / 'model.pdb')!r})", memory=2**25)


def test_atoms_of_the_archive():
    atoms = read_atoms(shared_file("structures", "transporter", "4ZXB.cif.gz"))
    assert len(atoms) == pytest.approx(12918, rel=0.01)


def test_paths_are_tried_in_order(tmp_path, monkeypatch):
    for name in ("data", "list", "here"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stack.mrcs").write_text(name)
    monkeypatch.chdir(tmp_path / "here")
    source, datadir = tmp_path / "list" / "particles.star", tmp_path / "data"
    for folder in ("data", "list", "here"):
        assert resolve_path("stack.mrcs", source, datadir) == str(tmp_path / folder / "stack.mrcs")
        (tmp_path / folder / "stack.mrcs").unlink()
    with pytest.raises(DataError) as raised:
        resolve_path("stack.mrcs", source, datadir)
    for place in ("data", "list", "here"):
        assert str(tmp_path / place) in str(raised.value)
    (datadir / "moved.mrcs").write_text("")
    assert resolve_path("Extract/job7/moved.mrcs", source, datadir) == str(datadir / "moved.mrcs")
    assert project_path(str(tmp_path / "here" / "x.mrcs")) == "x.mrcs"
    assert project_path(str(tmp_path / "data" / "x.mrcs")) == str(tmp_path / "data" / "x.mrcs")


def test_a_table_of_correlations(tmp_path: Path) -> None:
    write_fsc(tmp_path / "fsc.txt", {"one": np.array([1, 0.5, 0.25]), "two": np.zeros(3)}, 2.0)
    assert (tmp_path / "fsc.txt").read_text().splitlines()[0] == "# spatial frequency (1/A)  one  two"
    table = np.loadtxt(tmp_path / "fsc.txt")
    np.testing.assert_allclose(table.T, [[0, 1 / 12, 2 / 12], [1, 0.5, 0.25], [0, 0, 0]], atol=1e-6)
    with pytest.raises(DataError, match="no"):
        write_fsc(tmp_path / "no" / "fsc.txt", {"one": np.zeros(3)}, 2.0)
