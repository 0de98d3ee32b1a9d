"""The demo: its folder, its stages in order, its promises; the programs themselves are tested elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from libhetero.cli.quick_compilation import quick_variables
from libhetero.cli.stages import StageResult
from libhetero.configuration import write_json
from libhetero.demo import recipe
from libhetero.demo.configuration import DemoConfig
from libhetero.demo.stories import QUICK, WHOLE, Story
from libhetero.errors import DataError, UserError

GOOD = 5.0  # keeps every promise


def _written(folder: Path, story: Story, value: float) -> None:
    """Write what the programs of a story leave, each score the same value."""
    for name in (*story.figures, *story.files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for file in {promise.file for promise in story.promises}:
        score: dict = {}
        for promise in story.promises:
            *folders, last = promise.keys if promise.file == file else ("",)
            place = score
            for key in folders:
                place = place.setdefault(key, {})
            place[last] = value
        write_json(folder / file, score)


def _told(story: Story) -> tuple[str, ...]:
    """Return the files that a story names."""
    return (*story.figures, *story.files, *story.runs, *(promise.file for promise in story.promises))


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[str]]:
    """Put in the place of the programs what writes their files with one score; returns the commands that were run."""

    def replace(value: float) -> list[str]:
        commands: list[str] = []
        for name in quick_variables({}):
            monkeypatch.delenv(name, raising=False)

        def run_stage(name: str, command: str, folder: Path, variables: dict[str, str]) -> StageResult:
            assert variables == quick_variables({}), "small sets are compiled quickly, the user having said nothing"
            commands.append(command)
            _written(folder, QUICK if "quick" in folder.name else WHOLE, value)
            return StageResult(name, command, 2.0, 0, 3.0)

        def run_side_by_side(rows, folder: Path, variables: dict[str, str], progress) -> list[tuple[StageResult, ...]]:
            results = [tuple(run_stage(*stage, folder, variables) for stage in row.stages) for row in rows]
            for number in range(1, len(commands) + 1):
                progress(number / len(commands))
            return results

        monkeypatch.setattr(recipe, "run_stage", run_stage)
        monkeypatch.setattr(recipe, "run_side_by_side", run_side_by_side)
        return commands

    return replace


@pytest.mark.parametrize(("quick", "story"), [(False, WHOLE), (True, QUICK)])
def test_every_command_is_one_that_its_program_takes(quick: bool, story: Story, load_program: Callable) -> None:
    for _, command in story.stages:
        program, *arguments = shlex.split(command)
        load_program(program).build_parser().parse_args(arguments)
    assert (len(QUICK.stages) < len(WHOLE.stages)) and any(promise.least for promise in story.promises)


@pytest.mark.parametrize(("name", "story"), [("whole", WHOLE), ("quick", QUICK)])
def test_stages_run_in_order_and_scores_are_read(name: str, story: Story, programs, tmp_path: Path) -> None:
    commands, told = programs(GOOD), []
    demo = recipe.run(DemoConfig(str(tmp_path / name), name == "quick"), told.append)
    assert commands == [command for _, command in story.stages]
    assert demo.values == (GOOD,) * len(story.promises) and not demo.missed
    assert told == sorted(told) and told[-1] == 1 and len(told) == len(story.stages)


def test_a_missed_promise_is_told_and_ends_with_1(
    programs, load_program: Callable[[str], ModuleType], tmp_path: Path, monkeypatch, capsys
) -> None:
    programs(0.1)
    monkeypatch.chdir(tmp_path)
    assert load_program("e2hype_demo.py").main(["--quick", "quick"]) == 1
    told = capsys.readouterr()
    missed = [promise for promise in QUICK.promises if promise.least is not None]
    assert told.out.count("MISSED") == len(missed)
    assert told.err.count("\n") == 1 and all(promise.meaning in told.err for promise in missed)
    assert "e2hype_dashboard.py" in told.out
    assert f"All stages took 0 s, {3 * len(QUICK.stages)} s of processor time." in told.out


def test_a_kept_promise_ends_with_0(programs, load_program, tmp_path: Path, monkeypatch, capsys) -> None:
    programs(GOOD)
    monkeypatch.chdir(tmp_path)
    assert load_program("e2hype_demo.py").main([]) == 0
    told = capsys.readouterr()
    assert "MISSED" not in told.out and told.err == ""
    assert str(tmp_path / "demo" / "pt_00" / "regions.png") in told.out


def test_an_earlier_demo_is_made_anew(programs, tmp_path: Path) -> None:
    programs(GOOD)
    folder = tmp_path / "mine"
    folder.mkdir()
    recipe.run(DemoConfig(str(folder)))
    for left in ("assembly", "mixture"):
        (folder / left).mkdir()
        (folder / left / "old").touch()
    (folder / ".pt_00.claim").touch()  # of a program that was killed
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mlp").touch()
    (folder / "consensus_half1.mrc").symlink_to(tmp_path / "kept")
    (folder / ".eman2log.txt").write_text("a line\n")
    recipe.run(DemoConfig(str(folder)))
    names = {path.name for path in folder.iterdir()}
    assert names == {path.split("/")[0] for path in (*_told(WHOLE), recipe.MARK, ".eman2log.txt")}
    assert (tmp_path / "kept" / "mlp").exists()
    assert (folder / ".eman2log.txt").read_text() == "a line\n"


@pytest.mark.parametrize("story", [WHOLE, QUICK])
def test_what_a_story_makes_is_all_that_it_names(story: Story) -> None:
    """Of a file that is not among them a demo would say that it is not its own."""
    assert {name.split("/")[0] for name in _told(story)} <= set(story.made)
    targets = {word for _, command in story.stages for word in shlex.split(command) if word.endswith(("_00", ".json"))}
    assert targets <= set(story.made)
    assert all("/" not in name and name not in ("", ".", "..") for name in story.made)


@pytest.mark.parametrize("mark", ['{"title": "a demo of mine"}', "{", "[]", '{"made_by": ["e2hype_demo.py"]}'])
def test_a_folder_with_another_demo_json_is_kept(mark: str, programs, tmp_path: Path) -> None:
    programs(GOOD)
    (tmp_path / recipe.MARK).write_text(mark)
    (tmp_path / "pt_00").mkdir()
    with pytest.raises(DataError, match="holds files that are no demo's.*name another folder"):
        recipe.run(DemoConfig(str(tmp_path)))
    assert (tmp_path / recipe.MARK).read_text() == mark and (tmp_path / "pt_00").is_dir()


def test_a_file_that_the_user_added_is_kept(programs, tmp_path: Path) -> None:
    programs(GOOD)
    folder = tmp_path / "mine"
    recipe.run(DemoConfig(str(folder)))
    (folder / "notes.txt").touch()
    with pytest.raises(DataError, match=r"holds notes\.txt beside an earlier demo's files; name another folder"):
        recipe.run(DemoConfig(str(folder)))
    (folder / "trained").mkdir()
    with pytest.raises(DataError, match=r"holds notes\.txt and 1 more beside"):
        recipe.run(DemoConfig(str(folder)))
    assert (folder / "notes.txt").exists() and (folder / "pt_score.json").exists()
    (folder / recipe.MARK).unlink()
    with pytest.raises(DataError, match="holds files that are no demo's"):
        recipe.run(DemoConfig(str(folder)))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="expected a folder for the demo, found a file"):
        recipe.run(DemoConfig(str(tmp_path / "file")))


def test_the_demo_runs_in_the_folder_where_it_is_started(programs, load_program, tmp_path: Path, monkeypatch) -> None:
    """The log that every program keeps there is begun before the folder is looked at."""
    programs(GOOD)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert load_program("e2hype_demo.py").main(["."]) == 0
        assert (tmp_path / ".eman2log.txt").exists() and (tmp_path / recipe.MARK).exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("pt_00/regions.txt", None, r"regions\.txt: missing, though"),
        ("pt_score.json", '{"gaussians": {"amplitude": 3}}', "expected a number at gaussians/amplitude/percentile/all"),
    ],
)
def test_what_a_stage_left_out_is_one_line(
    name: str, text: str | None, message: str, programs, tmp_path: Path, monkeypatch
) -> None:
    programs(GOOD)
    written = recipe.run_side_by_side

    def run_side_by_side(rows, folder: Path, *others) -> list[tuple[StageResult, ...]]:
        results = written(rows, folder, *others)
        (folder / name).unlink()
        if text is not None:
            (folder / name).write_text(text)
        return results

    monkeypatch.setattr(recipe, "run_side_by_side", run_side_by_side)
    with pytest.raises(DataError, match=message):
        recipe.run(DemoConfig(str(tmp_path / "demo")))


def test_a_failed_stage_ends_the_demo(programs, tmp_path: Path, monkeypatch) -> None:
    def run_stage(name: str, command: str, folder: Path, variables: dict[str, str]) -> StageResult:
        raise UserError(f"{name}: failed")

    monkeypatch.setattr(recipe, "run_stage", run_stage)
    with pytest.raises(UserError, match="simulate assembly: failed"):
        recipe.run(DemoConfig(str(tmp_path / "demo"), quick=True))
