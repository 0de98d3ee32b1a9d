"""Particle sets: which particles lie in which stack."""

import numpy as np

from libhetero.records import ParticleSet


def test_rows_by_file_are_those_of_each_stack_in_order() -> None:
    file_id = np.array([2, 0, 2, 2, 0])
    particles = ParticleSet(
        files=("a.mrcs", "unused.mrcs", "b.mrcs"),
        file_id=file_id,
        image_index=np.arange(5),
        box_size=np.full(5, 32),
        pixel_size=np.ones(5),
    )
    found = {name: rows.tolist() for name, rows in particles.rows_by_file()}
    assert found == {0: [1, 4], 2: [0, 2, 3]}
    assert list(particles.take(np.array([], int)).rows_by_file()) == []
