"""Real tilt series, of M (five particles in 39 tilts and one in 24), go through every program, or are refused in words.

What is tested is that programs take them and agree on what is a particle; six particles tell nothing of a molecule.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from libhetero.io import read_latent, read_particles
from libhetero.models.hype.latent.class_search import STAGES
from libhetero.pipelines.run.folder import open_run
from tests.making.commands import HYPE_FROM_CLASSES
from tests.reference.shared_data import shared_file

PARTICLES, IMAGES = 6, 219
SMALL = "--box 32 --preset small --niter 1 --batchsz 2 --seed 1"
TRANSFORMER = "--pointtransformer --set points=8 --set neighbours=4 --set channels=8 --set attention_channels=8"

Program = Callable[..., str]


@pytest.fixture(scope="module")
def program(load_program, tmp_path_factory) -> Program:
    """Run a program in one folder, as e2hype_NAME.py WORDS; return all that it says."""
    folder = tmp_path_factory.mktemp("real")

    def run(command: str, refused: bool = False) -> str:
        name, *words = command.split()
        said = io.StringIO()
        with contextlib.chdir(folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = load_program(f"e2hype_{name}.py").main(words)
        assert code == int(refused), f"{command}:\n{said.getvalue()}"
        return said.getvalue()

    run.folder = folder
    return run


@pytest.fixture(scope="module")
def series(program) -> np.ndarray:
    """Import the list as particles.lst; return the particle that each of its images shows."""
    star = shared_file("formats", "tilt_series", "sta_testing_bin8.star")
    assert "tilt groups    6, 36.5 images each" in program(f"import {star} --output particles.lst")
    return np.asarray(read_particles(program.folder / "particles.lst").group)


@pytest.fixture(scope="module")
def mixture(program, series) -> str:
    """Make a map and the Gaussians to begin with; return the name of their file."""
    assert f"{PARTICLES} particles" in program("make3d particles.lst consensus.mrc --box 32")
    # One particle is of the first half-set and five are of the other, so that half-maps do not agree.
    said = program("guess_n consensus.mrc gmm.txt --ngauss 16", refused=True)
    assert "nothing of the map can be trusted (from consensus_half1.mrc and consensus_half2.mrc)" in said
    shutil.copy(program.folder / "consensus.mrc", program.folder / "map.mrc")
    program("guess_n map.mrc gmm.txt --ngauss 16 --niter 20")
    return "gmm.txt"


@pytest.fixture(scope="module")
def gaussians(program, mixture) -> Path:
    """A run of Gaussians, with two numbers in the latent, as so few particles show no direction of change."""
    said = program(f"refine particles.lst {SMALL} {TRANSFORMER} --model {mixture} --nmid 2 --path gmm")
    assert f"{PARTICLES} particles in {IMAGES} images" in said
    return program.folder / "gmm"


@pytest.fixture(scope="module")
def hype(program, series) -> Path:
    """A run of CryoHype."""
    with pytest.MonkeyPatch.context() as patch:  # a third of what is to be compiled
        patch.setattr("libhetero.models.hype.latent.class_search.STAGES", STAGES[:1])
        said = program(f"refine particles.lst {SMALL} {' '.join(HYPE_FROM_CLASSES)} --path hype")
    assert f"{PARTICLES} particles in {IMAGES} images" in said
    return program.folder / "hype"


def alike(values: np.ndarray, group: np.ndarray) -> bool:
    """Return whether the rows of each particle hold the same."""
    return all(np.ptp(values[group == one], axis=0).max(initial=0) < 1e-5 for one in np.unique(group))


def looked_at(program: Program, run: Path, group: np.ndarray) -> None:
    """Embed, analyze and evaluate a run, and take its classes back as lists."""
    np.testing.assert_array_equal(np.asarray(open_run(run).particles.group), group)
    program(f"embed {run.name} --method pca --classes 2 --lists")
    label = np.loadtxt(run / "classes_particles.txt")[:, 1]
    latent = read_latent(run / "mid_00.txt")[1]
    assert len(latent) == IMAGES and alike(latent, group) and alike(label[:, None], group)
    lists = sorted(run.glob("class_*.star"))
    assert sum(read_particles(path).distinct for path in lists) == PARTICLES
    said = program(f"analyze {run.name} --method pca --classes 2 --components 1 --steps 2")
    assert f"{PARTICLES} particles in {IMAGES} images, box 32" in said
    program(f"eval {run.name} --classes {run.name}/classes_particles.txt")
    program(f"eval {run.name} --particles 0,218")
    assert (run / "volumes/particles_0_218/particle_000218.mrc").exists()
    program(f"import {run.name}/class_00.lst --lst2star back.star")
    assert read_particles(program.folder / "back.star").distinct == read_particles(lists[0]).distinct
    assert "tilt series are lost" in program(f"import {run.name}/class_00.lst --lst2cs back.cs")


def test_lists_and_classes_of_few_particles(program, series):
    program("list particles.lst --max stage_tilt=30 --output low.star")
    assert read_particles(program.folder / "low.star").distinct == PARTICLES
    assert "found 6 particles; expected at least 10" in program("classify particles.lst found --box 32", refused=True)


def test_a_map_and_its_gaussians(program, mixture):
    assert len(np.loadtxt(program.folder / mixture)) == 16


def test_a_run_of_gaussians(program, series, gaussians):
    looked_at(program, gaussians, series)


def test_regions_of_gaussians(program, gaussians):
    program("segment gmm --seed 1 --pvalue 1")
    program("validate gmm --nulls 1 --skip_halves")
    assert (gaussians / "validation/validation.json").exists()


def test_a_run_of_cryohype(program, series, hype):
    looked_at(program, hype, series)
    assert "has no Gaussians" in program("segment hype", refused=True)
    assert "6 particles: too few for two half-sets" in program("validate hype", refused=True)
    program("validate hype --skip_halves")


def test_runs_of_both_families_are_compared(program, gaussians, hype):
    assert f"share {PARTICLES} particles" in program("compare gmm hype --path compared")


def test_lists_of_no_images_are_refused_by_every_program(program):
    """Those of RELION 5 that lie beside its particles."""
    for name in ("220728_TS_01.star", "tilt_series.star"):
        path = shared_file("formats", "relion5", name)
        for words in ("import {} --output out.lst", "list {}", "make3d {} out.mrc", "refine {}", "classify {} out"):
            said = program(words.format(path), refused=True)
            assert "give a list of its particles that has a row for each tilt image" in said and said.count("\n") == 1
