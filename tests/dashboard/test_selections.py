"""Selections: what an expression chooses, what is written of it, and who gets in whose way."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import threading

import numpy as np
import pytest

from libhetero.dashboard import selections
from libhetero.dashboard.columns import Column, Columns
from libhetero.dashboard.refusals import Refusal
from libhetero.dashboard.runs import ServedRun
from libhetero.dashboard.selections import again, chosen, inside_polygon, rows_of_file, save
from libhetero.dashboard.session import described
from libhetero.errors import UserError
from libhetero.io import read_particles, write_latent, write_particles
from tests.making.sets import write_tiny_set
from tests.making.shown_runs import COUNT, latents, write_shown_run
from tests.reference.eman2_files import read_list

SQUARE = [[-3, -9], [3, -9], [3, 9], [-3, 9]]
LASSO = {"lasso": SQUARE, "x": "z1", "y": "z2"}
EVEN, ALL = np.arange(0, COUNT, 2), np.arange(COUNT)


@pytest.fixture
def served(run):
    return ServedRun(0, run, "gmm_00")


def rows_of(served, how):
    return np.flatnonzero(chosen(served, Columns(served), how))


def packed(rows) -> str:
    return base64.b64encode(np.asarray(rows, "<u4").tobytes()).decode()


def test_expressions_choose_what_they_say(served) -> None:
    z1 = latents()[:, 0].astype(np.float32)
    np.testing.assert_array_equal(rows_of(served, LASSO), np.flatnonzero(np.abs(z1) < 3))
    np.testing.assert_array_equal(rows_of(served, {"column": "z1", "from": 3}), np.flatnonzero(z1 >= 3))
    np.testing.assert_array_equal(rows_of(served, {"column": "junk", "to": 0.5}), ALL[ALL % 10 != 9])
    cluster = {"class": 0, "of": "umap_classes_2"}
    np.testing.assert_array_equal(rows_of(served, cluster), EVEN)
    np.testing.assert_array_equal(rows_of(served, {"class": 1, "of": "motion", "region": 1}), EVEN + 1)
    np.testing.assert_array_equal(rows_of(served, {"not": cluster}), EVEN + 1)
    few = {"rows": [0, 1, 2]}
    np.testing.assert_array_equal(rows_of(served, {"and": [cluster, few]}), [0, 2])
    np.testing.assert_array_equal(rows_of(served, {"minus": [few, cluster]}), [1])
    np.testing.assert_array_equal(rows_of(served, {"or": [{"rows": [5]}, {"rows": []}, few]}), [0, 1, 2, 5])


def test_a_missing_value_is_in_no_range(served, run) -> None:
    write_latent(run / "mid_00.txt", np.arange(5), latents()[:5])
    assert len(rows_of(served, {"column": "z1"})) == 5
    assert len(rows_of(served, {**LASSO, "lasso": [[-99, -99], [99, -99], [99, 99], [-99, 99]]})) == 5


def test_ranges_are_compared_as_the_page_compares_them(served) -> None:
    """Single precision has no 0.1, and what it has in its place is above it."""
    assert not len(rows_of(served, {"column": "contrast_sd", "to": 0.1}))
    assert len(rows_of(served, {"column": "contrast_sd", "from": 0.1})) == COUNT


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"column": "none"},
        {"column": "z1", "from": "a"},
        {"column": "z1", "from": True},
        {"column": ["z1"]},
        {"class": 0, "of": "none"},
        {"class": 0, "of": "motion", "region": "1"},
        {"lasso": [[0, 0], [1, 1]], "x": "z1", "y": "z2"},
        {"lasso": [[0, 0], [1, float("inf")], [1, 0]], "x": "z1", "y": "z2"},
        {"lasso": "a", "x": "z1", "y": "z2"},
        {"and": []},
        {"and": "a"},
        {"rows": [99]},
        {"selection": "none"},
        {"selection": "../x"},
        {"or": [{"rows": []}] * 600},
        "z1",
    ],
)
def test_what_is_no_expression_is_refused_in_one_line(served, how) -> None:
    with pytest.raises(Refusal) as refused:
        rows_of(served, how)
    assert refused.value.status in (400, 404) and "\n" not in str(refused.value)


def test_an_expression_without_end_is_refused(served) -> None:
    how = {"rows": [0]}
    for _ in range(1000):
        how = {"not": how}
    with pytest.raises(Refusal, match="at most 20 deep"):
        rows_of(served, how)


def test_the_inside_of_a_polygon_is_that_of_crossings() -> None:
    """Of a star, whose middle is outside by the even-odd rule; against a slow and obvious twin."""
    angle = np.pi / 2 + 4 * np.pi * np.arange(5) / 5
    star = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.random.default_rng(0).uniform(-1.2, 1.2, (300, 2))
    found = inside_polygon(points, star)

    def slow(x, y):
        inside = False
        for (x1, y1), (x2, y2) in zip(star, np.roll(star, -1, axis=0), strict=True):
            if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
                inside = not inside
        return inside

    np.testing.assert_array_equal(found, [slow(*point) for point in points])
    assert 0 < found.sum() < 300 and not inside_polygon(np.zeros((1, 2)), star)[0]


def test_a_selection_is_written_as_lists_of_the_original_particles(visitor, run) -> None:
    said = visitor.post("/api/runs/0/selections", {"name": "even", "how": LASSO, "made": "by hand"})
    assert said.status == 200, said.body
    folder, rows = run / "selections" / "even", np.flatnonzero(np.abs(latents()[:, 0]) < 3)
    assert sorted(path.name for path in folder.iterdir()) == ["even.lst", "even.star", "even.txt", "selection.json"]
    assert len(read_list(folder / "even.lst")) == len(rows)
    whole = read_particles(run.parent / "particles.star")
    for ending in (".lst", ".star"):
        found = read_particles(folder / f"even{ending}")
        np.testing.assert_array_equal(found.image_index, whole.image_index[rows])
        assert found.files == whole.files
        np.testing.assert_allclose(found.pose.rotation, whole.pose.rotation[rows], atol=1e-6)
    np.testing.assert_array_equal(np.loadtxt(folder / "even.txt"), rows)
    np.testing.assert_array_equal(visitor.get("/api/runs/0/selections/even/rows").array, rows)
    told = visitor.get("/api/session").json["runs"][0]["selections"]
    assert [(one["name"], one["count"], one["made"], one["how"]) for one in told] == [
        ("even", len(rows), "by hand", LASSO)
    ]
    flags = visitor.get("/api/runs/0/column?name=selection/even").array
    np.testing.assert_array_equal(np.flatnonzero(flags), rows)
    assert visitor.get(said.json["files"][1]).body == (folder / "even.star").read_bytes()


def test_a_selection_of_tilt_series_names_its_particles(tmp_path) -> None:
    """Four images a particle; the name of each that has one among the chosen, once."""
    write_tiny_set(tmp_path, COUNT)
    particles = read_particles(tmp_path / "particles.star")
    write_particles(tmp_path / "tilts.star", dataclasses.replace(particles, source=None, group=np.arange(COUNT) // 4))
    (tmp_path / "tilts.star").rename(tmp_path / "particles.star")
    served = ServedRun(0, write_shown_run(tmp_path), "gmm_00")
    told = described(served)
    assert (told["particles"], told["distinct"]) == (COUNT, COUNT // 4)
    kept = save(served, "some", np.array([1, 2, 9]), "", {})
    named = served.folder / "selections/some/some_particles.txt"
    assert named.name in kept.files and named.read_text() == "series_000000\nseries_000002\n"
    save(served, "some", np.array([39]), "", {}, replace=True)
    assert named.read_text() == "series_000009\n"


def test_the_command_of_a_selection_makes_it_anew(visitor, run, load_program, capsys) -> None:
    """Of the particles as they are then: the run was trained further, and others are in the range."""
    how = {"and": [{"column": "z1", "from": -2}, {"column": "junk", "to": 0.5}]}
    said = visitor.post("/api/runs/0/selections", {"name": "high", "how": how})
    before = np.loadtxt(run / "selections/high/high.txt")
    write_latent(run / "mid_00.txt", np.arange(COUNT), -latents())
    name, *words = said.json["command"].split()
    assert load_program(name).main(words) == 0
    after = np.loadtxt(run / "selections/high/high.txt", ndmin=1)
    expected = np.flatnonzero((-latents()[:, 0] >= -2) & (ALL % 10 != 9))
    np.testing.assert_array_equal(after, expected)
    assert len(before) != len(after) and f"high: {len(after)} particles" in capsys.readouterr().out
    assert load_program(name).main([*words, "--name", "again"]) == 0
    assert json.loads((run / "selections/again/selection.json").read_text())["how"] == how


@pytest.fixture
def other(tmp_path):
    """Return a run on the same stack under another name, of fewer particles."""
    return ServedRun(0, write_shown_run(tmp_path / "other", count=30), "other_00")


@pytest.mark.parametrize(
    "how", [{"rows": [1, 2]}, {"not": {"or": [{"column": "z1", "from": 0}, {"rows": [1]}]}}, {"column": "c", "is": 1}]
)
def test_rows_of_one_list_are_not_repeated_on_another(served, other, monkeypatch, how) -> None:
    """Nor are numbers of categories whose names do not tell them apart."""
    column = Column("c", "", "", "category", "particle", lambda: EVEN % 3, True, lambda: ["a.mrcs"] * 3)
    monkeypatch.setattr(Columns, "_views", lambda columns: iter([column]))
    save(served, "a", np.arange(3), "", how)
    record = served.folder / "selections/a/selection.json"
    with pytest.raises(Refusal, match="of another list than that of other_00") as refused:
        again(other, record)
    assert "\n" not in str(refused.value) and not (other.folder / "selections").exists()
    assert again(ServedRun(0, served.folder, "gmm_00"), record, "b").how == how


def test_categories_are_repeated_by_their_names(served, other, monkeypatch) -> None:
    """The second of one list is the first of the other."""
    for run, names in ((served, ["a", "b"]), (other, ["b", "c"])):
        values = np.arange(run.count) % 2
        run.column = Column("c", "", "", "category", "particle", lambda v=values: v, True, lambda n=names: n)
    monkeypatch.setattr(Columns, "_views", lambda columns: iter([columns.run.column]))
    save(served, "odd", EVEN + 1, "", {"and": [{"column": "c", "is": 1}]})
    record = served.folder / "selections/odd/selection.json"
    assert again(other, record).how == {"and": [{"column": "c", "is": "b"}]}
    assert selections.read_rows(other, "odd").tolist() == list(range(0, 30, 2))
    other.column = Column("c", "", "", "category", "particle", lambda: np.zeros(30, int), True, lambda: ["d"])
    with pytest.raises(Refusal, match="c: other_00 has no 'b' there"):
        again(other, record)


def test_rows_without_an_expression_are_kept_with_a_command_of_their_own(visitor, run, load_program) -> None:
    said = visitor.post("/api/runs/0/selections", {"name": "few", "rows": packed([5, 1, 5])})
    assert said.json["count"] == 2 and said.json["command"].startswith("e2hype_list.py ")
    with pytest.raises(UserError, match="does not tell how"):
        again(ServedRun(0, run, "a"), run / "selections/few/selection.json")


def test_an_expression_that_does_not_choose_the_rows_given_is_not_recorded(visitor, run) -> None:
    cluster = {"class": 0, "of": "umap_classes_2"}
    for name, rows, kept in (("same", EVEN, cluster), ("other", EVEN[1:], {})):
        visitor.post("/api/runs/0/selections", {"name": name, "rows": packed(rows), "how": cluster})
        assert json.loads((run / "selections" / name / "selection.json").read_text())["how"] == kept


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a", "rows": "?"},
        {"name": "a", "rows": packed([99])},
        {"name": "a", "rows": base64.b64encode(b"abc").decode()},
        {"name": "a", "rows": packed([])},
        {"name": "a", "rows": [1]},
        {"name": "a", "how": {"column": "z1", "from": 1e9}},
        {"name": "../a", "rows": packed([1])},
        {"name": "<script>", "rows": packed([1])},
        {"name": "", "rows": packed([1])},
        {"rows": packed([1])},
        {"name": "a", "rows": packed([1]), "made": "x" * 3000},
    ],
)
def test_what_is_no_selection_is_refused_and_nothing_is_written(visitor, run, body) -> None:
    assert visitor.post("/api/runs/0/selections", body).status == 400
    assert not list(run.glob("selections/*"))


def test_a_name_that_is_taken_is_kept_unless_it_is_to_be_replaced(visitor, run) -> None:
    first = {"name": "a", "rows": packed([1, 2])}
    assert visitor.post("/api/runs/0/selections", first).status == 200
    (run / "selections/a/a.mrc").write_text("a map of it")
    second = {"name": "a", "rows": packed([3])}
    said = visitor.post("/api/runs/0/selections", second)
    assert said.status == 409 and "there is a selection of this name" in said.json["error"]
    np.testing.assert_array_equal(visitor.get("/api/runs/0/selections/a/rows").array, [1, 2])
    assert visitor.post("/api/runs/0/selections", {**second, "replace": True}).status == 200
    np.testing.assert_array_equal(visitor.get("/api/runs/0/selections/a/rows").array, [3])
    assert len(read_particles(run / "selections/a/a.star")) == 1 and (run / "selections/a/a.mrc").exists()


def test_a_choice_of_more_steps_than_an_expression_may_have_is_kept_by_its_rows(visitor, run) -> None:
    how = {"column": "z1", "from": 0}
    for step in range(2 * selections.DEEPEST):
        how = {("or", "minus")[step % 2]: [how, {"rows": [step % 3]}]}
    said = visitor.post("/api/runs/0/selections", {"name": "a", "rows": packed([1, 2]), "how": how})
    assert said.status == 200 and said.json["count"] == 2 and "--ind" in said.json["command"]
    assert json.loads((run / "selections/a/selection.json").read_text())["how"] == {}


def test_of_two_who_save_one_name_at_once_one_gets_it(served, monkeypatch) -> None:
    inside, go_on, refused = threading.Event(), threading.Event(), []
    write = selections._write_lists

    def slow(*given):
        inside.set()
        assert go_on.wait(30)
        return write(*given)

    monkeypatch.setattr(selections, "_write_lists", slow)
    thread = threading.Thread(target=save, args=(served, "a", np.arange(3), "", {}))
    thread.start()
    assert inside.wait(30)
    with pytest.raises(Refusal, match="being written by another one") as error:
        save(served, "a", np.arange(5), "", {})
    refused.append(error.value.status)
    go_on.set()
    thread.join(30)
    assert refused == [409] and selections.read_rows(served, "a").tolist() == [0, 1, 2]
    assert save(served, "b", np.arange(5), "", {}).count == 5


def test_a_selection_whose_lists_cannot_be_written_leaves_nothing(served, run, monkeypatch) -> None:
    monkeypatch.setattr(selections, "write_indices", lambda *given: (_ for _ in ()).throw(UserError("full")))
    with pytest.raises(UserError, match="full"):
        save(served, "a", np.arange(3), "", {})
    assert not list((run / "selections").iterdir())


def npy(values) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


def test_files_of_numbers_are_read(visitor) -> None:
    for body in (b"3\n1\n# a comment\n3\n", npy(np.array([1, 3])), npy(np.isin(ALL, (1, 3)))):
        said = visitor.ask("POST", "/api/runs/0/selections/import?file=mine.txt", body)
        assert said.status == 200 and said.json["count"] == 2
        assert np.frombuffer(base64.b64decode(said.json["rows"]), "<u4").tolist() == [1, 3]


@pytest.mark.parametrize(
    "body", [b"", b"99\n", b"a\n", npy(np.array([0.5])), npy(np.array([{}], object)), b"\x80\x04K\x01.", b"\x93NUMPY"]
)
def test_files_of_anything_else_are_refused_and_nothing_is_unpickled(served, body) -> None:
    with pytest.raises(UserError) as refused:
        rows_of_file(served, "mine.npy", body)
    assert "/tmp" not in str(refused.value)


def test_counting_writes_nothing(visitor, run) -> None:
    said = visitor.post("/api/runs/0/selections/count", {"how": {"class": 0, "of": "umap_classes_2"}}).json
    assert said["count"] == len(EVEN) and not (run / "selections").exists()
