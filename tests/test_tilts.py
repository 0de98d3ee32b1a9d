"""Which images show one particle."""

import jax
import numpy as np

from libhetero.tilts import images_alone, rows_of_particles, taken
from tests.making.series import in_series


def test_images_of_each_particle_are_found_wherever_they_stand() -> None:
    rows, there = rows_of_particles(np.array([7, 2, 7, 5, 2, 7]))
    np.testing.assert_array_equal(rows[there], [0, 2, 5, 1, 4, 3])
    np.testing.assert_array_equal(there, [[True, True, True], [True, True, False], [True, False, False]])
    np.testing.assert_array_equal(rows[~there], [1, 3, 3])  # repeats of the first


def test_single_images_are_particles_of_one() -> None:
    rows, there = rows_of_particles(np.arange(4))
    np.testing.assert_array_equal(rows, np.arange(4)[:, None])
    assert there.all()
    assert rows_of_particles(np.zeros(0, np.int64))[0].shape == (0, 0)


def test_particles_are_taken_whole_and_images_without_their_padding() -> None:
    batch = in_series(6, 3, lacking=(4, 5))
    chosen = taken(batch, np.array([1]))
    assert chosen.views == 3
    np.testing.assert_array_equal(chosen.index, [3, 4, 5])
    alone = images_alone(batch)
    assert alone.views == 1
    np.testing.assert_array_equal(alone.index, [0, 1, 2, 3])
    assert images_alone(alone) is alone


def test_the_number_of_views_is_part_of_the_structure() -> None:
    batch = in_series(6, 3)
    again = jax.jit(lambda given: given)(batch)
    assert again.views == 3
    assert jax.tree.structure(batch) != jax.tree.structure(in_series(6, 2))
