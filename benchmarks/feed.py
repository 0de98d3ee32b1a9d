"""How fast the feed is against the step it feeds, and how much memory training takes.

    python benchmarks/feed.py --json feed.json          about 5 minutes on two CPU cores
    python benchmarks/feed.py --memory --json memory.json        about 10, of a million particles too

The first counts particles a second from a warm disk to the device, without a step, and of the step of the
small presets alone, at its batch size, in turn, the best of several times. Sources: a stack permuted as a
whole; the same read in chunks; phase-flipped and cropped to half its box, which is the most work; and that
from the cache. The ratio is to the rate of the step.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from feed_memory import measure_memory, memory_table
from harness import environment

from libhetero import models
from libhetero.cli.allocator import keep_freed_memory
from libhetero.configuration import write_json
from libhetero.io import ImageReader, MrcsWriter
from libhetero.models.family import ModelFamily
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.configuration import new_config
from libhetero.pipelines.run.image_cache import cached
from libhetero.records import CTFParams, Gaussians, ParticleSet, Pose
from libhetero.simulate.configuration import CTFSampling
from libhetero.simulate.imaging import ctf_from, pose_from
from libhetero.training import sharding
from libhetero.training.configuration import PreprocessConfig, TrainingConfig
from libhetero.training.feed import ParticleFeed
from libhetero.training.optimiser import build_optimiser, start_state, training_step
from libhetero.training.order import Pool
from libhetero.training.placing import training_batches

PIXEL_SIZE = 3.0  # Å
SAMPLE = 256
BLOCK = 256
FAMILIES = ("hype", "gmm")
SHRUNK = {
    "hype": {
        "dim": 16,
        "depth": 1,
        "heads": 2,
        "head_dim": 8,
        "feed_forward": 16,
        "weight_tokens": 2,
        "inr_width": 16,
        "inr_layers": 1,
        "inr_frequencies": 8,
        "start": "none",
    },
    "gmm": {"decoder": "mlp", "mlp_width": 16, "latent_size": 2, "encoder": "network", "encoder_width": 16},
}


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Parameters
    ----------
    box : pixels.
    particles : in the set.
    gaussians : of the mixture.
    steps : of the model, timed at once.
    repeats : times that each is timed; the best counts.
    shrink : whether the models are cut to a size of milliseconds.
    """

    box: int = 64
    particles: int = 8192
    gaussians: int = 512
    steps: int = 10
    repeats: int = 3
    shrink: bool = False


QUICK = Sizes(box=16, particles=64, gaussians=16, steps=2, repeats=1, shrink=True)


def mixture(sizes: Sizes) -> Gaussians:
    """Return a blob of Gaussians."""
    width = 0.12 * sizes.box * PIXEL_SIZE
    position = np.random.default_rng(1).normal(0, width, (sizes.gaussians, 3)).astype(np.float32)
    ones = np.ones(sizes.gaussians, np.float32)
    return Gaussians(position, ones, 2 * PIXEL_SIZE * ones)


def make_set(folder: Path, sizes: Sizes) -> ParticleSet:
    """Write a stack of the mixture in as much noise and return its particles, with poses and CTFs."""
    count, path = sizes.particles, folder / "particles.mrcs"
    deviates = jax.random.uniform(jax.random.key(0), (count, 8))
    pose = jax.vmap(lambda drawn: pose_from(drawn, PIXEL_SIZE))(deviates[:, :5])
    ctf = jax.vmap(lambda drawn: ctf_from(drawn, CTFSampling()))(deviates[:, 5:])
    gaussians, random = mixture(sizes), np.random.default_rng(0)

    @jax.jit
    @jax.vmap
    def image(pose: Pose, ctf: CTFParams) -> jax.Array:
        plane = project_gaussians(gaussians, pose, sizes.box, PIXEL_SIZE)
        return real_image(plane * ctf_at(ctf, half_plane(sizes.box, PIXEL_SIZE)), sizes.box)

    with MrcsWriter(path, sizes.box, count, PIXEL_SIZE) as writer:
        for start in range(0, count, BLOCK):
            rows = slice(start, start + BLOCK)
            images = np.asarray(image(pose.take(rows), ctf.take(rows)))
            writer.write(images + images.std() * random.normal(size=images.shape).astype(np.float32))
    return ParticleSet(
        files=(str(path),),
        file_id=np.zeros(count, int),
        image_index=np.arange(count),
        box_size=np.full(count, sizes.box),
        pixel_size=np.full(count, PIXEL_SIZE),
        pose=jax.tree.map(np.asarray, pose),
        ctf=jax.tree.map(np.asarray, ctf),
    )


