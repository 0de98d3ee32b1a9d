"""What a schema says of a wrong value, in the words of people: "a number of at most 2", not "`float` <= 2.0"."""

from __future__ import annotations

import re
from dataclasses import dataclass

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object {…}",
}
SIDES = {">=": "of at least", "<=": "of at most", ">": "above", "<": "below"}
SAID = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<place>[^`]*)`)?", re.DOTALL)
LACKING = re.compile(r"Object missing required field `(.*)`")
LIMITED = re.compile(r"`(?P<kind>[^`]*)`(?: (?P<length>of length )?(?P<side>[<>]=? )?(?P<limit>[^ ]+))?")


@dataclass(frozen=True)
class WrongValue:
    """A value that is not what it should be.

    Parameters
    ----------
    place : of the value, as `training.epochs` or `[0].name`; "" for the whole.
    lacks : the name that an object has not; "" where another thing is wrong.
    expected, got : in words; "" where the schema does not say.
    other : what else is wrong, as whoever checked the value said it.
    """

    place: str
    lacks: str = ""
    expected: str = ""
    got: str = ""
    other: str = ""

    def __str__(self) -> str:
        what = f"lacks {self.lacks}" if self.lacks else self.other or f"expected {self.expected}"
        what += f", got {self.got}" if self.got else ""
        return f"{self.place}: {what}" if self.place else what


def wrong_value(said: str) -> WrongValue:
    """Return what msgspec says of a value: Expected `int`, got `str` - at `$.training.epochs`."""
    found = SAID.fullmatch(said)
    what, place = (said, "") if found is None else (found["what"], found["place"] or "")
    lacking = LACKING.fullmatch(what)
    if lacking:
        return WrongValue(place, lacks=lacking[1])
    if what == "Number out of range":
        return WrongValue(place, expected="a number within reach of a computer")
    if what.startswith("Invalid enum value "):
        return WrongValue(place, expected="one of the values known", got=what.removeprefix("Invalid enum value "))
    if not what.startswith("Expected `"):
        return WrongValue(place, other=what.replace("`", ""))  # of the class that was to be made
    expected, _, got = what.removeprefix("Expected ").partition(", got ")
    got = "a number with a decimal point" if got == "`float`" else _kind(got)
    return WrongValue(place, expected=_kind(expected), got=got)


def _kind(text: str) -> str:
    """Return in words a kind of JSON, or several, with its limit if it has one."""
    found = LIMITED.fullmatch(text)
    if found is None:
        return text.replace("`", "")
    words = " or ".join(KINDS.get(kind, kind) for kind in found["kind"].split(" | "))
    if not found["limit"]:
        return words
    side = SIDES[found["side"].strip()] if found["side"] else "of"
    limit = found["limit"].removesuffix(".0")
    if not found["length"]:
        return f"{words} {side} {limit}"
    unit = "characters" if found["kind"] == "str" else "values"
    return f"{words} {side} {limit} {unit}"
