"""Configurations as JSON: strict, nested, never half-written."""

import dataclasses
import os
from pathlib import Path

import pytest

from libhetero.configuration.files import from_dict, read_document, read_json, to_dict, write_json
from libhetero.errors import ConfigurationError, UserError


@dataclasses.dataclass(frozen=True)
class Inner:
    """A configuration within one."""

    levels: tuple[int, ...] = (1, 2)


@dataclasses.dataclass(frozen=True)
class Outer:
    """A configuration."""

    name: str = "one"
    inner: Inner = dataclasses.field(default_factory=Inner)


@dataclasses.dataclass(frozen=True)
class Document:
    """What another program wrote."""

    box: int


def test_what_is_saved_is_read_back() -> None:
    outer = Outer("two", Inner((3, 4, 5)))
    assert from_dict(Outer, to_dict(outer)) == outer
    assert from_dict(Outer, {"name": "two"}) == Outer("two")


@pytest.mark.parametrize("values", [{"colour": 1}, {"name": "x", "colour": 1}, {"inner": {"colour": 1}}])
def test_an_unknown_key_is_an_error(values: dict) -> None:
    with pytest.raises(ConfigurationError, match="unknown key colour"):
        from_dict(Outer, values)


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.json"
    write_json(path, {"one": 1})

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="no space left"):
        write_json(path, {"one": 2})
    assert read_json(path) == {"one": 1} and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file"),
        ("{", "not valid JSON"),
        ("[1]", "expected a JSON object, found an array"),
        ("null", "found null"),
    ],
)
def test_a_file_that_holds_no_configuration(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        read_json(tmp_path / "config.json")


def test_what_a_document_lacks_is_told_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    for text, words in (('{"other": 1}', "lacks box"), ('{"box": "3"}', "box: expected a whole number, got a text")):
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=rf"truth.json: Document: {words}; restore the file, or make it"):
            read_document(path, Document)
