"""`make bench`: the section of the document is rewritten whole or not at all."""

import time

import pytest


@pytest.fixture
def bench(load, tmp_path, monkeypatch):
    """The script, with two benchmarks written here and a document of its own."""
    module = load("bench")
    (tmp_path / "fast.py").write_text("print('42 particles/s')")
    (tmp_path / "broken.py").write_text("print('half a table'); raise SystemExit(3)")
    monkeypatch.setattr(module, "BENCHMARKS", tmp_path)
    monkeypatch.setattr(module, "QUICK", {"fast": "fast.py --seconds 1", "broken": "broken.py"})
    (tmp_path / "benchmarks.md").write_text(f"# Before\n\n{module.BEGIN}\nold\n{module.END}\n\nAfter\n")
    return module


def test_the_section_has_date_machine_versions_and_what_was_printed(bench, tmp_path) -> None:
    document = tmp_path / "benchmarks.md"
    for _ in range(2):  # the second time in place of the first
        assert bench.main(["--only", "fast", "--document", str(document)]) == 0
    text = document.read_text()
    assert text.startswith(f"# Before\n\n{bench.BEGIN}\n") and text.endswith(f"{bench.END}\n\nAfter\n")
    assert text.count("42 particles/s") == 1 and "old" not in text
    assert "`python benchmarks/fast.py --seconds 1`" in text
    assert time.strftime("%Y-") in text and "jax 0." in text and "cores" in text


def test_a_benchmark_that_fails_leaves_the_document(bench, tmp_path, capfd) -> None:
    document = tmp_path / "benchmarks.md"
    before = document.read_text()
    assert bench.main(["--document", str(document)]) == 1
    assert document.read_text() == before
    shown = capfd.readouterr()
    assert "broken.py: failed with exit code 3" in shown.err and "half a table" in shown.out


@pytest.mark.parametrize("text", ["no markers", "{end} {begin}", "{begin} {begin} {end}"])
def test_a_document_without_its_markers_is_refused(bench, tmp_path, capsys, text) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(text.format(begin=bench.BEGIN, end=bench.END))
    assert bench.main(["--only", "fast", "--document", str(document)]) == 1
    assert "expected the markers" in capsys.readouterr().err


def test_the_document_of_the_project_has_its_markers(load) -> None:
    bench = load("bench")
    text = bench.DOCUMENT.read_text()
    assert text.count(bench.BEGIN) == text.count(bench.END) == 1
    assert all((bench.BENCHMARKS / command.split()[0]).is_file() for command in bench.QUICK.values())
