"""Analysis of toy runs by one command: states, volumes of all kinds, what latents follow, and the page."""

import dataclasses
import re

import numpy as np
import pytest

from libhetero.analysis.confounders import CERTAIN
from libhetero.errors import ConfigurationError
from libhetero.io import read_latent, write_latent
from libhetero.pipelines import analyze
from libhetero.pipelines.analysing import findings
from libhetero.pipelines.analysing.findings import convergence
from libhetero.pipelines.analysing.page import lines_of, write_pages
from libhetero.pipelines.analyze import AnalyzeConfig
from libhetero.pipelines.run.reached import Reached
from tests.making.runs import field_run, gaussian_run
from tests.making.series import series_run


def opened(monkeypatch, run):
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)


def targets(page):
    """Return the files that a page links to or shows."""
    return set(re.findall(r'(?:href|src)="([^"#]+)"', page.read_text(encoding="utf-8")))


def contents(page):
    """Return the titles of a page's parts, with whether each is folded, as its table of contents lists them."""
    text = page.read_text(encoding="utf-8")
    places = dict(re.findall(r'<li><a href="#([^"]+)">([^<]+)</a></li>', text))
    assert all(f'id="{place}"' in text for place in places)
    return {title: f'</summary><div id="{place}">' in text for place, title in places.items()}


def test_a_run_of_gaussians(tmp_path, monkeypatch, load_program, capsys):
    run, _, states = gaussian_run(tmp_path, count=240, pieces=2)
    opened(monkeypatch, run)
    monkeypatch.chdir(tmp_path)
    assert load_program("e2hype_analyze.py").main([str(tmp_path), "--method", "pca", "--steps", "2"]) == 0
    said = capsys.readouterr().out
    assert "told apart into 4 classes" in said and "The density has 4 maxima" in said
    assert "None of the components follows how the particles were imaged" in said
    page = tmp_path / "analysis" / "index.html"
    assert said.rstrip().endswith(f"look at {page}") and not (tmp_path / "index.html").exists()
    for name in targets(page):
        assert (page.parent / name).exists(), name
    for name in ("components.png", "columns.png", "density.png"):
        assert name in targets(page)
    assert list(contents(page)) == [
        *("Plane and classes", "Density and states", "Principal components", "What the latents follow"),
        *("Volumes", *(f"Volumes of analysis_pca_{one}" for one in ("path", "pc_1", "pc_2", "states"))),
        "Commands to go on",
    ]
    shown, _, folded = page.read_text(encoding="utf-8").partition("<details>")
    assert 'analysis_pca_classes/volumes.png" alt' in shown and 'analysis_pca_path/volumes.png" alt' in folded
    volumes = {path.name: len(list(path.glob("*.mrc"))) for path in (tmp_path / "volumes").iterdir()}
    assert volumes.keys() == {f"analysis_pca_{one}" for one in ("classes", "pc_1", "pc_2", "states", "path")}
    assert volumes["analysis_pca_classes"] == volumes["analysis_pca_states"] == 4 and volumes["analysis_pca_pc_1"] == 3
    assert (tmp_path / "volumes" / "analysis_pca_pc_2" / "pc_2_00.mrc").exists(), "which component a map is of"
    latent = read_latent(tmp_path / "mid_00.txt")[1]
    for place in read_latent(tmp_path / "analysis" / "states.txt")[1]:
        corner = np.rint(place)
        assert np.abs(place - corner).max() < 0.1, "states are where particles are"
        assert np.isclose(latent, corner, atol=0.2).all(axis=1).sum() > 30


