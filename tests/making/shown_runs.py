"""Run folders that were never trained, with what programs leave in them: for what only looks at runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from libhetero.configuration import write_json
from libhetero.io import read_particles, write_gaussians, write_latent, write_volume
from libhetero.io.particle_findings import ParticleFindings, write_findings
from libhetero.models.gmm.config import GmmConfig
from libhetero.pipelines.decoding.class_files import write_classes
from libhetero.pipelines.decoding.evaluation_folder import DIGEST, file_digest
from libhetero.pipelines.run.configuration import RunConfig, write_config
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.kept import Made
from libhetero.pipelines.run.list_digest import list_digest
from libhetero.pipelines.run.particle_record import write_record
from libhetero.training.configuration import PreprocessConfig, TrainingConfig
from tests.making.mixtures import gaussians
from tests.making.sets import BOX, PIXEL, write_tiny_set

COUNT, EPOCHS, GAUSSIANS = 40, 3, 30
LABEL = np.where(np.arange(GAUSSIANS) < 10, 0, 1 + np.arange(GAUSSIANS) % 2)  # regions 1 and 2, and the core


def latents(count: int = COUNT) -> np.ndarray:
    """Return latents in two clouds, of the even and of the odd particles."""
    found = np.random.default_rng(3).normal(size=(count, 3))
    found[:, 0] += 6.0 * (np.arange(count) % 2)
    return found


def write_shown_run(folder: Path, name: str = "gmm_00", epochs_done: int = EPOCHS, count: int = COUNT) -> Path:
    """Write a list with its stack beside a run of Gaussians: config.json, record, log, latents and findings.

    Parameters
    ----------
    folder : of the list, made where it is missing.
    epochs_done : of three; before the last there are no latents.
    """
    folder.mkdir(exist_ok=True)
    if not (folder / "particles.star").exists():
        write_tiny_set(folder, count)
    particles, run = read_particles(folder / "particles.star"), folder / name
    run.mkdir()
    data = DataConfig(str(folder / "particles.star"), count=count, preprocess=PreprocessConfig(contrast=1))
    data = dataclasses.replace(data, reference=str(folder / "gmm.txt"))
    model = GmmConfig(decoder="mlp", latent_size=3)
    write_config(run, RunConfig("gmm", model, TrainingConfig(epochs=EPOCHS, batch_size=10), data))
    write_record(run, particles)
    np.savez(run / "model.npz", box_size=BOX, pixel_size=PIXEL)
    position = 20 * np.random.default_rng(0).normal(size=(GAUSSIANS, 3)).astype(np.float32)
    write_gaussians(run / "model_00.txt", gaussians(position), BOX, PIXEL)
    write_log(run, epochs_done)
    if epochs_done == EPOCHS:
        write_latent(run / "mid_00.txt", np.arange(count), latents(count))
        junk = np.where(np.arange(count) % 10 == 9, 0.9, 0.01)
        one = np.ones(count)
        write_findings(run / "particles_00.txt", ParticleFindings(1.1 * one, 0.1 * one, 50 * one, junk))
    return run


def write_log(run: Path, epochs: int) -> None:
    """Write a log of four lines an epoch."""
    lines = [{"step": step, "epoch": step / 4, "loss": 1 / step} for step in range(1, 4 * epochs + 1)]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def add_embedding(run: Path, name: str = "umap_classes_2") -> None:
    """Keep an embedding with classes: 0 of the even and 1 of the odd particles, none of the last."""
    particles = read_particles(run.parent / "particles.star")
    folder = run / "embeddings" / name
    folder.mkdir(parents=True)
    label = np.arange(len(particles)) % 2
    label[-1] = -1
    write_latent(folder / "embed_particles.txt", np.arange(len(particles)), latents(len(particles))[:, :2])
    probability = np.full(len(particles), 0.9)
    write_classes(
        folder / "classes_particles.txt", np.arange(len(particles)), label, list_digest(particles), probability
    )
    write_json(folder / "made.json", dataclasses.asdict(Made(command=f"e2hype_embed.py {run} --classes 2")))


def add_volumes(run: Path, places: Sequence[int], name: str = "classes", apix: float = PIXEL) -> None:
    """Keep a volume for each class of an embedding: a ball that lies at a place of its own along x, voxels."""
    folder, grid = run / "volumes" / name, np.indices((BOX,) * 3) - BOX // 2
    folder.mkdir(parents=True)
    names = [f"class_{number:02d}" for number in range(len(places))]
    for stem, place in zip(names, places, strict=True):
        away = grid[0] ** 2 + grid[1] ** 2 + (grid[2] - place) ** 2
        write_volume(folder / f"{stem}.mrc", np.exp(-away / 8).astype(np.float32), apix)
    table = run / "embeddings" / "umap_classes_2" / "classes_particles.txt"
    options = {"classes": str(table), f"classes{DIGEST}": file_digest(table)}
    write_json(folder / "evaluation.json", {"options": options, "volumes": [f"{stem}.mrc" for stem in names]})
    (folder / "volumes.txt").write_text("# volume\n" + "".join(f"{stem} 0 0 0 0\n" for stem in names))
    (folder / "volumes.cxc").write_text("surface level 0.5\n")


def add_segmentation(run: Path, name: str = "motion") -> None:
    """Keep a segmentation of two regions, `LABEL`, with coordinates and classes of the particles in the first."""
    folder, count = run / "segmentations" / name, len(latents())
    (folder / "volumes").mkdir(parents=True)
    position = 20 * np.random.default_rng(0).normal(size=(GAUSSIANS, 3)).astype(np.float32)
    mixture = gaussians(position)
    write_gaussians(folder / "regions.txt", mixture, BOX, PIXEL, group=LABEL)
    plane = np.where(LABEL[:, None] > 0, position[:, :2], 0.0)
    changes = np.column_stack([np.arange(GAUSSIANS), 0.1 * LABEL, plane])
    np.savetxt(folder / "regions_changes.txt", changes, fmt="%.6g")
    kind = {"unit": "Å", "change": 3.0, "null": 1.0, "p_value": 1e-9, "halves": (3.0, 3.1), "agreement": 0.97}
    regions = [
        {
            "region": number,
            "gaussians": 10,
            "mass": 0.3,
            "kind": "motion",
            "amplitude": kind,
            "motion": kind,
            "p_value": 1e-9,
            "agreement": 0.97,
            "classes": (20, 20),
            "continuous": False,
        }
        for number in (1, 2)
    ]
    told = {"count": 2, "feature": "motion", "gaussians": GAUSSIANS, "particles": count, "regions": regions}
    write_json(folder / "regions.json", told)
    write_latent(folder / "regions_presence.txt", np.arange(count), np.abs(latents()[:, :2]))
    write_latent(folder / "embed_region_01.txt", np.arange(count), latents()[:, :2])
    write_classes(folder / "classes_region_01.txt", np.arange(count), np.arange(count) % 2)
    for place in range(2):
        write_gaussians(folder / "volumes" / f"region_01_class_{place:02d}.txt", mixture, BOX, PIXEL)
    write_json(folder / "made.json", dataclasses.asdict(Made(command=f"e2hype_segment.py {run}")))
