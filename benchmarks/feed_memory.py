"""Peak resident memory of training against the number of particles; `feed.py --memory` runs it.

A float32 stack of N images of box 128 is made sparse: it looks 64 GB large at a million and takes next to
nothing, for its images are holes, which read as zeros, but for some at the start of real noise on which the
model is measured. In memory and on their way zeros cost what other images cost. A process for each N reads
the list, checks it, writes a run's list, and trains a small CryoHype for some hundred steps in chunks, as
e2hype_refine.py does; what the system says it held at most is reported.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from hype_speed import QUICK_HYPE

from libhetero.io import ImageReader, check_particles, read_particles, write_particles
from libhetero.io.mrc_header import HEADER_SIZE, make_header
from libhetero.models.hype.model import HypeModel
from libhetero.training.bad_images import BadImages
from libhetero.training.configuration import PreprocessConfig, TrainingConfig
from libhetero.training.feed import ParticleFeed, steps_per_epoch
from libhetero.training.loop import train
from libhetero.training.memory import peak_resident_memory
from libhetero.training.order import Pool

PIXEL_SIZE = 3.0  # Å
SAMPLE = 64  # images of noise
BATCH = 64
LABELS = (
    "ImageName",
    "AngleRot",
    "AngleTilt",
    "AnglePsi",
    "OriginXAngst",
    "OriginYAngst",
    "DefocusU",
    "DefocusV",
    "DefocusAngle",
    "OpticsGroup",
)
OPTICS = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnImagePixelSize #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImageSize #6
1 {pixel_size} 300 2.7 0.1 {box}


data_particles

loop_
"""


def make_sparse_set(folder: Path, count: int, box: int) -> None:
    """Write particles.mrcs, nearly all of it a hole, and particles.star."""
    random = np.random.default_rng(0)
    with open(folder / "particles.mrcs", "wb") as file:
        file.write(make_header((count, box, box), PIXEL_SIZE, volume=False).tobytes())
        file.write(random.normal(size=(min(SAMPLE, count), box, box)).astype("<f4").tobytes())
        file.truncate(HEADER_SIZE + count * 4 * box**2)
    with open(folder / "particles.star", "w") as file:
        file.write(OPTICS.format(pixel_size=PIXEL_SIZE, box=box))
        file.writelines(f"_rln{label} #{number}\n" for number, label in enumerate(LABELS, 1))
        for i in range(count):
            angles = " ".join(f"{angle:.6f}" for angle in random.uniform(0, 180, 3))
            u = random.uniform(8000, 25000)
            file.write(f"{i + 1:07d}@particles.mrcs {angles} 1.5 -0.5 {u:.2f} {u - 200:.2f} 30 1\n")


def train_some(folder: Path, steps: int, pool: Pool) -> dict[str, Any]:
    """Train for some steps on the set of a folder and return what it took, in MiB."""
    particles = read_particles(folder / "particles.star")
    check_particles(particles, need_pose=True, need_ctf=True)
    write_particles(folder / "ptcls_00.lst", particles)
    listed = peak_resident_memory() / 2**20
    feed = ParticleFeed(ImageReader(particles), particles, PreprocessConfig(), BadImages(particles), pool=pool)
    sample = feed.batch(np.arange(min(SAMPLE, len(feed))))
    config = QUICK_HYPE.config("default", "float32")
    model = HypeModel.from_data(config, feed.box_size, PIXEL_SIZE, sample)
    training = TrainingConfig(epochs=1000, batch_size=BATCH, report_every=steps)
    enough = steps / (training.epochs * steps_per_epoch(len(feed), BATCH))

    def stop(fraction: float) -> None:
        if fraction >= enough:
            os.kill(os.getpid(), signal.SIGTERM)

    result = train(model, jax.jit(model.init)(jax.random.key(0)), feed, training, progress=stop)
    order = feed.chunked_order(np.arange(len(feed)), BATCH, training.seed)
    return {
        "particles": len(feed),
        "steps": result.step,
        "chunk": 0 if order is None else order.chunk,
        "list_mib": listed,
        "peak_mib": peak_resident_memory() / 2**20,
    }


def measure_memory(folder: Path, counts: list[int], box: int, steps: int) -> list[dict[str, Any]]:
    """Return what training takes for each number of particles, one process each."""
    found = []
    for count in counts:
        place = folder / str(count)
        place.mkdir()
        make_sparse_set(place, count, box)
        command = [sys.executable, __file__, str(place), str(steps)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        for file in place.iterdir():
            file.unlink()
    return found


def memory_table(found: list[dict[str, Any]], box: int) -> str:
    """Return the figures as text."""
    lines = [
        f"training, box {box}, batch {BATCH}",
        f"{'particles':>10}{'stack GB':>10}{'steps':>7}{'chunk':>7}{'lists MiB':>11}{'peak MiB':>10}",
    ]
    for row in found:
        size = row["particles"] * 4e-9 * box**2
        lines.append(
            f"{row['particles']:10}{size:10.1f}{row['steps']:7}{row['chunk']:7}"
            f"{row['list_mib']:11.0f}{row['peak_mib']:10.0f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(train_some(Path(sys.argv[1]), int(sys.argv[2]), Pool())))
