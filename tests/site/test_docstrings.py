"""Docstrings as they are written here become those of NumPy's style, in which a colon precedes a type."""

from __future__ import annotations

WRITTEN = """Return what is asked for.

    a = b : no item

Parameters
----------
first : what it is,
    Å.
second, third : two of a kind.

Prose below.

Returns
-------
A map, and
how far it goes.

Raises
------
DataError : where it is none.

References
----------
Somebody (2020) : a title.
"""


def test_descriptions_stand_below_their_names(site_module) -> None:
    assert site_module("docstrings").described(WRITTEN).splitlines() == [
        "Return what is asked for.", "", "    a = b : no item", "",
        "Prose below.", "",
        "Parameters", "----------",
        "first", "    what it is,", "    Å.",
        "second", "    two of a kind.", "third", "    two of a kind.", "",
        "Returns", "-------", ":", "    A map, and", "    how far it goes.", "",
        "Raises", "------", "DataError", "    where it is none.", "",
        "References", "----------", "Somebody (2020) : a title.",
    ]  # fmt: skip


def test_keywords_of_a_function_that_takes_any_are_a_list_of_their_own(site_module) -> None:
    text = site_module("docstrings").described(WRITTEN, keywords_beside=["first", "others"])
    assert text.endswith("By keyword\n----------\n- `second`: two of a kind.\n- `third`: two of a kind.")
    assert "first\n    what it is," in text and "second\n" not in text


def test_what_has_no_sections_stays_as_it_is(site_module) -> None:
    assert site_module("docstrings").described("One line : of text.\n\nMore.") == "One line : of text.\n\nMore."
