"""The steps of writing a set: each can be done once, in any order, by any process.

A structure is surveyed first (its signal, and in a mixture its true map), then its particles are
rendered in blocks. The result of a step is what has to be known of it in the end, as JSON types; by
then its data lie on the disk.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from jaxtyping import Int

import libhetero.physics  # noqa: F401  (records become pytrees)
from libhetero.files import flush_to_disk
from libhetero.io import write_volume
from libhetero.io.pixel_statistics import PixelStatistics
from libhetero.io.placed_stack import PlacedStack
from libhetero.simulate.bodies import PreparedBodies
from libhetero.simulate.simulation import Simulation
from libhetero.simulate.structures import Structure

BLOCK = 1024  # images of one block, at most


@dataclass(frozen=True)
class Survey:
    """The step that surveys one structure."""

    structure: int


@dataclass(frozen=True, eq=False)
class Render:
    """The step that renders one block.

    Parameters
    ----------
    block : its number.
    structure : of its particles.
    index : (b,) int32, its images.
    noise_deviation : before cropping.
    """

    block: int
    structure: int
    index: Int[np.ndarray, "block"]
    noise_deviation: float


def stack_of(folder: Path, simulation: Simulation) -> PlacedStack:
    """Return the stack of a set in this folder."""
    imaging = simulation.imaging
    return PlacedStack(folder / "particles.mrcs", imaging.final_box, imaging.images, imaging.final_pixel_size)


def rendering_of(simulation: Simulation, noise_deviation: float) -> list[Render]:
    """Return the steps that render a set, structure by structure."""
    return [Render(number, k, index, noise_deviation) for number, (k, index) in enumerate(simulation.work(BLOCK))]


class SetWorker:
    """Does steps.

    Parameters
    ----------
    simulation : what is simulated.
    folder : of the set in the making, with its stack and `truth`.
    threads : chunks of particles rendered at the same time, and threads of a transform.
    """

    def __init__(self, simulation: Simulation, folder: Path, threads: int) -> None:
        self._simulation, self._folder, self._threads = simulation, folder, threads
        self._prepared: tuple[int, PreparedBodies] | None = None

    def __call__(self, step: Survey | Render) -> dict[str, Any]:
        """Do one step and return what is to be recorded of it."""
        with scipy.fft.set_workers(self._threads):
            return self._survey(step) if isinstance(step, Survey) else self._render(step)

    def _survey(self, step: Survey) -> dict[str, Any]:
        k, simulation = step.structure, self._simulation
        said = {"structure": k, "signal": dataclasses.astuple(simulation.signal_sums(k))}
        if simulation.kind == "mixture":
            structure = simulation.load_structure(k)
            self._write_map(structure, None, f"map_{k:03d}.mrc")
            if simulation.moving is not None and k in simulation.moving.numbers:
                for piece in range(len(structure.names)):
                    self._write_map(structure, piece, f"map_{k:03d}_piece_{piece:02d}.mrc")
            said["name"] = structure.names[0]
        return said

    def _write_map(self, structure: Structure, piece: int | None, name: str) -> None:
        imaging, path = self._simulation.imaging, self._folder / "truth" / name
        volume = structure.map(piece, imaging.final_box, imaging.final_pixel_size)
        write_volume(path, volume, imaging.final_pixel_size)
        flush_to_disk(path)

    def _render(self, step: Render) -> dict[str, Any]:
        k = step.structure
        if self._prepared is None or self._prepared[0] != k:
            self._prepared = None  # frees its memory before the next is made
            self._prepared = k, self._simulation.prepared(k)
        rendered = self._simulation.render(k, self._prepared[1], step.index, step.noise_deviation, self._threads)
        statistics = PixelStatistics()
        with stack_of(self._folder, self._simulation).writing() as write:
            for chunk in rendered:
                write(chunk.images, chunk.index)
                statistics += PixelStatistics.of(chunk.images)
        return {"block": step.block, "pixels": dataclasses.astuple(statistics)}
