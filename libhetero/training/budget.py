"""What a training step costs, from its compiled program; nothing is run.

The memory of one device is

    M(b) = state + BATCHES · batch + temporaries

for b particles a device: the state (parameters, optimiser and running average) is updated in place,
and `BATCHES` batches are on a device at once (those read ahead among them). The program that is compiled to know the
temporaries is the one that is run (`compiled_step`). To choose a batch for D devices one device is asked about
b = B / D, so that nothing is compiled for the others; what the sums over devices need beside the gradient is left out.

On processors the first step copies the state, which it is given as arrays of the host: temporaries have it there.
Estimated so, with all else that the process held, steps of CryoHype at preset default, of 8 and of 24 particles of 64
pixels, come to 3.27 and 5.65 GiB; 3.29 and 5.73 GiB were measured.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from libhetero.errors import ConfigurationError
from libhetero.files import free_memory
from libhetero.records import Batch
from libhetero.telling import byte_size
from libhetero.telling.waiting import working
from libhetero.training import sharding
from libhetero.training.configuration import TrainingConfig
from libhetero.training.flops import product_flops
from libhetero.training.optimiser import Loss, build_optimiser, start_state, training_step

LOGGER = logging.getLogger(__name__)
BATCHES = 4  # in use, and read ahead
USABLE = 0.9  # of a device's memory; the rest goes to what an allocator cannot use
GRANULE = 8  # particles a device, above which batches are multiples of it


@dataclass(frozen=True)
class StepCost:
    """What one step costs.

    Parameters
    ----------
    parameters : numbers that are learnt.
    flops_per_particle : operations of matrix products, forward and backward.
    state_bytes : parameters, optimiser and averages, on every device.
    batch_bytes : of the particles of one batch on one device.
    temporary_bytes : of the step on one device; what it gives besides the state is among them.
    """

    parameters: int
    flops_per_particle: float
    state_bytes: int
    batch_bytes: int
    temporary_bytes: int

    @property
    def device_bytes(self) -> int:
        """Memory of one device."""
        return self.state_bytes + BATCHES * self.batch_bytes + self.temporary_bytes


@dataclass(frozen=True, eq=False)
class CompiledStep:
    """The program of a step, ready to be run, and what it needs.

    Parameters
    ----------
    run : the program, (state, batch) -> (state, metrics).
    seconds : that compiling it took.
    state_bytes, batch_bytes, temporary_bytes : as in `StepCost`.
    """

    run: jax.stages.Compiled
    seconds: float
    state_bytes: int
    batch_bytes: int
    temporary_bytes: int

    @property
    def device_bytes(self) -> int:
        """Memory of one device."""
        return self.state_bytes + BATCHES * self.batch_bytes + self.temporary_bytes


def compiled_step(
    loss: Loss, params: Any, particle: Batch, config: TrainingConfig, per_epoch: int, mesh: Mesh
) -> CompiledStep:
    """Compile a step for the devices of a mesh.

    Parameters
    ----------
    loss : of the model.
    params : its parameters, or their shapes.
    particle : a batch of any size that shows shapes and types.
    config : of the training.
    per_epoch : steps of an epoch.
    mesh : the devices of all processes.
    """
    began = time.monotonic()
    optimiser = build_optimiser(config, per_epoch)
    state = jax.eval_shape(lambda params: start_state(params, optimiser, config), params)
    size = sharding.padded_size(config.batch_size, mesh, config.accumulate)
    batch = _of_size(particle, size)
    step = sharding.compile_step(training_step(loss, optimiser, config), mesh)
    with working(LOGGER.info, f"compiling a step for {size} particles"):
        compiled = step.lower(state, batch).compile()
    memory: Any = compiled.memory_analysis()
    temporary = memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    if mesh.devices.flat[0].platform == "cpu":
        temporary += _size(state)
    return CompiledStep(compiled, time.monotonic() - began, _size(state), _size(batch) // mesh.size, temporary)


def step_cost(loss: Loss, params: Any, particle: Batch, config: TrainingConfig, share: int) -> StepCost:
    """Compile the step for one device and read what it needs.

    Parameters
    ----------
    loss, params, particle, config : as in `compiled_step`.
    share : particles of the batch on one device.
    """
    one = sharding.data_mesh(jax.local_devices()[:1])
    step = compiled_step(loss, params, particle, dataclasses.replace(config, batch_size=share), 1, one)
    return cost_of(step, loss, params, particle, share)


def cost_of(step: CompiledStep, loss: Loss, params: Any, particle: Batch, share: int) -> StepCost:
    """Return what a compiled step costs, its work counted too.

    Parameters
    ----------
    loss, params, particle : that it was compiled for.
    share : particles of its batch on one device.
    """

    def gradient(params: Any, batch: Batch) -> Any:
        return jax.grad(lambda params: loss(params, batch, jax.random.key(0))[0])(params)

    return StepCost(
        parameters=sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params)),
        flops_per_particle=product_flops(gradient, params, _of_size(particle, share)) / share,
        state_bytes=step.state_bytes,
        batch_bytes=step.batch_bytes,
        temporary_bytes=step.temporary_bytes,
    )


def _of_size(particle: Batch, size: int) -> Batch:
    """Return the shapes and types of so many particles."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((size * particle.views, *np.shape(leaf)[1:]), np.asarray(leaf).dtype),
        particle,
    )


def _size(tree: Any) -> int:
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def largest_share(needed: Callable[[int], int], limit: int, most: int, views: int = 1) -> int:
    """Return the largest share of a batch, particles a device, whose memory is at most `limit` bytes.

    Memory is taken as linear in the share, from two of them, and the answer is then compiled: the first
    that fits, going down, is returned. It is at most `most`.

    Parameters
    ----------
    needed : memory of one device for a share, bytes.
    limit : memory of one device, bytes.
    views : images of each particle, for the remedies.

    Raises
    ------
    ConfigurationError : if one particle a device does not fit.
    """
    one = needed(1)
    if one > limit:
        particle, fewer = (
            ("particle", "") if views == 1 else (f"particle of {views} images", "fewer images (--ntilts), ")
        )
        raise ConfigurationError(
            f"one {particle} a device needs {byte_size(one)}; expected at most the {byte_size(limit)} "
            f"there are. Use {fewer}a smaller --box, or the smaller network of --preset small."
        )
    probe = min(most, GRANULE)
    slope = (needed(probe) - one) / max(probe - 1, 1)
    share = rounded_share(min(most, 1 + (limit - one) / slope) if slope > 0 else most)
    while share > 1 and needed(share) > limit:
        share = rounded_share(0.9 * share)
    return share


def rounded_share(share: float) -> int:
    """Return a share that may be chosen: whole, at least 1, a multiple of 8 where it is larger."""
    whole = max(int(share), 1)
    return whole if whole < GRANULE else whole - whole % GRANULE


def device_memory() -> int | None:
    """Return the bytes that a step may use on one local device; None where neither it nor the system tells.

    On an accelerator what its allocator may take; on the CPU what is free on the machine, or in the
    control group of the process, in equal parts for the local devices.
    """
    device = jax.local_devices()[0]
    known = device.memory_stats() or {}
    if "bytes_limit" in known:
        return int(USABLE * known["bytes_limit"])
    free = free_memory() if device.platform == "cpu" else None  # what the machine has is not what an accelerator has
    return None if free is None else int(USABLE * free) // jax.local_device_count()
