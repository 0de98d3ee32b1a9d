"""How much faster, and in how much less memory, than the published equations written down plainly.

    python benchmarks/speed.py --json speed.json      about 6 minutes on two CPU cores

Gaussians: forward and backward of the decoder and of the projector, each against its transcription
(benchmarks/transcription.py), which is compiled as a whole; same JAX, same device, one process, taken
in turn, the least of several times. `pt_paper` is the same function from the same parameters, in
float32; `pt_default` is the default preset, another function, for the same Gaussians. Memory is the
temporary memory that the compiler reserves at batch 32, which needs no run.

CryoHype (`hype_speed`): a step of the published formulation against one of the default preset.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import transcription
from hype_speed import HYPE, QUICK_HYPE, HypeSizes, hype_table, time_hype
from timing import compiled_call, measure

import libhetero.physics  # noqa: F401  (records become pytrees)
from libhetero.cli.allocator import keep_freed_memory
from libhetero.configuration import write_json
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder.point_transformer import PointTransformerDecoder
from libhetero.models.gmm.decoder.published import PublishedDecoder
from libhetero.models.gmm.decoder.topology import build_topology
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.rotations import random_rotations
from libhetero.records import Gaussians, Pose
from libhetero.training.flops import product_flops

OUTPUTS = 5
PIXEL_SIZE = 3.0  # Å


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Parameters
    ----------
    gaussians : in the mixture.
    batch : particles a call of the decoders.
    memory_batch : particles a call whose memory is asked for.
    box : pixels of a projection.
    projections : particles a call of the projectors.
    repeats : times that each function is called; the least counts.
    shrink : whether decoders are cut to a size of milliseconds.
    """

    gaussians: int = 2048
    batch: int = 8
    memory_batch: int = 32
    box: int = 64
    projections: int = 32
    repeats: int = 4
    shrink: bool = False

    def config(self, preset: str) -> GmmConfig:
        """Return the decoder's configuration."""
        config = GmmConfig.preset(preset)
        config = replace(config, latent_size=config.latent_size or 8)  # 0 is chosen from the data
        if not self.shrink:
            return config
        groups = min(config.attention_groups, 4)
        return replace(
            config, points=(8, 16), neighbours=4, channels=16, attention_channels=32, attention_groups=groups
        )


QUICK = Sizes(gaussians=32, batch=2, memory_batch=2, box=16, projections=2, repeats=2, shrink=True)


@dataclass(frozen=True)
class Decoder:
    """A decoder's loss and its arguments.

    Parameters
    ----------
    loss : (params, latent) → scalar.
    params : parameters.
    latent_size : numbers a particle.
    """

    loss: Callable[[Any, Any], Any]
    params: Any
    latent_size: int

    def gradient(self) -> Callable[[Any, Any], Any]:
        """Return the function that is measured: forward and backward."""
        return jax.value_and_grad(self.loss, argnums=(0, 1))

    def latent(self, batch: int) -> jax.Array:
        """Return latents of so many particles."""
        return jax.random.normal(jax.random.key(1), (batch, self.latent_size))


def decoders(sizes: Sizes) -> dict[str, Decoder]:
    """Return the transcription, the same function of the library, and the other presets."""
    position = np.random.default_rng(0).normal(0, 0.12 * sizes.box * PIXEL_SIZE, (sizes.gaussians, 3))
    width = sizes.box * PIXEL_SIZE
    made = {}
    for preset in ("paper", "default", "small"):
        config = sizes.config(preset)
        config = replace(config, precision="float32" if preset == "paper" else "auto")
        levels = build_topology(position, config, width)
        module = PublishedDecoder if preset == "paper" else PointTransformerDecoder
        decoder = module(config, OUTPUTS)
        start = jax.jit(lambda key, d=decoder, c=config, v=levels: d.init(key, jnp.zeros((1, c.latent_size)), v))
        params = start(jax.random.key(0))["params"]

        def loss(params: Any, latent: jax.Array, decoder: Any = decoder, levels: Any = levels) -> jax.Array:
            return _scalar(decoder.apply({"params": params}, latent, levels))

        made[preset] = Decoder(loss, params, config.latent_size)
        if preset == "paper":

            def plain(params: Any, latent: jax.Array, levels: Any = levels) -> jax.Array:
                return _scalar(transcription.decode(params, latent, levels))

            made["transcription"] = Decoder(plain, params, config.latent_size)
    return made


def _scalar(change: jax.Array) -> jax.Array:
    """Return a scalar whose gradient by every output is another."""
    weight = jnp.cos(jnp.arange(change.size, dtype=jnp.float32)).reshape(change.shape)
    return jnp.sum(weight * change)


def time_decoders(made: dict[str, Decoder], sizes: Sizes) -> dict[str, float]:
    """Return the seconds a particle, forward and backward, of each decoder."""
    compiled = {
        name: compiled_call(decoder.gradient(), decoder.params, decoder.latent(sizes.batch))
        for name, decoder in made.items()
    }
    return {name: value / sizes.batch for name, value in measure(compiled, sizes.repeats).items()}


def count_work(made: dict[str, Decoder], sizes: Sizes) -> dict[str, tuple[float, float]]:
    """Return GFLOP a particle in matrix products, forward alone and forward and backward."""
    found = {}
    for name, decoder in made.items():
        arguments = (decoder.params, decoder.latent(sizes.batch))
        work = [product_flops(f, *arguments) for f in (decoder.loss, decoder.gradient())]
        found[name] = tuple(1e-9 * flops / sizes.batch for flops in work)
    return found


