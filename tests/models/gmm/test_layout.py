"""What of a Gaussian varies, and in which columns."""

from itertools import combinations

import numpy as np
import pytest

from libhetero.models.gmm.changes import parts_of
from libhetero.models.gmm.layout import LETTERS, Layout

ALL = ["".join(letters) for count in (1, 2, 3) for letters in combinations(LETTERS, count)]


@pytest.mark.parametrize("letters", ALL)
def test_columns_follow_the_letters_in_any_order(letters: str) -> None:
    layout = Layout.of(letters[::-1])
    assert layout.letters == letters
    assert layout.kinds == letters.replace("p", "ppp")
    for letter, columns in zip(LETTERS, layout.columns(), strict=True):
        assert layout.kinds[columns] == {"p": "ppp"}.get(letter, letter) * (letter in letters)


@pytest.mark.parametrize("letters", ALL)
@pytest.mark.parametrize("rest", [(), (2,)])
def test_parts_are_the_columns_and_zeros_for_what_does_not_change(letters: str, rest: tuple[int, ...]) -> None:
    layout = Layout.of(letters)
    change = np.random.default_rng(0).normal(size=(4, len(layout.kinds), *rest)).astype(np.float32)
    position, amplitude, width = parts_of(layout, change)
    assert position.shape == (4, 3, *rest) and amplitude.shape == width.shape == (4, *rest)
    joined = layout.chosen(position=[position], amplitude=[amplitude[:, None]], width=[width[:, None]])
    np.testing.assert_array_equal(np.concatenate(joined, axis=1), change)
    for letter, part in zip(LETTERS, (position, amplitude, width), strict=True):
        assert np.any(part) == (letter in letters)


def test_widths_are_not_solved_for_and_positions_need_a_step_more() -> None:
    assert [Layout.of(letters).linear.letters for letters in ("pas", "as", "s")] == ["pa", "a", ""]
    assert [Layout.of(letters).newton_steps for letters in ("p", "pas", "a", "as")] == [6, 6, 2, 2]
