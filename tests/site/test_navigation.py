"""Patterns in the navigation become pages."""

from __future__ import annotations


def test_a_pattern_gives_what_is_not_named_beside_it(site_module, tmp_path) -> None:
    for name in ("from_b", "from_a", "question", "another"):
        (tmp_path / "howto").mkdir(exist_ok=True)
        (tmp_path / "howto" / f"{name}.md").write_text("")
    nav = ["index.md", {"How to": [{"From A": "howto/from_a.md"}, "howto/from_*.md", "howto/*.md", "z/*.md"]}]
    made = {"z/*.md": [{"Z": "z/1.md"}]}
    expanded = site_module("navigation").expanded(nav, tmp_path, made)
    assert expanded[0] == "index.md"
    assert expanded[1]["How to"] == [
        {"From A": "howto/from_a.md"},
        "howto/from_b.md",
        "howto/another.md",
        "howto/question.md",
        {"Z": "z/1.md"},
    ]
