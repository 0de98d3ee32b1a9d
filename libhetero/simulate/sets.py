"""Simulations of the three kinds, from any structure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from libhetero.errors import ConfigurationError
from libhetero.records import CTFParams
from libhetero.simulate.bodies import Body
from libhetero.simulate.complex import Complex
from libhetero.simulate.configuration import PRESENT, ImagingConfig, StateConfig
from libhetero.simulate.simulation import Simulation
from libhetero.simulate.states import MovingStructures
from libhetero.simulate.structures import BeadStructure, Structure, bodies_of_structure, check_fits

BODIES_KEPT = 512 * 2**20  # bytes of bodies held in memory; others are made again when needed


@dataclass(frozen=True, eq=False)
class GivenStructures:
    """Structures that lie in memory."""

    structures: tuple[Structure, ...]

    def __call__(self, k: int) -> Structure:
        """Return structure k."""
        return self.structures[k]


class LastStructure:
    """Structures read or made when asked for; the last one is kept.

    Parameters
    ----------
    load : gives structure k.
    """

    def __init__(self, load: Callable[[int], Structure]) -> None:
        self._load = load
        self._last: tuple[int, Structure] | None = None

    def __call__(self, k: int) -> Structure:
        """Return structure k."""
        if self._last is None or self._last[0] != k:
            self._last = k, self._load(k)
        return self._last[1]


class BodyCache:
    """The bodies of structures, made when asked for; the last ones are kept within a budget.

    Parameters
    ----------
    load : gives structure k.
    imaging : box and pixel size.
    apart : numbers of the structures of a mixture that are one body per piece, the others being one body each; None
        for one structure in pieces.
    moving : True to hinge the pieces.
    """

    def __init__(
        self, load: Callable[[int], Structure], imaging: ImagingConfig, apart: Collection[int] | None, moving: bool
    ) -> None:
        self._load, self._imaging = load, imaging
        self._apart, self._moving = apart, moving
        self._kept: OrderedDict[int, list[Body]] = OrderedDict()

    def __call__(self, k: int) -> list[Body]:
        """Return the bodies of structure k."""
        if k in self._kept:
            return self._kept[k]
        structure, pixel_size = self._load(k), self._imaging.pixel_size
        name = "the structure" if self._apart is None else f"structure {k} ({structure.names[0]})"
        check_fits(structure, self._imaging.box_size * pixel_size, name)
        if self._apart is None or k in self._apart:
            bodies = bodies_of_structure(structure, pixel_size, self._moving)
        else:
            bodies = [structure.body(None, pixel_size)]
        self._kept[k] = bodies
        while self._size() > BODIES_KEPT and len(self._kept) > 1:
            self._kept.popitem(last=False)
        return bodies

    def _size(self) -> int:
        return sum(body.volume.nbytes for bodies in self._kept.values() for body in bodies)


def assembly_of(
    structure: Structure | Complex,
    imaging: ImagingConfig,
    states: StateConfig | None = None,
    ctf_table: CTFParams | None = None,
) -> Simulation:
    """Simulate a structure whose pieces besides the core are each present or not, or turn.

    Parameters
    ----------
    states : with which probability, and which pieces turn; None for all to come and go with probability ½.
    """
    return _of_pieces("assembly", structure, imaging, states or StateConfig(probability=PRESENT), ctf_table)


def motion_of(
    structure: Structure | Complex, imaging: ImagingConfig, max_angle: float, ctf_table: CTFParams | None = None
) -> Simulation:
    """Simulate a structure whose pieces besides the core turn by up to ± `max_angle` radians."""
    return _of_pieces("motion", structure, imaging, StateConfig(max_angle=max_angle), ctf_table)


def mixture_of(
    structures: Sequence[Complex] | Callable[[int], Structure],
    imaging: ImagingConfig,
    ctf_table: CTFParams | None = None,
    count: int | None = None,
    moving: MovingStructures | None = None,
) -> Simulation:
    """Simulate a mixture in equal shares.

    Parameters
    ----------
    structures : complexes, or a function that gives structure k (it is called more than once), of one piece, or of
        several where it moves.
    imaging : how the images are made.
    ctf_table : see `Simulation`.
    count : number of structures when `structures` is a function.
    moving : which structures move; None where none does.
    """
    if callable(structures):
        if count is None:
            raise ConfigurationError("a mixture of structures that a function gives needs their number.")
        load: Callable[[int], Structure] = LastStructure(structures)
    else:
        load, count = GivenStructures(tuple(BeadStructure(one) for one in structures)), len(structures)
    apart = [] if moving is None else moving.numbers
    cache = BodyCache(load, imaging, apart, moving=moving is not None)
    return Simulation("mixture", imaging, StateConfig(), count, load, cache, ctf_table, moving)


def _of_pieces(
    kind: str, structure: Structure | Complex, imaging: ImagingConfig, states: StateConfig, ctf_table: CTFParams | None
) -> Simulation:
    load = GivenStructures((BeadStructure(structure) if isinstance(structure, Complex) else structure,))
    cache = BodyCache(load, imaging, None, moving=kind == "motion" or states.max_angle > 0)
    return Simulation(kind, imaging, states, 1, load, cache, ctf_table)
