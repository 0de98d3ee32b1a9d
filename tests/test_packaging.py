"""What is built, installed and cited agrees with itself: versions, dependencies, Pythons, files of the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import libhetero

PROJECT = Path(__file__).resolve().parent.parent
CONDA = PROJECT / "examples" / "conda" / "recipe.yaml"
CONDA_NAMES = {"matplotlib": "matplotlib-base"}  # without a toolkit for windows
WORKFLOWS = PROJECT / ".github" / "workflows"


def _metadata() -> dict[str, Any]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _required(*extras: str) -> list[Requirement]:
    """Return what is required without an extra, or by some extras."""
    project = _metadata()["project"]
    lines = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [Requirement(line) for line in (lines if extras else project["dependencies"])]


def test_every_file_of_the_package_is_installed() -> None:
    """A new kind of file beside the modules would be in the repository, and missing for who installs it."""
    package = PROJECT / "libhetero"
    patterns = _metadata()["tool"]["setuptools"]["package-data"]["libhetero"]
    taken = {path for pattern in patterns for path in package.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert others - taken == set()
    assert package / "py.typed" in others


def test_the_licenses_of_what_is_shipped_are_shipped() -> None:
    names = _metadata()["project"]["license-files"]
    shipped = {path.name for pattern in names for path in PROJECT.glob(pattern)}
    vendored = {path.name for path in (PROJECT / "libhetero").rglob("*.LICENSE")}
    assert shipped == {"LICENSE", *vendored} and vendored


def test_the_source_distribution_has_what_the_tests_read() -> None:
    lines = (PROJECT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
    files = {word for line in lines if line.startswith("include ") for word in line.split()[1:]}
    folders = {line.split()[1] for line in lines if line.startswith("recursive-include ")}
    assert {"mkdocs.yml", ".gitignore", "Makefile"} <= files
    assert {".ci", ".github", "benchmarks", "docs", "examples", "programs", "tests"} == folders
    assert all((PROJECT / name).is_file() for name in files) and all((PROJECT / name).is_dir() for name in folders)


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-docs.txt"])
def test_the_tested_versions_are_of_what_is_required_and_new_enough(name: str) -> None:
    lines = (PROJECT / "examples" / "install" / name).read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {canonicalize_name(pin.name): Version(str(pin.specifier).removeprefix("==")) for pin in pins}
    assert len(versions) == len(pins)
    docs = name == "constraints-docs.txt"
    required = _required("docs") if docs else [*_required(), *_required("test", "dashboard", "tensorboard")]
    lacking = [str(each) for each in required if canonicalize_name(each.name) not in versions]
    assert lacking == []
    assert [str(each) for each in required if versions[canonicalize_name(each.name)] not in each.specifier] == []


def test_the_extra_all_has_what_no_accelerator_is_needed_for() -> None:
    (asked,) = _required("all")
    extras = set(_metadata()["project"]["optional-dependencies"])
    assert asked.name == "libhetero"
    assert asked.extras == extras - {"all", "docs", "test"} - {"gpu", "gpu13", "tpu"}


def test_the_pythons_that_are_named_are_those_that_are_tested() -> None:
    project = _metadata()["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert project["requires-python"] == f">={named[0]}"
    assert _yaml(WORKFLOWS / "tests.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"] == named


def test_the_conda_recipe_asks_for_the_same() -> None:
    recipe = _yaml(CONDA)
    assert recipe["context"]["version"] == libhetero.__version__
    assert f">={recipe['context']['python_min']}" == _metadata()["project"]["requires-python"]

    def conda(required: list[Requirement]) -> set[str]:
        return {f"{CONDA_NAMES.get(each.name, each.name.lower())} {each.specifier}" for each in required}

    asked = set(recipe["requirements"]["run"]) - {"python >=${{ python_min }}"}
    assert asked == conda(_required())
    assert set(recipe["requirements"]["run_constraints"]) == conda(_required("dashboard", "tensorboard"))
    (backend,) = _metadata()["build-system"]["requires"]
    assert backend.replace(">", " >", 1) in recipe["requirements"]["host"]
    scripts = [f"{name} = {place}" for name, place in _metadata()["project"]["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == scripts
    assert recipe["about"]["license_file"] == _metadata()["project"]["license-files"]


def test_one_version_and_one_date_stand_everywhere() -> None:
    cited = _yaml(PROJECT / "CITATION.cff")
    assert cited["version"] == libhetero.__version__
    text = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[([^]]+)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert released[0] == ("Unreleased", "")
    assert released[1] == (libhetero.__version__, cited["date-released"])
    module = (PROJECT / "examples" / "modules" / "libhetero.lua").read_text(encoding="utf-8")
    assert re.findall(r'^local version = "(.*)"$', module, re.MULTILINE) == [libhetero.__version__]
    for page in ("docs/install.md", "docs/clusters.md", "examples/modules/libhetero.lua"):
        text = (PROJECT / page).read_text(encoding="utf-8")
        assert set(re.findall(r"libhetero[-/](\d+\.\d+\.\d+)", text)) == {libhetero.__version__}


@pytest.mark.parametrize("name", ["defect.yml", "question.yml"])
def test_who_reports_something_is_asked_for_the_report(name: str) -> None:
    form = _yaml(PROJECT / ".github" / "ISSUE_TEMPLATE" / name)
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field["attributes"]["label"] == "e2hype_version.py --report" for field in fields)


def test_only_the_job_that_publishes_may_say_who_it_is() -> None:
    paths = sorted(WORKFLOWS.glob("*.yml"))
    assert [path.name for path in paths] == ["release.yml", "tests.yml"]
    for path in paths:
        workflow = _yaml(path)
        assert workflow["permissions"] == {"contents": "read"}, path.name
        allowed = {name: job.get("permissions") for name, job in workflow["jobs"].items() if "permissions" in job}
        assert allowed == ({"publish": {"id-token": "write"}} if path.name == "release.yml" else {}), path.name