def test_a_run_without_gaussians_has_its_page_in_its_folder(tmp_path, monkeypatch):
    opened(monkeypatch, field_run(tmp_path))
    result = analyze.run(AnalyzeConfig(str(tmp_path), method="pca", classes=2, components=1, steps=1))
    assert result.page == tmp_path / "index.html"
    for folder in (tmp_path, tmp_path / "analysis"):
        for name in targets(folder / "index.html"):
            assert (folder / name).exists(), name
    assert "volumes/analysis_pca_classes_2_classes/volumes.png" in targets(tmp_path / "index.html")
    assert {path.name for path in (tmp_path / "volumes").iterdir()} >= {
        f"analysis_pca_classes_2_{one}" for one in ("classes", "pc_1")
    }
    again = analyze.run(AnalyzeConfig(str(tmp_path), method="pca", classes=2, no_volumes=True))
    assert "volumes/analysis_pca_classes_2_classes/volumes.png" in targets(again.page), "volumes of before are shown"
    other = analyze.run(AnalyzeConfig(str(tmp_path), method="pca", classes=3, no_volumes=True))
    assert contents(other.page)["Other volumes of this run"], "those of another analysis are folded"
    assert "volumes/analysis_pca_classes_2_classes/volumes.png" in targets(other.page)


def test_analyses_have_folders_of_their_own(tmp_path, monkeypatch):
    opened(monkeypatch, gaussian_run(tmp_path, count=120, pieces=2)[0])
    first = analyze.run(AnalyzeConfig(str(tmp_path), method="pca", components=1, steps=1))
    assert first.folder == tmp_path / "analyses" / "analysis_pca"
    before = {path: path.read_bytes() for path in [*first.folder.rglob("*"), *tmp_path.glob("volumes/*/*")]}
    assert {path.name for path in before} >= {"index.html", "density.png", "states.txt", "made.json", "class_03.mrc"}
    second = analyze.run(AnalyzeConfig(str(tmp_path), method="pca", classes=2, components=1, steps=1))
    named = analyze.run(AnalyzeConfig(str(tmp_path), method="pca", classes=3, components=0, name="mine"))
    assert (second.folder.name, named.folder.name) == ("analysis_pca_classes_2", "mine")
    assert {path: path.read_bytes() for path in before} == before, "nothing of it is overwritten"
    volumes = {path.name for path in (tmp_path / "volumes").iterdir()}
    assert {"analysis_pca_classes", "analysis_pca_classes_2_classes", "mine_classes"} <= volumes
    assert "mine_pc_1" not in volumes and (tmp_path / "embeddings" / "mine").is_dir()
    for folder in (first.folder, second.folder, named.folder, tmp_path / "analysis", tmp_path):
        page = folder / ("results.html" if folder == tmp_path else "index.html")
        for name in targets(page):
            assert (folder / name).exists(), name
    shown = targets(second.folder / "index.html")
    assert "../../volumes/analysis_pca_classes_2_classes/volumes.png" in shown, "its own volumes"
    assert not any("analysis_pca_classes/" in name or "mine" in name for name in shown), "and no others"
    assert ", mine</title>" in (named.folder / "index.html").read_text(encoding="utf-8")
    assert {"analyses/mine/index.html", "analysis/index.html"} <= targets(tmp_path / "results.html")
    again = analyze.run(AnalyzeConfig(str(tmp_path), method="pca", classes=3, components=1, steps=1, name="mine"))
    assert again.folder == named.folder and (tmp_path / "volumes" / "mine_pc_1").is_dir()


def test_what_an_older_version_found_is_kept_first(tmp_path, monkeypatch):
    opened(monkeypatch, gaussian_run(tmp_path, count=60, pieces=1)[0])
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "density.png").write_text("of before")
    analyze.run(AnalyzeConfig(str(tmp_path), method="pca", no_volumes=True))
    assert (tmp_path / "analyses" / "earlier" / "density.png").read_text() == "of before"


def test_the_page_of_an_epoch_shows_the_run_s_training(tmp_path):
    for name in ("config.json", "loss.png", "epoch_03/evidence.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    run = dataclasses.replace(field_run(tmp_path), folder=tmp_path / "epoch_03")
    written = write_pages(run, None, [], tmp_path / "epoch_03" / "analyses" / "analysis")
    assert targets(written) == {"../loss.png", "evidence.png", "results.html"}
    assert "of the whole run, as of its last checkpoint" in written.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("step", "said"), [(40, ""), (11, "Beware: training is not finished, 2.75 of 10 epochs are done")]
)
def test_the_page_says_how_far_training_had_come(tmp_path, step, said):
    run = dataclasses.replace(field_run(tmp_path), reached=Reached(step, 4, 10))
    lines = lines_of(run, None)
    assert f"With the parameters of epoch {step / 4:g} of 10 (step {step})." in lines[1]
    assert said in lines[1] and ("Beware" in lines[1]) == bool(said)


