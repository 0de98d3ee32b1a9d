"""Compact pieces: each residue in one, the core in the middle."""

import numpy as np

from libhetero.simulate.compact import compact_pieces, piece_names


def test_clumps_become_pieces_and_the_middle_one_the_core() -> None:
    random = np.random.default_rng(0)
    middle = np.array([[-20.0, 0, 0], [0, 1, 0], [25, 0, 0]])
    clump = np.repeat([2, 0, 1], [30, 40, 20])
    position = middle[clump] + random.normal(size=(90, 3))
    piece = compact_pieces(position, 2, 4)
    assert piece.dtype == np.int32
    np.testing.assert_array_equal(piece == 0, clump == 1)
    assert len(set(piece[clump == 0])) == len(set(piece[clump == 2])) == 1 and set(piece) == {0, 1, 2}
    np.testing.assert_array_equal(piece, compact_pieces(position, 2, 4))


def test_names_begin_with_the_core() -> None:
    assert piece_names(2) == ("core", "piece1", "piece2") and piece_names(1, "2CG9") == ("2CG9", "piece1")