def temporary_memory(decoder: Decoder, batch: int) -> float:
    """Return the GiB of temporary memory that the compiled gradient reserves; nothing is run."""
    shapes = jax.eval_shape(lambda: (decoder.params, decoder.latent(batch)))
    analysis = jax.jit(decoder.gradient()).lower(*shapes).compile().memory_analysis()
    return analysis.temp_size_in_bytes / 2**30


def time_projectors(sizes: Sizes) -> dict[str, float]:
    """Return the seconds a projection, forward and backward, of both projectors."""
    random = np.random.default_rng(2)
    shape = (sizes.projections, sizes.gaussians)
    mixtures = Gaussians(
        jnp.asarray(random.normal(0, 0.12 * sizes.box * PIXEL_SIZE, (*shape, 3)), jnp.float32),
        jnp.asarray(random.uniform(0.5, 2, shape), jnp.float32),
        jnp.asarray(random.uniform(3, 6, shape), jnp.float32),
    )
    pose = Pose(
        rotation=random_rotations(jax.random.key(3), (sizes.projections,)),
        shift=jnp.asarray(random.normal(0, 3, (sizes.projections, 2)), jnp.float32),
    )
    target = jnp.ones((sizes.projections, sizes.box, sizes.box // 2 + 1), jnp.complex64)

    def gradient(project: Callable[..., jax.Array]) -> Callable[..., Any]:
        def loss(mixtures: Gaussians, pose: Pose) -> jax.Array:
            planes = jax.vmap(lambda m, p: project(m, p, sizes.box, PIXEL_SIZE))(mixtures, pose)
            error = planes - target
            return jnp.sum(error.real**2 + error.imag**2)

        return jax.value_and_grad(loss)

    compiled = {
        "transcription": compiled_call(gradient(transcription.project), mixtures, pose),
        "projector": compiled_call(gradient(project_gaussians), mixtures, pose),
    }
    found = measure(compiled, 3 * sizes.repeats)
    return {name: value / sizes.projections for name, value in found.items()}


def run(sizes: Sizes, hype: HypeSizes) -> dict[str, Any]:
    """Measure everything and return the figures."""
    made = decoders(sizes)
    work = count_work(made, sizes)
    seconds = time_decoders(made, sizes)
    memory = {name: temporary_memory(made[name], sizes.memory_batch) for name in ("transcription", "paper")}
    projector = time_projectors(sizes)
    device = jax.devices()[0]
    return {
        "device": device.device_kind if device.platform != "cpu" else f"cpu, {os.cpu_count()} cores",
        "pt_paper_ratio": seconds["transcription"] / seconds["paper"],
        "pt_paper_memory_ratio": memory["paper"] / memory["transcription"],
        "pt_default_ratio": seconds["transcription"] / seconds["default"],
        "pt_default_particles_per_s": 1 / seconds["default"],
        "pt_small_ratio": seconds["transcription"] / seconds["small"],
        "projector_ratio": projector["transcription"] / projector["projector"],
        "milliseconds": {name: 1e3 * value for name, value in seconds.items()},
        "gflop_forward": {name: value[0] for name, value in work.items()},
        "gflop": {name: value[1] for name, value in work.items()},
        "temporary_gib": memory,
        "projector_milliseconds": {name: 1e3 * value for name, value in projector.items()},
        **time_hype(hype),
        "sizes": vars(sizes),
        "jax": jax.__version__,
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures as text."""
    sizes = found["sizes"]
    lines = [
        f"{found['device']}, JAX {found['jax']}: forward and backward, {sizes['gaussians']} Gaussians, "
        f"batch {sizes['batch']}",
        f"{'decoder':<26}{'ms/particle':>12}{'faster':>9}{'GFLOP fwd':>11}{'GFLOP':>9}"
        f"{'GiB at ' + str(sizes['memory_batch']):>11}",
    ]
    base = found["milliseconds"]["transcription"]
    for name in ("transcription", "paper", "default", "small"):
        value = found["milliseconds"][name]
        memory = found["temporary_gib"].get(name)
        lines.append(
            f"{name:<26}{value:12.2f}{base / value:9.2f}{found['gflop_forward'][name]:11.2f}"
            f"{found['gflop'][name]:9.2f}" + (f"{memory:11.2f}" if memory is not None else "")
        )
    lines.append(f"memory of paper / transcription: {found['pt_paper_memory_ratio']:.3f}")
    lines.append(f"projector, box {sizes['box']}, batch {sizes['projections']}")
    for name, value in found["projector_milliseconds"].items():
        faster = found["projector_milliseconds"]["transcription"] / value
        lines.append(f"{name:<26}{value:12.3f}{faster:9.2f}")
    return "\n".join([*lines, *hype_table(found)])


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    parser.add_argument("--quick", action="store_true", help="sizes of milliseconds, to try the program")
    parser.add_argument("--batch", type=int, help="particles a call (default 8 on a CPU, 32 elsewhere)")
    options = parser.parse_args(argv)
    keep_freed_memory(os.environ)  # as every program does, for all that is measured
    sizes, hype = (QUICK, QUICK_HYPE) if options.quick else (Sizes(), HYPE)
    if not options.quick and jax.default_backend() != "cpu":
        sizes = replace(sizes, batch=32, repeats=20)
        hype = replace(hype, batch=32, repeats=10)
    if options.batch:
        sizes = replace(sizes, batch=options.batch)
    found = run(sizes, hype)
    print(table(found))
    if options.json:
        write_json(Path(options.json), found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
