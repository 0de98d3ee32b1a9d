"""What calls of e2hype_embed.py and e2hype_segment.py have found is kept, one by one; the latest lies in the run."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from libhetero.configuration import read_document
from libhetero.errors import ConfigurationError
from libhetero.files import claiming
from libhetero.io import read_latent, write_latent
from libhetero.pipelines import embed, evaluate, segment
from libhetero.pipelines.decoding import class_files
from libhetero.pipelines.decoding.points import particle_plane
from libhetero.pipelines.decoding.results_page import write_results_page
from libhetero.pipelines.embed import EmbedConfig
from libhetero.pipelines.evaluate import EvaluateConfig
from libhetero.pipelines.listing.run_tables import tables_at
from libhetero.pipelines.listing.table_columns import read_column
from libhetero.pipelines.run import kept
from libhetero.pipelines.run.particle_record import write_record
from libhetero.pipelines.run.reached import Reached
from libhetero.pipelines.scoring.regions import read_regions
from libhetero.pipelines.segment import RegionConfig, SegmentConfig
from tests.making.runs import gaussian_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    found, *_ = gaussian_run(tmp_path, count=80, pieces=2)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: found)
    return found


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def targets(page):
    return set(re.findall(r'(?:href|src)="([^"]+)"', page.read_text(encoding="utf-8")))


def test_embeddings_have_folders_of_their_own_and_the_latest_is_read(tmp_path, run):
    (tmp_path / "embeddings" / "pca_classes_2").mkdir(parents=True)  # of a call that was killed
    two, three = (EmbedConfig(str(tmp_path), method="pca", classes=k, lists=True) for k in (2, 3))
    first = embed.run(two)
    assert first.folder == tmp_path / "embeddings" / "pca_classes_2"
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    assert before.keys() >= {"embed_particles.txt", "embed_particles.png", "classes_particles.txt", "class_01.lst"}
    embed.run(three)
    assert {path.name: path.read_bytes() for path in first.folder.iterdir()} == before
    assert names(tmp_path / "embeddings") == ["pca_classes_2", "pca_classes_3"]
    assert len(set(np.loadtxt(tmp_path / "classes_particles.txt")[:, 1])) == 3, "the latest"
    embed.run(two)
    assert names(tmp_path / "embeddings") == ["pca_classes_2", "pca_classes_3"], "the same call has the same folder"
    embed.run(dataclasses.replace(two, seed=1))
    embed.run(dataclasses.replace(three, name="mine"))
    assert names(tmp_path / "embeddings") == ["mine", "pca_classes_2", "pca_classes_2_2", "pca_classes_3"]
    made = read_document(tmp_path / "embeddings" / "mine" / "made.json", kept.Made)
    assert made.command == f"e2hype_embed.py {tmp_path} --method pca --name mine --classes 3 --lists"
    assert set(made.files) == {*names(tmp_path / "embeddings" / "mine")} - {"made.json"}
    embed.run(EmbedConfig(str(tmp_path), method="pca", classes=2, name="mine"))
    assert "class_02.lst" not in names(tmp_path / "embeddings" / "mine"), "of the name given, the one before goes"
    embed.run(EmbedConfig(str(tmp_path), method="pca"))
    assert names(tmp_path / "embeddings" / "pca") == ["embed_particles.png", "embed_particles.txt", "made.json"]


def test_what_a_run_had_before_is_kept_too(tmp_path, run):
    (tmp_path / "classes_particles.txt").write_text("0 1\n")
    (tmp_path / "class_01.star").write_text("old")
    (tmp_path / "embeddings" / "earlier").mkdir(parents=True)  # of a call that was killed
    embed.run(EmbedConfig(str(tmp_path), method="pca", classes=2))
    earlier = tmp_path / "embeddings" / "earlier"
    assert names(earlier) == ["class_01.star", "classes_particles.txt", "made.json"]
    assert (earlier / "classes_particles.txt").read_text() == "0 1\n"
    embed.run(EmbedConfig(str(tmp_path), method="pca", classes=3))
    assert names(tmp_path / "embeddings") == ["earlier", "pca_classes_2", "pca_classes_3"], "once"


def test_segmentations_are_kept_with_their_pages(tmp_path, run):
    grouping = RegionConfig(embedding="pca")
    (tmp_path / "segmentations" / "amplitude").mkdir(parents=True)
    (tmp_path / "segmentations" / "amplitude" / "index.html").write_text("of a call that was killed")
    first = segment.run(SegmentConfig(str(tmp_path), regions=grouping))
    assert first.folder == tmp_path / "segmentations" / "amplitude"
    assert targets(tmp_path / "index.html") - {"results.html"} == targets(first.folder / "index.html") - {
        "../../results.html"
    }
    before = {str(path): path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}
    still = dataclasses.replace(grouping, constant=100.0)
    nothing = segment.run(SegmentConfig(str(tmp_path), name="none", regions=still))
    assert {str(path): path.read_bytes() for path in first.folder.rglob("*") if path.is_file()} == before
    for folder in (tmp_path, first.folder, nothing.folder):
        page = folder / "index.html"
        assert [name for name in targets(page) if not (folder / name).exists()] == []
    assert set(read_regions(tmp_path, 160)) == {0}, "the latest has no regions"
    named = run.reading(None, "amplitude")
    np.testing.assert_array_equal(read_regions(named.regions_folder, 160), first.regions.label)
    with pytest.raises(ConfigurationError, match=r"--segmentation other: .*\(amplitude, none\)"):
        run.reading(None, "other")


def test_the_page_of_results_lists_all_of_them(tmp_path, run):
    embed.run(EmbedConfig(str(tmp_path), method="pca", classes=2, name="x"))
    evaluate.run(EvaluateConfig(str(tmp_path), particles=(1,)))
    page = tmp_path / "results.html"
    text = page.read_text(encoding="utf-8")
    assert "--classes 2" in text and "particles 1" in text
    evaluate.run(EvaluateConfig(str(tmp_path), classes=str(tmp_path / "classes_particles.txt")))
    text = page.read_text(encoding="utf-8")
    assert ">classes classes_particles.txt<" in text, "as it lies in the run, and without defaults"
    assert {"embeddings/x/classes_particles.txt", "volumes/particles_1/volumes.png"} <= targets(page)
    assert all((tmp_path / name).exists() for name in targets(page))


def test_readers_take_the_embedding_that_is_named(tmp_path, run):
    embed.run(EmbedConfig(str(tmp_path), method="pca", classes=2))
    named = run.reading("pca_classes_2")
    index, plane = read_latent(tmp_path / "embed_particles.txt")
    write_latent(tmp_path / "embed_particles.txt", index, plane + 1)
    np.testing.assert_allclose(particle_plane(run), plane + 1, atol=1e-5)
    np.testing.assert_array_equal(particle_plane(named), plane)
    write_record(tmp_path, run.particles)
    (table,) = [one for one in tables_at(str(named.classes_folder)) if one.path.name.startswith("classes")]
    chosen = run.particles.take(np.array([7, 3]))
    column = read_column(table, 0, chosen, "some.star")
    expected = np.loadtxt(table.path)[[7, 3], 1]
    np.testing.assert_array_equal(column.values[column.places(chosen, "some.star")], expected)


def test_volumes_of_classes_that_have_changed_have_another_folder(tmp_path, run):
    table = str(tmp_path / "classes_particles.txt")
    for k in (2, 3):
        embed.run(EmbedConfig(str(tmp_path), method="pca", classes=k))
        evaluate.run(EvaluateConfig(str(tmp_path), classes=table))
    assert names(tmp_path / "volumes") == ["classes_particles", "classes_particles_2"]
    assert len(list((tmp_path / "volumes" / "classes_particles").glob("*.mrc"))) == 2


def test_a_disk_without_links_has_copies(tmp_path, run, monkeypatch):
    def refused(source, beside):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("libhetero.pipelines.run.kept.os.link", refused)
    kept_at = embed.run(EmbedConfig(str(tmp_path), method="pca")).folder
    for name in ("embed_particles.txt", "embed_particles.png"):
        assert (kept_at / name).read_bytes() == (tmp_path / name).read_bytes()
        assert not (kept_at / name).samefile(tmp_path / name)
        assert (kept_at / name).stat().st_mtime_ns == (tmp_path / name).stat().st_mtime_ns, "as old as what it copies"


def test_a_call_keeps_what_it_wrote_itself(tmp_path, run, monkeypatch):
    keep = kept.keep

    def late(*arguments):
        (tmp_path / "classes_particles.txt").write_text("0 1\n")
        (tmp_path / "class_07.lst").write_text("theirs")
        keep(*arguments)

    monkeypatch.setattr(kept, "keep", late)
    folder = embed.run(EmbedConfig(str(tmp_path), method="pca", classes=2, lists=True)).folder
    assert len(np.loadtxt(folder / "classes_particles.txt")) == 80 and "class_07.lst" not in names(folder)
    assert (folder / "classes_particles.txt").samefile(tmp_path / "classes_particles.txt")


def test_calls_at_once_have_a_folder_each(tmp_path, run, monkeypatch):
    """The second call comes to its end while the first is writing what it has found."""
    write, inner = segment._write, []

    def slow(config, *arguments):
        if not inner:
            inner.append(None)  # no further call within the call
            inner[0] = segment.run(dataclasses.replace(config, regions=RegionConfig(embedding="pca", seed=1)))
            with pytest.raises(ConfigurationError, match=r"^--name given: .*given is being written by another"):
                segment.run(dataclasses.replace(named, name="given"))
        return write(config, *arguments)

    named = SegmentConfig(str(tmp_path), regions=RegionConfig(embedding="pca"))
    monkeypatch.setattr(segment, "_write", slow)
    with claiming() as claim:
        assert claim(tmp_path / "segmentations" / "given")
        outer = segment.run(named)
    assert outer.folder.name == "amplitude" and inner[0].folder.name == "amplitude_2"
    assert kept.made_of(outer.folder).options["regions"]["seed"] == 0
    assert kept.made_of(inner[0].folder).options["regions"]["seed"] == 1
    assert names(tmp_path / "segmentations") == ["amplitude", "amplitude_2"]


def test_volumes_of_calls_at_once_have_a_folder_each(tmp_path, run, monkeypatch):
    from libhetero.pipelines.decoding import volumes

    decode, inner = volumes.decoded_volumes, []

    def slow(*arguments):
        if not inner:
            inner.append(None)
            inner[0] = evaluate.run(EvaluateConfig(str(tmp_path), particles=(1,), lowpass=20.0))
        return decode(*arguments)

    monkeypatch.setattr(volumes, "decoded_volumes", slow)
    outer = evaluate.run(EvaluateConfig(str(tmp_path), particles=(1,)))
    assert outer.table.parent.name == "particles_1" and inner[0].table.parent.name == "particles_1_2"
    assert names(tmp_path / "volumes") == ["particles_1", "particles_1_2"]


def test_volumes_of_further_training_do_not_replace_those_of_before(tmp_path, monkeypatch):
    found, *_ = gaussian_run(tmp_path, count=20, pieces=2)
    for step in (4, 8, 8):
        trained = dataclasses.replace(found, reached=Reached(step, 4, step // 4))
        monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None, run=trained: run)
        evaluate.run(EvaluateConfig(str(tmp_path), particles=(1,)))
    assert names(tmp_path / "volumes") == ["particles_1", "particles_1_2"]
    assert "particles 1 (of training step 8)" in (tmp_path / "results.html").read_text(encoding="utf-8")


def test_classes_of_an_evaluation_lie_with_its_volumes(tmp_path, run, monkeypatch):
    for seed, label in enumerate((np.arange(80) % 3, np.arange(80) // 27)):
        monkeypatch.setattr(class_files, "kmeans_classes", lambda latent, count, seed, label=label: label)
        evaluate.run(EvaluateConfig(str(tmp_path), all_classes=3, seed=seed))
    first, second = (tmp_path / "volumes" / name / "classes.txt" for name in ("kmeans_3", "kmeans_3_2"))
    assert second.read_text() == (tmp_path / "classes_03.txt").read_text(), "the latest"
    np.testing.assert_array_equal(np.loadtxt(first)[:, 1], np.arange(80) % 3)
    assert {f"volumes/{name}/classes.txt" for name in ("kmeans_3", "kmeans_3_2")} <= targets(tmp_path / "results.html")


def test_maps_without_a_folder_are_told_for_what_they_are(tmp_path, run):
    (tmp_path / "volumes").mkdir()
    for name in ("class_00.mrc", "particle_000017.mrc", "region_01_class_01_minus_00.mrc"):
        (tmp_path / "volumes" / name).touch()
    text = write_results_page(tmp_path).read_text(encoding="utf-8")
    assert "volumes of an older version" in text and "differences of the latest segmentation" in text
    assert {"volumes/class_00.mrc", "volumes/region_01_class_01_minus_00.mrc"} <= targets(tmp_path / "results.html")
    for number in range(20):
        (tmp_path / "volumes" / f"class_{number:02d}.mrc").touch()
    assert "and 9 more" in write_results_page(tmp_path).read_text(encoding="utf-8")


def test_the_run_of_what_is_kept_is_found_from_within(tmp_path, monkeypatch):
    folder = tmp_path / "embeddings" / "mine"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert kept.run_of(Path(".")) == kept.run_of(folder) == tmp_path
    monkeypatch.chdir(tmp_path)
    assert kept.run_of(Path(".")) == Path("."), "a run itself"


def test_a_folder_that_does_not_suit_is_left_to_other_calls(tmp_path):
    def suits(folder):
        return folder.name == "motion_2"

    with kept.claimed(tmp_path, None, "motion", suits, "e2hype_segment.py") as folder, claiming() as claim:
        assert folder == tmp_path / "motion_2" and not claim(folder)
        assert claim(tmp_path / "motion")
    assert not list(tmp_path.iterdir())
