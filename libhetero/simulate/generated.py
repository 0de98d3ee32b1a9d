"""Simulations of complexes made from a seed, ready to render."""

from __future__ import annotations

from functools import partial

from libhetero.records import CTFParams
from libhetero.simulate.bodies import Body, body_of_gaussians
from libhetero.simulate.complex import Complex
from libhetero.simulate.imaging import ImagingConfig
from libhetero.simulate.simulation import Simulation
from libhetero.simulate.states import StateConfig, hinge_and_axis


def assembly_of(
    complex_: Complex,
    imaging: ImagingConfig,
    probability: float = 0.5,
    ctf_table: CTFParams | None = None,
) -> Simulation:
    """Simulate a complex whose pieces besides the core are each present with `probability`."""
    return _of_one("assembly", complex_, imaging, StateConfig(probability=probability), ctf_table)


def motion_of(
    complex_: Complex,
    imaging: ImagingConfig,
    max_angle: float,
    ctf_table: CTFParams | None = None,
) -> Simulation:
    """Simulate a complex whose pieces besides the core each turn by up to ± `max_angle` radians."""
    return _of_one("motion", complex_, imaging, StateConfig(max_angle=max_angle), ctf_table)


def mixture_of(
    complexes: tuple[Complex, ...],
    imaging: ImagingConfig,
    ctf_table: CTFParams | None = None,
) -> Simulation:
    """Simulate a mixture of complexes in equal shares."""
    load = partial(_whole_body, complexes, imaging.pixel_size)
    return Simulation("mixture", imaging, StateConfig(), len(complexes), load, ctf_table)


def bodies_of_complex(complex_: Complex, pixel_size: float) -> list[Body]:
    """Return the body of every piece, hinged to the core (`hinge_and_axis`)."""
    position = complex_.gaussians.position
    bodies = []
    for k in range(complex_.pieces):
        body = body_of_gaussians(complex_.gaussians.take(complex_.piece == k), pixel_size)
        if k > 0:
            pieces = position[complex_.piece == 0], position[complex_.piece == k]
            body = Body(body.volume, body.centre, *hinge_and_axis(*pieces, seed=k))
        bodies.append(body)
    return bodies


def _of_one(
    kind: str,
    complex_: Complex,
    imaging: ImagingConfig,
    states: StateConfig,
    ctf_table: CTFParams | None,
) -> Simulation:
    bodies = bodies_of_complex(complex_, imaging.pixel_size)
    return Simulation(kind, imaging, states, 1, lambda structure: bodies, ctf_table)


def _whole_body(complexes: tuple[Complex, ...], pixel_size: float, structure: int) -> list[Body]:
    return [body_of_gaussians(complexes[structure].gaussians, pixel_size)]
