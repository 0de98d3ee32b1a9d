"""How much faster CryoHype's default preset trains than the published formulation.

Both at the published sizes (box 128), same JAX, same device, one process, taken in turn, the least of
several times. Published: float32, all pixels of the disc, a real output evaluated at k and -k. Default:
pixels drawn, half of the disc; it is timed in float32 and in bfloat16, so that the precision policy can be
judged, and counts as that policy has it on this device. What is timed is loss and gradient of a few images,
and the update of the parameters (Adam's as published; Muon's, which multiplies matrices), whose cost does
not depend on the batch: an image costs its gradient and its share of the update in a batch of the preset's
size. The fraction of peak is the default's operations a second, those of the update aside, over those of
one large bfloat16 product.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from timing import compiled_call, measure

import libhetero.physics  # noqa: F401  (records become pytrees)
from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.model import HypeModel
from libhetero.models.precision import operand_dtype
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.configuration import new_config
from libhetero.records import Batch
from libhetero.simulate.configuration import CTFSampling
from libhetero.simulate.imaging import ctf_from, pose_from
from libhetero.training.flops import product_flops
from libhetero.training.optimiser import build_optimiser

VARIANTS = {
    "hype_paper": ("paper", "float32"),
    "hype_default": ("default", "float32"),
    "hype_default_bfloat16": ("default", "bfloat16"),
}
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

    def config(self, preset: str, precision: str) -> HypeConfig:
        """Return the model's configuration."""
        config = replace(HypeConfig.preset(preset), precision=precision, start="none")
        if not self.shrink:
            return config
        return replace(
            config,
            patch=4,
            lift=8 if config.lift else 0,
            dim=16,
            depth=1,
            heads=2,
            head_dim=8,
            feed_forward=16,
            weight_tokens=2,
            inr_width=16,
            inr_layers=1,
            inr_frequencies=8,
            coordinates=min(config.coordinates, 20),
            encoder_box=min(config.encoder_box, 16),
        )


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
    gradients, updates, work, batches = {}, {}, {}, {}
    for name, (preset, precision) in VARIANTS.items():
        model = HypeModel.from_data(sizes.config(preset, precision), sizes.box, PIXEL_SIZE, batch)

        def step(params: Any, model: HypeModel = model) -> Any:
            return jax.value_and_grad(lambda p: model.loss(p, batch, jax.random.key(1))[0])(params)

        params = jax.jit(model.init)(jax.random.key(0))
        gradients[name] = compiled_call(step, params)
        work[name] = product_flops(step, params) / sizes.batch
        training = new_config(RefineConfig("particles", family="hype", preset=preset)).training
        optimiser, batches[name] = build_optimiser(training, 1000), training.batch_size
        updates[name] = compiled_call(optimiser.update, params, jax.jit(optimiser.init)(params), params)
    gradient = {name: value / sizes.batch for name, value in measure(gradients, sizes.repeats).items()}
    update = {name: value / batches[name] for name, value in measure(updates, sizes.repeats).items()}
    seconds = {name: gradient[name] + update[name] for name in VARIANTS}
    policy = "hype_default" if operand_dtype("auto") == jnp.float32 else "hype_default_bfloat16"
    peak = product_rate(sizes.product, jnp.bfloat16)
    return {
        "hype_default_ratio": seconds["hype_paper"] / seconds[policy],
        "hype_default_images_per_s": 1 / seconds[policy],
        "hype_gradient_ratio": gradient["hype_paper"] / gradient[policy],
        "hype_bfloat16_ratio": gradient["hype_default"] / gradient["hype_default_bfloat16"],
        "fraction_of_peak": work[policy] / gradient[policy] / peak,
        "hype_milliseconds": {name: 1e3 * value for name, value in seconds.items()},
        "hype_update_milliseconds": {name: 1e3 * value for name, value in update.items()},
        "hype_gflop": {name: 1e-9 * value for name, value in work.items()},
        "bfloat16_product_gflop_per_s": 1e-9 * peak,
        "float32_product_gflop_per_s": 1e-9 * product_rate(sizes.product, jnp.float32),
        "hype_sizes": vars(sizes),
    }


def product_rate(side: int, dtype: Any) -> float:
    """Return the operations a second of one square product, accumulated in float32."""
    matrix = jnp.ones((side, side), dtype)
    product = compiled_call(lambda a: jnp.matmul(a, a, preferred_element_type=jnp.float32), matrix)
    return 2 * side**3 / measure({"product": product}, 3)["product"]


def hype_table(found: dict[str, Any]) -> list[str]:
    """Return the figures as lines."""
    sizes, base = found["hype_sizes"], found["hype_milliseconds"]["hype_paper"]
    lines = [f"CryoHype, an image of a step with its share of the update, box {sizes['box']}"]
    for name, value in found["hype_milliseconds"].items():
        share = found["hype_update_milliseconds"][name]
        lines.append(
            f"{name:<26}{value:12.2f}{base / value:9.2f}{'':>11}{found['hype_gflop'][name]:9.2f}"
            f"   of the ms, update {share:.2f}"
        )
    lines.append(
        f"default: {found['hype_default_images_per_s']:.1f} images/s, {found['fraction_of_peak']:.2f} of the "
        f"{found['bfloat16_product_gflop_per_s']:.0f} GFLOP/s of a bfloat16 product (float32: "
        f"{found['float32_product_gflop_per_s']:.0f}); bfloat16 {found['hype_bfloat16_ratio']:.2f} times as fast"
    )
    return lines
