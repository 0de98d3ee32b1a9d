"""What data parallelism costs a step: on one device, and between virtual devices of the CPU.

    python benchmarks/scaling.py --json scaling.json      about 3 minutes on two CPU cores

Overhead: `sharding.compile_step` on a mesh of one device against a plain jax.jit of the same step, state
donated in both, taken in turn in one process; the ratio of the medians. Bytes: the collectives in the program
compiled for 1, 2 and 4 devices, against 4 bytes a parameter. Share: the all-reduce of so many bytes by itself on
that mesh against the step, at a fixed batch; virtual devices share the cores, so neither says how fast
real devices are. docs/scaling.md goes on to 64 devices on paper.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from collectives import collectives
from feed import FAMILIES, make_set, model_of
from feed import QUICK as QUICK_SET
from feed import Sizes as SetSizes
from harness import environment
from jax.sharding import PartitionSpec

from libhetero.configuration import write_json
from libhetero.io import ImageReader
from libhetero.training import sharding
from libhetero.training.configuration import PreprocessConfig
from libhetero.training.feed import ParticleFeed
from libhetero.training.optimiser import build_optimiser, start_state, training_step


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Parameters
    ----------
    set : the particles; preset small of both families, or models cut to a size of milliseconds.
    batch : images a step, over all devices.
    repeats : steps timed of each kind.
    devices : that share a step.
    """

    set: SetSizes = SetSizes(particles=512, gaussians=256)
    batch: int = 16
    repeats: int = 40
    devices: tuple[int, ...] = (1, 2, 4)


QUICK = Sizes(set=QUICK_SET, batch=4, repeats=5, devices=(2,))


@dataclass(frozen=True)
class Step:
    """One step of training.

    Parameters
    ----------
    run : state, batch -> state, metrics.
    start : makes a state.
    batch : of particles.
    parameters : how many there are.
    """

    run: Callable
    start: Callable[[], Any]
    batch: Any
    parameters: int


def build(family: str, feed: ParticleFeed, sizes: Sizes) -> Step:
    """Return the step of a family."""
    training, model = model_of(family, feed, sizes.set)
    optimiser = build_optimiser(training, 1000)
    params = jax.jit(model.init)(jax.random.key(0))
    return Step(
        training_step(model.loss, optimiser, training),
        lambda: start_state(params, optimiser, training),
        feed.batch(np.arange(sizes.batch)),
        sum(leaf.size for leaf in jax.tree.leaves(params)),
    )


def overhead(step: Step, repeats: int) -> dict[str, float]:
    """Return the median seconds of the plain and of the sharded step on one device, and their ratio."""
    mesh = sharding.data_mesh(jax.devices()[:1])
    steps = {"plain": jax.jit(step.run, donate_argnums=0), "sharded": sharding.compile_step(step.run, mesh)}
    states = {"plain": step.start(), "sharded": sharding.place_replicated(step.start(), mesh)}
    batches = {"plain": step.batch, "sharded": sharding.place_batch(step.batch, mesh)}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 1):
        for name in steps if turn % 2 else reversed(steps):
            begin = time.perf_counter()
            states[name], metrics = steps[name](states[name], batches[name])
            jax.block_until_ready((states[name], metrics))
            if turn:  # the first one compiles
                seconds[name].append(time.perf_counter() - begin)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {**median, "ratio": median["sharded"] / median["plain"]}


def communication(step: Step, devices: int, repeats: int) -> dict[str, Any]:
    """Return the collectives of the step on so many devices, its seconds, and theirs by themselves."""
    mesh = sharding.data_mesh(jax.devices()[:devices])
    state = sharding.place_replicated(step.start(), mesh)
    placed = sharding.place_batch(step.batch, mesh)
    compiled = sharding.compile_step(step.run, mesh).lower(state, placed).compile()
    found = collectives(compiled.as_text())
    size = sum(one.times * one.size for one in found)
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        state, metrics = compiled(state, placed)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - begin)
    alone = _reduction_seconds(mesh, size, repeats) if size else 0.0
    median = statistics.median(seconds[1:])
    kinds = {kind: sum(one.times for one in found if one.kind == kind) for kind in sorted({one.kind for one in found})}
    return {
        "devices": devices,
        "bytes": size,
        "collectives": kinds,
        "overlapped": sum(one.times for one in found if one.overlapped),
        "step_seconds": median,
        "reduction_seconds": alone,
        "share": alone / median,
    }


def _reduction_seconds(mesh: jax.sharding.Mesh, size: int, repeats: int) -> float:
    """Return the median seconds of one all-reduce of `size` bytes on each device."""
    summed = jax.jit(
        jax.shard_map(
            lambda x: jax.lax.psum(x, sharding.AXIS),
            mesh=mesh,
            in_specs=PartitionSpec(sharding.AXIS),
            out_specs=PartitionSpec(),
        )
    )
    values = jax.device_put(jnp.ones((mesh.size, -(-size // 4)), np.float32), sharding.over_batch(mesh))
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        jax.block_until_ready(summed(values))
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


def run(sizes: Sizes) -> dict[str, Any]:
    """Measure everything and return the figures."""
    families = {}
    with tempfile.TemporaryDirectory(prefix="scaling_") as name:
        particles = make_set(Path(name), sizes.set)
        feed = ParticleFeed(ImageReader(particles), particles, PreprocessConfig())
        for family in FAMILIES:
            step = build(family, feed, sizes)
            families[family] = {
                "parameters": step.parameters,
                "overhead": overhead(step, sizes.repeats),
                "rows": [communication(step, devices, sizes.repeats) for devices in sizes.devices],
            }
    return {"families": families, "sizes": asdict(sizes), **environment()}


def table(found: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = []
    for family, of_it in found["families"].items():
        one, parameters = of_it["overhead"], of_it["parameters"]
        lines += [
            f"{family}, preset small, box {found['sizes']['set']['box']}, batch {found['sizes']['batch']}: "
            f"{parameters} parameters; one device: plain {1e3 * one['plain']:.2f} ms, "
            f"sharded {1e3 * one['sharded']:.2f} ms, ratio {one['ratio']:.4f}",
            f"{'devices':<9}{'bytes':>12}{'/ 4 x params':>14}{'overlapped':>12}{'ms/step':>10}{'ms alone':>10}"
            f"{'share':>8}  collectives",
        ]
        for row in of_it["rows"]:
            kinds = ", ".join(f"{count} {kind}" for kind, count in row["collectives"].items()) or "none"
            lines.append(
                f"{row['devices']:<9}{row['bytes']:12d}{row['bytes'] / (4 * parameters):14.3f}{row['overlapped']:12d}"
                f"{1e3 * row['step_seconds']:10.2f}{1e3 * row['reduction_seconds']:10.2f}{row['share']:8.3f}  {kinds}"
            )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    parser.add_argument("--quick", action="store_true", help="sizes of milliseconds, to try the program")
    options = parser.parse_args(argv)
    os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={max(Sizes().devices)}")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    found = run(QUICK if options.quick else Sizes())
    print(table(found))
    if options.json:
        write_json(Path(options.json), found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
