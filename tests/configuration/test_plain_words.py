"""What is wrong with a value, in words that a user of these programs reads."""

import dataclasses
from typing import Annotated, Any, Literal

import msgspec
import pytest

from libhetero.configuration import wrong_value


@dataclasses.dataclass(frozen=True)
class Own:
    """A value with one name."""

    size: int


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (int, "a", "expected a whole number, got a text"),
        (int, 1.5, "expected a whole number, got a number with a decimal point"),
        (int | None, [], "expected a whole number or null, got a list"),
        (float, None, "expected a number, got null"),
        (float, 10**400, "expected a number within reach of a computer"),
        (bool, 1, "expected true or false, got a whole number"),
        (list[float] | float, {}, "expected a number or a list, got an object {…}"),
        (Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)], 1e9, "expected a number of at most 1000000"),
        (Annotated[float, msgspec.Meta(ge=0.5)], 0.0, "expected a number of at least 0.5"),
        (Annotated[float, msgspec.Meta(gt=0)], 0.0, "expected a number above 0"),
        (Annotated[float, msgspec.Meta(lt=1)], 1.0, "expected a number below 1"),
        (Annotated[int, msgspec.Meta(le=9)], 10, "expected a whole number of at most 9"),
        (Annotated[str, msgspec.Meta(max_length=3)], "abcd", "expected a text of at most 3 characters"),
        (Annotated[list[int], msgspec.Meta(min_length=2)], [1], "expected a list of at least 2 values"),
        (tuple[int, int], [1], "expected a list of 2 values, got 1"),
        (Literal["a", "b"], "c", "expected one of the values known, got 'c'"),
        (dict[str, list[int]], {"x": [1, "y"]}, "[...][1]: expected a whole number, got a text"),
        (Own, {}, "lacks size"),
        (list[Own], [{"size": "3"}], "[0].size: expected a whole number, got a text"),
    ],
)
def test_what_a_schema_says(kind: Any, value: Any, words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as told:
        msgspec.convert(value, kind)
    assert str(wrong_value(str(told.value))) == words


def test_what_a_class_says_itself_is_kept() -> None:
    assert str(wrong_value("size is above `5`; give less. - at `$.own`")) == "own: size is above 5; give less."