def feeds(folder: Path, particles: ParticleSet, sizes: Sizes) -> dict[str, ParticleFeed]:
    """Return the sources that are compared."""
    plain = ParticleFeed(ImageReader(particles), particles, PreprocessConfig())
    pool = Pool(particles=0, size=sizes.particles * sizes.box**2)  # a fourth of the set
    flipped = dataclasses.replace(particles, phase_flipped=True)
    work = ParticleFeed(ImageReader(flipped), flipped, PreprocessConfig(box_size=sizes.box // 2), pool=pool)
    return {
        "permuted": plain,
        "chunks": dataclasses.replace(plain, pool=pool),
        "flipped, cropped": work,
        "from the cache": cached(work, folder / "cache"),
    }


def epoch(feed: ParticleFeed, training: TrainingConfig) -> Callable[[], int]:
    """Return the function that feeds an epoch to the devices and counts its particles."""
    mesh, last = sharding.data_mesh(), -(-len(feed) // training.batch_size)

    def run() -> int:
        stream = training_batches(feed, np.arange(len(feed)), training, mesh, 0, last)
        with contextlib.closing(stream) as batches:
            for batch in batches:
                jax.block_until_ready(batch.images)
        return len(feed)

    return run


def model_of(family: str, feed: ParticleFeed, sizes: Sizes) -> tuple[TrainingConfig, ModelFamily]:
    """Return how preset small trains, and its model of the set."""
    shrunk = SHRUNK[family] if sizes.shrink else {}
    run_config = new_config(RefineConfig("particles", family=family, preset="small", model=shrunk))
    model = models.create(
        family,
        run_config.model,
        box_size=feed.box_size,
        pixel_size=feed.pixel_size,
        gaussians=mixture(sizes),
        sample=feed.batch(np.arange(min(SAMPLE, len(feed)))),
    )
    return run_config.training, model


def stepping(family: str, feed: ParticleFeed, sizes: Sizes) -> tuple[TrainingConfig, Callable[[], int]]:
    """Return how preset small trains, and the function that makes some steps and counts their particles."""
    training, model = model_of(family, feed, sizes)
    mesh, optimiser = sharding.data_mesh(), build_optimiser(training, 1000)
    size = sharding.padded_size(training.batch_size, mesh)
    batch = sharding.place_batch(feed.batch(np.arange(training.batch_size), size), mesh)
    step = sharding.compile_step(training_step(model.loss, optimiser, training), mesh)
    params = jax.jit(model.init)(jax.random.key(0))
    held = [sharding.place_replicated(start_state(params, optimiser, training), mesh)]

    def run() -> int:
        for _ in range(sizes.steps):
            held[0], metrics = step(held[0], batch)
        jax.block_until_ready(metrics)
        return sizes.steps * training.batch_size

    return training, run


def rates(calls: dict[str, Callable[[], int]], repeats: int) -> dict[str, float]:
    """Return the highest particles a second of each, called in turn after one call of each."""
    for call in calls.values():
        call()
    best = dict.fromkeys(calls, 0.0)
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            count = call()
            best[name] = max(best[name], count / (time.perf_counter() - start))
    return best


def run(folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Measure both families and return particles a second."""
    sources = feeds(folder, make_set(folder, sizes), sizes)
    found = {}
    for family in FAMILIES:
        training, step = stepping(family, sources["permuted"], sizes)
        calls = {name: epoch(feed, training) for name, feed in sources.items()}
        found[family] = rates({"step": step, **calls}, sizes.repeats)
    return {"sizes": vars(sizes), "particles_per_s": found}


def table(found: dict[str, Any]) -> str:
    """Return the rates as text."""
    sizes = found["sizes"]
    lines = [f"box {sizes['box']}, {sizes['particles']} particles, preset small, particles a second"]
    for family, rate in found["particles_per_s"].items():
        lines.append(f"{family + ', the step':<28}{rate['step']:10.0f}")
        lines += [
            f"  fed {name:<22}{value:10.0f}{value / rate['step']:8.1f} times the step"
            for name, value in rate.items()
            if name != "step"
        ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    parser.add_argument("--memory", action="store_true", help="memory against number of particles, instead")
    parser.add_argument("--counts", default="10000,100000,1000000", help="numbers of particles, for --memory")
    parser.add_argument("--steps", type=int, default=300, help="of training, for --memory")
    parser.add_argument("--box", type=int, help="pixels (default 64, for --memory 128)")
    parser.add_argument("--folder", help="where files are made and removed (default: the system's)")
    parser.add_argument("--quick", action="store_true", help="sizes of milliseconds, to try the program")
    options = parser.parse_args(argv)
    keep_freed_memory(os.environ)  # as every program does, for all that is measured
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        if options.memory:
            box = options.box or 128
            counts = [int(count) for count in options.counts.split(",")]
            found = {"box": box, "memory": measure_memory(Path(name), counts, box, options.steps)}
            print(memory_table(found["memory"], box))
        else:
            sizes = QUICK if options.quick else Sizes(box=options.box or Sizes.box)
            found = run(Path(name), sizes)
            print(table(found))
    if options.json:
        found["environment"] = environment()
        write_json(Path(options.json), found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
