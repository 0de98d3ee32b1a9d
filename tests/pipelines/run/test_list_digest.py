"""What tells a list of particles from another: rows and names, and with equal names how the particles are seen."""

import dataclasses

import numpy as np
import pytest

from libhetero.pipelines.run.list_digest import LONGEST, is_of_list, list_digest
from tests.making.particles import make_particles

PARTICLES = dataclasses.replace(
    make_particles(200), files=("/a/stack.mrcs", "/b/second.mrcs"), file_id=np.arange(200) % 2
)
DIGEST = list_digest(PARTICLES)


def with_defocus(change):
    """Return the particles with other defocus."""
    ctf = PARTICLES.ctf
    values = {name: change(getattr(ctf, name)) for name in ("defocus_u", "defocus_v")}
    return dataclasses.replace(PARTICLES, ctf=dataclasses.replace(ctf, **values))


def is_same(particles) -> bool:
    return is_of_list(DIGEST, list_digest(particles))


def test_a_digest_is_of_the_list_and_not_of_where_it_lies() -> None:
    assert is_same(dataclasses.replace(PARTICLES, files=("/c/stack.mrcs", "second.mrcs")))
    assert not is_same(PARTICLES.take(np.arange(200)[::-1]))
    assert not is_same(dataclasses.replace(PARTICLES, files=("/a/other.mrcs", "/b/second.mrcs")))
    assert not is_same(PARTICLES.take(slice(1, None)))
    assert len(DIGEST) < LONGEST


@pytest.mark.parametrize(
    "change",
    [
        lambda defocus: np.round(defocus, -1),
        lambda defocus: defocus + 400,
        lambda defocus: defocus + np.random.default_rng(3).normal(size=200) * 300,
    ],
    ids=["rounded", "all moved", "each moved"],
)
def test_what_a_refinement_changes_leaves_it_the_same_list(change) -> None:
    pose = dataclasses.replace(PARTICLES.pose, rotation=PARTICLES.pose.rotation[:, ::-1])
    assert is_same(dataclasses.replace(with_defocus(change), pose=pose, pixel_size=PARTICLES.pixel_size * 1.02))


def test_another_set_of_the_same_names_and_number_is_another_list() -> None:
    other = 10000 + 15000 * np.random.default_rng(4).random(200)
    assert not is_same(with_defocus(lambda _: other))
    assert not is_same(dataclasses.replace(PARTICLES, box_size=np.full(200, 48)))


def test_what_only_one_of_two_tells_is_not_compared() -> None:
    bare = list_digest(dataclasses.replace(PARTICLES, ctf=None))
    assert is_of_list(bare, DIGEST) and is_of_list(DIGEST, bare)
    assert is_of_list(DIGEST[:16], DIGEST), "a table without the box"
    assert not is_of_list("", DIGEST) and not is_of_list(f"{bare} none of ours", DIGEST)