def test_a_latent_that_follows_the_defocus_is_told(tmp_path, monkeypatch):
    run, *_ = gaussian_run(tmp_path, count=300, pieces=1)
    opened(monkeypatch, run)
    defocus = np.asarray(run.particles.ctf.defocus_u)
    write_latent(tmp_path / "mid_00.txt", np.arange(300), ((defocus - defocus.mean()) / defocus.std())[:, None])
    lines = analyze.run(AnalyzeConfig(str(tmp_path), method="pca", no_volumes=True)).lines
    assert any("component 1 follows the defocus" in line for line in lines)


def test_images_of_one_particle_are_no_further_evidence(tmp_path, monkeypatch):
    """Latents and half-sets drawn for each of 60 particles of 20 images: one does not follow the other."""
    run, *_ = gaussian_run(tmp_path, count=1200, pieces=2)
    random = np.random.default_rng(4)
    group = random.permutation(np.repeat(np.arange(60), 20))
    particles = dataclasses.replace(run.particles, group=group, half_set=random.permutation(np.arange(60) % 2)[group])
    object.__setattr__(run, "particles", particles)
    opened(monkeypatch, run)
    write_latent(tmp_path / "mid_00.txt", np.arange(1200), random.normal(size=(60, 2))[group])
    density, write, counted, found = findings.latent_density, findings.write_findings, [], []
    monkeypatch.setattr(
        findings, "latent_density", lambda place, *others: counted.append(len(place)) or density(place, *others)
    )
    monkeypatch.setattr(findings, "write_findings", lambda *given: found.append(write(*given)) or found[0])
    analyze.run(AnalyzeConfig(str(tmp_path), method="pca", classes=2, no_volumes=True))
    assert counted == [60] and len(found[0].label) == 1200
    assert "half-set" in found[0].followed.names and found[0].followed.p_value.min() > CERTAIN


def test_all_components_that_are_asked_for_are_written(tmp_path, monkeypatch):
    opened(monkeypatch, gaussian_run(tmp_path, count=120, pieces=6)[0])
    asked = []
    monkeypatch.setattr("libhetero.pipelines.analysing.volumes.evaluated", lambda run, one: asked.append(one.name))
    lines = analyze.run(AnalyzeConfig(str(tmp_path), method="pca", classes=2, components=6)).lines
    assert {name for name in asked if "_pc_" in name} == {
        f"analysis_pca_classes_2_pc_{number}" for number in range(1, 7)
    }
    assert any(line.count("%") == 6 for line in lines), "the variance that each holds is told"


def test_columns_are_of_the_list(tmp_path, monkeypatch):
    opened(monkeypatch, gaussian_run(tmp_path, count=60)[0])
    with pytest.raises(ConfigurationError, match=r"^--columns rlnFoo: there is no such column"):
        analyze.run(AnalyzeConfig(str(tmp_path), columns=("rlnFoo",)))


def test_convergence_says_how_far_epochs_fell():
    log = [
        {"epoch": epoch, "step": round(2 * epoch), "loss": 2 ** -np.ceil(epoch)} for epoch in np.arange(0.5, 4.1, 0.5)
    ]
    assert convergence(log) == (
        "The mean loss of an epoch changed by -0.0625 in the last of 4 epochs, by -0.125 in the one before, and by "
        "-0.438 in all."
    )
    assert convergence(log[:2]) == ""
    explained = [line | {"signal": 1 - line["loss"]} for line in log]
    assert convergence(explained) == (
        "The model explains 93.8% of the images' signal; that changed by +6.25% in the last of 4 epochs, by +12.50% in "
        "the one before, and no two epochs differ by more than 43.75%."
    )


def test_images_of_tilt_series_are_not_called_particles(tmp_path):
    (line, *_) = lines_of(series_run(tmp_path, [0, 0, 1, 0, 1]), None)
    assert line.startswith("2 particles in 5 images, box ")
