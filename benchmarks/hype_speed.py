"""How much faster a training step of CryoHype's default preset is than the published formulation.

Both at the published sizes (box 128), loss and gradient, same JAX, same device, one process, taken in
turn, the least of several times. Published: float32, all pixels of the disc, a real output evaluated
at k and -k. Default: that preset with its precision policy, pixels drawn, half of the disc. The fraction
of peak is the default's operations a second over those of one large bfloat16 product on this device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from flops import product_flops
from timing import compiled_call, measure

import libhetero.physics  # noqa: F401  (records become pytrees)
from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.model import HypeModel
from libhetero.records import Batch
from libhetero.simulate.imaging import CTFSampling, ctf_from, pose_from

PRESETS = {"hype_paper": "paper", "hype_default": "default"}
PIXEL_SIZE = 3.0  # Å


@dataclass(frozen=True)
class HypeSizes:
    """What is measured.

    Parameters
    ----------
    box : pixels.
    batch : images a step.
    repeats : times that each function is called; the least counts.
    shrink : whether the models are cut to a size of milliseconds.
    product : side of the square matrices whose product gives the peak.
    """

    box: int = 128
    batch: int = 4
    repeats: int = 3
    shrink: bool = False
    product: int = 4096

    def config(self, preset: str) -> HypeConfig:
        """Return the model's configuration."""
        config = HypeConfig.preset(preset)
        config = replace(config, precision="float32" if preset == "paper" else config.precision)
        if not self.shrink:
            return config
        return replace(
            config, patch=4, lift=8 if config.lift else 0, dim=16, depth=1, heads=2, head_dim=8,
            feed_forward=16, weight_tokens=2, inr_width=16, inr_layers=1, inr_frequencies=8,
            coordinates=min(config.coordinates, 20), encoder_box=min(config.encoder_box, 16),
        )  # fmt: skip


HYPE = HypeSizes()
QUICK_HYPE = HypeSizes(box=16, batch=2, repeats=2, shrink=True, product=64)


def particles(box: int, count: int) -> Batch:
    """Return images of noise with poses and CTFs."""
    deviates = jax.random.uniform(jax.random.key(0), (count, 8))
    pose = jax.vmap(lambda drawn: pose_from(drawn, PIXEL_SIZE))(deviates[:, :5])
    ctf = jax.vmap(lambda drawn: ctf_from(drawn, CTFSampling()))(deviates[:, 5:])
    images = jax.random.normal(jax.random.key(1), (count, box, box))
    return Batch(images, pose, ctf, jnp.arange(count), jnp.ones(count))


def time_hype(sizes: HypeSizes) -> dict[str, Any]:
    """Return ratio, images a second, operations, and the fraction of this device's bfloat16 peak."""
    batch = particles(sizes.box, sizes.batch)
    calls, work = {}, {}
    for name, preset in PRESETS.items():
        model = HypeModel.from_data(sizes.config(preset), sizes.box, PIXEL_SIZE, batch)

        def step(params: Any, model: HypeModel = model) -> Any:
            return jax.value_and_grad(lambda p: model.loss(p, batch, jax.random.key(1))[0])(params)

        params = jax.jit(model.init)(jax.random.key(0))
        calls[name] = compiled_call(step, params)
        work[name] = product_flops(step, params) / sizes.batch
    seconds = {name: value / sizes.batch for name, value in measure(calls, sizes.repeats).items()}
    side = jnp.ones((sizes.product, sizes.product), jnp.bfloat16)
    product = compiled_call(lambda a: jnp.matmul(a, a, preferred_element_type=jnp.float32), side)
    peak = 2 * sizes.product**3 / measure({"peak": product}, 3)["peak"]
    return {
        "hype_default_ratio": seconds["hype_paper"] / seconds["hype_default"],
        "hype_default_images_per_s": 1 / seconds["hype_default"],
        "fraction_of_peak": work["hype_default"] / seconds["hype_default"] / peak,
        "hype_milliseconds": {name: 1e3 * value for name, value in seconds.items()},
        "hype_gflop": {name: 1e-9 * value for name, value in work.items()},
        "bfloat16_product_gflop_per_s": 1e-9 * peak,
        "hype_sizes": vars(sizes),
    }


def hype_table(found: dict[str, Any]) -> list[str]:
    """Return the figures as lines."""
    sizes, base = found["hype_sizes"], found["hype_milliseconds"]["hype_paper"]
    lines = [f"CryoHype, a step's loss and gradient, box {sizes['box']}, batch {sizes['batch']}"]
    for name, value in found["hype_milliseconds"].items():
        lines.append(f"{name:<26}{value:12.2f}{base / value:9.2f}{'':>11}{found['hype_gflop'][name]:9.2f}")
    lines.append(
        f"default: {found['hype_default_images_per_s']:.1f} images/s, {found['fraction_of_peak']:.2f} of the "
        f"{found['bfloat16_product_gflop_per_s']:.0f} GFLOP/s of a bfloat16 product"
    )
    return lines
