"""Finding stacks: by which rule, in which order, and never one file for two."""

import os
from pathlib import Path

import pytest

from libhetero.errors import DataError
from libhetero.files import absolute_path
from libhetero.io.paths import (
    NameNotHeld,
    project_path,
    require_readable_elsewhere,
    resolve_path,
    resolve_paths,
    stacks_known,
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Folders with files whose contents are their own names; the current one is `here`."""
    for name in ("here/p", "lists/p", "lists/s1/p", "lists/s2/p", "flat/p", "data/s1/p", "here/q", "far/deep/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_order_of_places(project):
    source = project / "lists/list.star"
    for name, datadir, expected in (
        ("p", None, "lists/p"),
        ("q", None, "here/q"),
        ("s1/p", project / "data", "data/s1/p"),
        ("s1/p", project / "flat", "flat/p"),
        ("s2/p", "../data", "lists/s2/p"),
        (str(project / "flat/p"), None, "flat/p"),
    ):
        assert resolve_path(name, source, datadir) == str(project / expected)
    with pytest.raises(DataError, match="--datadir.*list's folder.*current folder"):
        resolve_path("absent", source)


def test_folders_above_the_list_come_last(project):
    """As in a RELION project: names start from it, the list lies in a job's folder, and the user is anywhere."""
    job = project / "lists/Select/job7"
    job.mkdir(parents=True)
    (project / "else").mkdir()
    os.symlink(job / "linked.star", project / "else/linked.star")
    for name, source, expected in (
        ("s1/p", job / "list.star", "lists/s1/p"),
        ("flat/p", job / "list.star", "flat/p"),
        ("q", job / "list.star", "here/q"),
        ("lists/s2/p", job / "list.star", "lists/s2/p"),
        ("s2/p", project / "else/linked.star", "lists/s2/p"),
    ):
        assert resolve_path(name, source) == str(project / expected)


def test_what_is_known_of_a_stack_counts_for_more_than_the_current_folder(project):
    (project / "far/q").write_text("far/q")
    with stacks_known([str(project / name) for name in ("far/q", "flat/p", "lists/p", "gone/s9/p")]):
        assert resolve_path("q", project / "flat/list.star") == str(project / "far/q")
        assert resolve_path("p", project / "data/list.star") == str(project / "here/p"), "two that are known end so"
        assert resolve_path("s1/p", project / "data/list.star") == str(project / "data/s1/p"), "beside the list"
        with pytest.raises(DataError, match="s9/p not found"):
            resolve_path("s9/p", project / "lists/list.star")


def test_two_names_that_become_one_file(project):
    source = project / "lists/list.star"
    with pytest.raises(DataError, match=r"s1/p and s2/p would both be .*flat/p"):
        resolve_paths(["s1/p", "s2/p"], source, project / "flat")
    with pytest.raises(DataError, match="would both be"):
        resolve_paths(["p", "s2/p"], source, project / "flat")
    with pytest.raises(DataError, match="would both be"):
        resolve_paths(["absent1/p", "absent2/p"], source, project / "flat")
    assert resolve_paths(["s1/p", "s2/p"], source) == [str(project / "lists/s1/p"), str(project / "lists/s2/p")]


def test_two_names_of_one_file_stay_one(project):
    source, flat = project / "lists/list.star", str(project / "flat/p")
    os.symlink(project / "lists/s1", project / "lists/other")
    assert resolve_paths(["s1/p", "other/p"], source, project / "flat") == [flat, flat]
    assert resolve_paths(["gone/p", "./gone/p"], source, project / "flat") == [flat, flat]
    assert resolve_paths(["absent"], source, need=False) == [str(project / "here/absent")]


def test_a_link_before_two_dots_is_followed_as_the_system_does(project):
    os.symlink(project / "far/deep", "link")
    (project / "far/p").write_text("far/p")
    assert Path("link/../p").read_text() == "far/p"
    assert Path(absolute_path("link/../p")).read_text() == "far/p"
    assert Path(resolve_path("link/../p", "list.star")).read_text() == "far/p"
    assert absolute_path("../here/q") == str(project / "here/q")
    assert absolute_path("new/../q") == str(project / "here/q")
    assert absolute_path("link/x") == str(project / "here/link/x")
    assert Path(absolute_path("link/..") + "/p").read_text() == "far/p"


def test_names_in_a_project(project):
    assert project_path(str(project / "here/q")) == "q"
    assert project_path(str(project / "lists/p")) == str(project / "lists/p")
    assert project_path(str(project / "here/..odd/p")) == "..odd/p"


def test_stacks_of_eman2_are_not_named_for_others():
    require_readable_elsewhere(["a.mrcs", "b.mrc", "c.st"], "l.star")
    for name in ("a.hdf", "a.HDF", "b.h5"):
        with pytest.raises(NameNotHeld, match=r"l\.star.*--stack"):
            require_readable_elsewhere(["a.mrcs", name], "l.star")
