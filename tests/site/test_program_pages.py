"""The page of a program says what its parser says, of every option."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

# In a process of its own: here the tests' hook would check every annotation of every recipe, which takes longer.
CODE = """
import json, pathlib, sys
sys.path.insert(0, "docs/_site")
import program_pages
project = pathlib.Path.cwd()
options = {
    path.name: [(action.option_strings or [action.metavar or "{" + ",".join(action.choices) + "}"])[0]
                for action in program_pages.loaded(path).build_parser()._actions if action.dest != "help"]
    for path in program_pages.programs(project)
}
json.dump({"pages": program_pages.pages(project), "options": options}, sys.stdout)
"""


@pytest.fixture(scope="module")
def made(request):
    """The pages of all programs by their paths, and the options of their parsers."""
    root = request.config.rootpath
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=root, env=environment, capture_output=True, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def pages(made):
    """The pages of all programs, by their paths."""
    return made["pages"]


def test_every_option_of_every_program_has_an_entry(made) -> None:
    missing = []
    for name, options in made["options"].items():
        text = made["pages"][f"programs/{name.removesuffix('.py')}.md"]
        anchors = re.findall(r"^#### .* \{ #(\S+) \}$", text, re.MULTILINE)
        assert len(anchors) == len(set(anchors)), name
        headings = re.findall(r"^#### `(.*)` \{", text, re.MULTILINE)
        missing += [
            f"{name} {option}" for option in options if not any(option in re.split(", | ", one) for one in headings)
        ]
    assert len(made["options"]) > 10 and not missing


def test_an_option_has_its_unit_limits_and_default(pages) -> None:
    text = pages["programs/e2hype_segment.md"]
    entry = text.split("{ #--components }")[1].split("####")[0]
    assert "Accepted: 2 to 1024." in entry and re.search(r"Default: \d", entry)
    assert "#### `--apix Å` { #--apix }" in pages["programs/e2hype_refine.md"]
    precision = pages["programs/e2hype_refine.md"].split("{ #--precision }")[1].split("####")[0]
    assert "Default: auto." in precision and "(default:" not in precision
    assert "`--precision {auto,float32,bfloat16}` { #--precision }" in pages["programs/e2hype_refine.md"]


def test_examples_are_commands_with_comments(pages) -> None:
    block = re.search(r"```bash\n(.*?)```", pages["programs/e2hype_list.md"], re.DOTALL)[1]
    assert "e2hype_list.py a.star b.star  # how many particles they share\n" in block


def test_plain_text_is_shown_as_it_is(site_module) -> None:
    inline = site_module("program_pages").inline
    assert inline("classes_*.txt and <x> [0, 0]") == r"`classes_*.txt` and \<x\> \[0, 0\]"
    assert inline("with --no_x, see e2hype_list.py") == "with `--no_x`, see [`e2hype_list.py`](e2hype_list.md)"
    assert inline("half-sets - a hyphen, RUN/volumes, .lst") == "half-sets - a hyphen, `RUN/volumes`, `.lst`"


def test_names_with_meanings_become_a_list(pages) -> None:
    assert "\n- **motion**: a complex whose pieces" in pages["programs/e2hype_simulate.md"]


def test_the_table_has_every_program_in_the_order_of_the_readme(site_module, request) -> None:
    project = request.config.rootpath
    table = site_module("program_pages").table(project, "programs/")
    named = re.findall(r"^\| \[`(e2hype_\w+\.py)`\]\(programs/e2hype_\w+\.md\) \| \S", table, re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in (project / "programs").glob("e2hype_*.py"))
    readme = (project / "README.md").read_text(encoding="utf-8")
    places = [readme.find(name) for name in named if name in readme]
    assert places == sorted(places)
