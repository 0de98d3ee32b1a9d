"""How benchmarks/handover.py compares what a peer read, with a list of ours and the starfile package as the peer."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from libhetero.io import ImageReader, read_particles, write_particles
from tests.making.particles import sample_particles


@pytest.fixture
def handover(load):
    return load("handover")


@pytest.fixture
def readers(load):
    return load("peer_readers")


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    """Particles in two stacks and the sums of their pixels, without a scale of the CTF, as the benchmark has them."""
    monkeypatch.chdir(tmp_path)
    particles, images = sample_particles(tmp_path)
    ctf = dataclasses.replace(particles.ctf, scale=np.ones(len(particles)))
    return dataclasses.replace(particles, ctf=ctf, group=None), images.sum(axis=(1, 2), dtype=np.float64)


@pytest.mark.parametrize("chosen", [None, (4, 1, 7)])
def test_a_list_of_ours_is_the_same_to_starfile(handover, readers, simulated, chosen) -> None:
    particles, sums = simulated
    listed = particles if chosen is None else particles.take(np.array(chosen))
    write_particles("particles.star", listed)
    found = readers.starfile("particles.star")
    differences, wrong = handover.compare(handover.expected_of(particles, sums, chosen), found)
    assert not wrong and {"rotation", "shift", "phase_shift", "half", "pixel_sum"} <= differences.keys()


def test_a_relion30_list_is_written_as_relion_does(handover, readers, simulated, monkeypatch) -> None:
    particles, sums = simulated
    monkeypatch.setattr(handover, "PIXEL", float(particles.pixel_size[0]))
    first = np.flatnonzero(particles.file_id == 0)
    handover.write_relion30(particles.take(first), Path("r30.star"), "first.mrcs")
    expected = handover.expected_of(particles, sums, first)
    assert not handover.compare(expected, readers.starfile("r30.star"))[1]
    again = read_particles("r30.star")
    with ImageReader(again) as reader:
        np.testing.assert_allclose(reader.read(np.arange(len(first))).sum(axis=(1, 2)), sums[first], atol=1e-3)
    np.testing.assert_allclose(again.pose.rotation, particles.pose.rotation[first], atol=1e-5)


def changed(found: dict, name: str, by: float) -> dict:
    return {**found, name: found[name] + by}


@pytest.mark.parametrize(
    ("name", "by"),
    [("shift", 0.1), ("defocus_u", 5.0), ("amplitude_contrast", 4e-5), ("pixel_sum", 1.0), ("phase_shift", 0.1)],
)
def test_a_difference_is_told(handover, simulated, name, by) -> None:
    expected = handover.expected_of(*simulated, None)
    differences, wrong = handover.compare(expected, changed(expected, name, by))
    assert differences[name] == pytest.approx(by, rel=1e-3) and wrong == [
        line for line in wrong if line.startswith(name)
    ]
    assert len(wrong) == 1


def test_what_is_the_same_and_looks_otherwise(handover, simulated) -> None:
    expected = handover.expected_of(*simulated, None)
    assert not handover.compare(expected, changed(expected, "defocus_angle", 180.0))[1]
    round_ = {**expected, "defocus_v": expected["defocus_u"]}
    assert not handover.compare(round_, changed(round_, "defocus_angle", 30.0))[1], "no astigmatism has no angle"


def test_the_transpose_and_fewer_particles_are_told(handover, simulated) -> None:
    expected = handover.expected_of(*simulated, None)
    turned = {**expected, "rotation": expected["rotation"].transpose(0, 2, 1)}
    assert "rotation differs" in handover.compare(expected, turned)[1][0]
    fewer = {name: values[:-1] for name, values in expected.items()}
    assert handover.compare(expected, fewer) == (
        {},
        [f"{len(expected['pixel_sum']) - 1} particles; expected {len(expected['pixel_sum'])}"],
    )


def test_rotations_of_angles_and_vectors(handover) -> None:
    example = np.array([[0.863606, 0.086270, -0.496732], [0.346742, 0.613606, 0.709406], [0.365998, -0.784886, 0.5]])
    angles = np.array([[25.0 - 90, 60.0, -35.0 + 90]])  # of docs/conventions.md
    np.testing.assert_allclose(handover.rotation_of({"angles": angles})[0], example, atol=1e-6)
    vector = np.array([[0.0, 0.0, np.pi / 2]])  # cryoSPARC: R is the transpose of the active rotation
    np.testing.assert_allclose(handover.rotation_of({"rotation_vector": vector})[0] @ [1, 0, 0], [0, -1, 0], atol=1e-12)


def test_groups_hold_one_optics_each(handover) -> None:
    optics = np.array([[300, 2.7], [200, 2.0], [300, 2.7]])
    assert handover.grouped_alike(optics, np.array([1, 2, 1])) and handover.grouped_alike(optics, np.array([1, 2, 3]))
    assert not handover.grouped_alike(optics, np.array([1, 1, 1]))


def test_shell_correlation(handover) -> None:
    random = np.random.default_rng(0)
    volume, noise = random.normal(size=(2, 16, 16, 16))
    assert handover.shell_correlation(volume, 3 * volume) == pytest.approx(np.ones(7))
    assert handover.shell_correlation(volume, -volume) == pytest.approx(-np.ones(7))
    assert abs(handover.shell_correlation(volume, noise)[3:]).max() < 0.3
    assert handover.alike(volume, 3 * volume) == pytest.approx(1) and handover.alike(volume, noise) < 0.3


def test_the_page_tells_what_differs(handover) -> None:
    rows = [
        handover.Row(".star → .cs", "recovar", {"shift": 1e-6}),
        handover.Row("class_00.star", "RELION", {}, {"FSC to truth": 0.9}, ["rotation differs by 1"]),
        handover.Row("a space", "ASPIRE", note="not read: it knows no quotes"),
    ]
    page = handover.markdown(rows, {"RELION": "3.1.3"})
    assert "| .star → .cs | recovar | 1 quantities, shift 1e-06 Å | the same |" in page
    assert "| a space | ASPIRE |  | not read: it knows no quotes |" in page
    assert "**rotation differs by 1**" in page and "RELION 3.1.3" in page


def test_what_a_peer_cannot_read_is_no_difference(handover, simulated) -> None:
    expected = handover.expected_of(*simulated, None)
    for unread, wrong, note in (({}, ["ValueError: no"], ""), ({"aspire": "no quotes"}, [], "not read: no quotes")):
        export = handover.Export("a space", "gap.star", unread=unread)
        row = handover.peer_row("aspire", export, {"error": np.array("ValueError: no")}, expected)
        assert (row.wrong, row.note) == (wrong, note)
