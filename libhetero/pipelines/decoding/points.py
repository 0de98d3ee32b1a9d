"""Which volumes: particles, classes, latent points, paths and grids, each as latents to decode.

A Gaussian run's latent is a few numbers, and every point of it can be decoded. A CryoHype latent is all
weight tokens of a particle, of which `mid_00.txt` holds a hundred principal components: particles, and
means and lines between them, are encoded whole; only free points are lifted from the components.

Particles of several images, as the tilts of a series are, count once in what is found over all of them: components,
percentiles, means, medoids, neighbours. A particle is named by its first image.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.classes import class_medoids, class_members
from libhetero.analysis.paths import component_grid, component_line, neighbour_path, occupied_cells, straight_path
from libhetero.errors import ConfigurationError
from libhetero.io import read_latent
from libhetero.io.indices import check_indices
from libhetero.pipelines.decoding.class_files import class_names
from libhetero.pipelines.decoding.latents import decodable_latents, lifted_latents, particle_latents
from libhetero.pipelines.decoding.plane import plane_names
from libhetero.pipelines.run.folder import LATENTS, Run
from libhetero.tilts import one_image_each

LOGGER = logging.getLogger(__name__)
PLANE = "embed_particles.txt"


@dataclass(frozen=True, eq=False)
class VolumePoints:
    """Volumes to decode.

    Parameters
    ----------
    names : of each, the file's without its suffix.
    latents : of each, as the decoder takes them, in order; made as they are asked for.
    particle : (volumes,) the place in the list of the particle that each is, or of the one nearest to it.
    distance : (volumes,) of that particle, in the space of `mid_00.txt`; 0 where the volume is its own.
    points : (volumes, latent) in the space of `mid_00.txt` where a volume is no particle's; else None.
    joined : whether they follow one another.
    counts : (volumes,) particles of each, where they are of classes.
    """

    names: Sequence[str]
    latents: Iterable[Float[np.ndarray, "latent"]]
    particle: Int[np.ndarray, "volumes"]
    distance: Float[np.ndarray, "volumes"]
    points: Float[np.ndarray, "volumes columns"] | None = None
    joined: bool = False
    counts: Int[np.ndarray, "volumes"] | None = None

    def __len__(self) -> int:
        return len(self.names)


def of_particles(
    run: Run,
    indices: Int[np.ndarray, "volumes"],
    batch_size: int,
    names: Sequence[str] | None = None,
    joined: bool = False,
) -> VolumePoints:
    """Return the volumes of some particles.

    Parameters
    ----------
    indices : places in the particle set.
    batch_size : particles encoded at once.
    names : of the volumes; None for the particles' numbers.
    joined : whether they follow one another.
    """
    names = [f"particle_{index:06d}" for index in indices] if names is None else names
    latents = _rows(run, indices, batch_size)
    return VolumePoints(names, latents, indices, np.zeros(len(indices)), joined=joined)


def of_classes(run: Run, label: Int[np.ndarray, "particles"], centre: str, batch_size: int) -> VolumePoints:
    """Return a volume for each class, at its mean latent or of its medoid.

    The medoid is the member whose latent of `mid_00.txt` is nearest to the mean of its class.

    Parameters
    ----------
    label : class of every particle of the run, -1 for none.
    centre : "mean" or "medoid".
    batch_size : particles encoded at once.
    """
    names, shown = class_names(label), one_image_each(run.particles)[1]
    members = {one: _once(inside, shown) for one, inside in class_members(label).items()}
    counts = np.array([len(inside) for inside in members.values()])
    reduced = particle_latents(run, batch_size)
    if centre == "medoid":
        once = np.full(len(label), -1)
        for one, inside in members.items():
            once[inside] = one
        medoids = class_medoids(reduced, once)
        for one, particle in medoids.items():
            LOGGER.info("class %d: particle %d of %d", one, particle, len(members[one]))
        found = of_particles(run, np.array(list(medoids.values())), batch_size, list(names.values()))
        return replace(found, counts=counts)
    points = np.stack([reduced[inside].mean(axis=0) for inside in members.values()])
    latents = _class_means(run, members, batch_size)
    return replace(_near(run, reduced, list(names.values()), latents, points), counts=counts)


def of_latents(run: Run, path: str, batch_size: int) -> VolumePoints:
    """Return a volume for each point of a file laid out as `mid_00.txt`.

    Raises
    ------
    UserError : if it is no such file, or as wide as no latent of the run.
    """
    index, points = read_latent(path)
    latents = lifted_latents(run, points, path, batch_size)
    names = [f"latent_{number:04d}" for number in index]
    return _near(run, particle_latents(run, batch_size), names, latents, points)


def along_path(run: Run, anchors: Int[np.ndarray, "anchors"], steps: int, route: str, batch_size: int) -> VolumePoints:
    """Return volumes on a way through the latents of some particles.

    Parameters
    ----------
    anchors : two or more particles.
    steps : from each anchor to the next; at most so many for "graph".
    route : "graph", over particles from neighbour to neighbour, or "direct", the straight line.
    batch_size : particles encoded at once.

    Raises
    ------
    DataError : if no way leads from neighbour to neighbour.
    """
    reduced = particle_latents(run, batch_size)
    if route == "graph":
        first, shown = one_image_each(run.particles)
        indices = first[neighbour_path(reduced[first], shown[anchors], steps)]
        return of_particles(run, indices, batch_size, _numbered("path", len(indices)), joined=True)
    points = straight_path(reduced[anchors], steps)
    whole = np.concatenate(list(decodable_latents(run, anchors, batch_size)))
    latents = straight_path(whole, steps)
    return _near(run, reduced, _numbered("path", len(points)), latents, points, joined=True)


def along_component(run: Run, number: int, steps: int, batch_size: int) -> VolumePoints:
    """Return volumes along a principal component of the latents, from its 5th to its 95th percentile.

    Parameters
    ----------
    number : of the component, from 1.
    steps : from end to end.
    batch_size : particles encoded at once.

    Raises
    ------
    ConfigurationError : if the latents have fewer components.
    """
    reduced = particle_latents(run, batch_size)
    if number > reduced.shape[1]:
        raise ConfigurationError(
            f"--pc {number}: the latents have {reduced.shape[1]} number(s); expected at most that."
        )
    points = component_line(reduced[one_image_each(run.particles)[0]], number, steps)
    latents = lifted_latents(run, points, f"principal component {number}", batch_size)
    return _near(run, reduced, _numbered(f"pc_{number}", len(points)), latents, points, joined=True)


def along_coordinates(
    run: Run, places: Mapping[str, Float[np.ndarray, "images"]], steps: int, batch_size: int
) -> VolumePoints:
    """Return volumes along coordinates of the particles: of each, parts of as many particles, at their mean latents.

    Parameters
    ----------
    places : of each image's particle along each coordinate, by its name, which the names of its volumes begin with.
    steps : parts of each, at most as many as there are particles.
    batch_size : particles encoded at once.
    """
    found = []
    first, shown = one_image_each(run.particles)
    for name, place in places.items():
        rank = np.argsort(np.argsort(place[first], kind="stable"), kind="stable")
        part = of_classes(run, (rank * steps // len(rank))[shown], "mean", batch_size)
        found.append(replace(part, names=_numbered(name, steps)))
    return VolumePoints(
        [name for one in found for name in one.names],
        chain.from_iterable(one.latents for one in found),
        np.concatenate([one.particle for one in found]),
        np.concatenate([one.distance for one in found]),
        np.concatenate([cast(np.ndarray, one.points) for one in found]),
        joined=len(found) == 1,
        counts=np.concatenate([cast(np.ndarray, one.counts) for one in found]),
    )


def on_grid(run: Run, side: int, over: str, batch_size: int) -> VolumePoints:
    """Return volumes on a grid, grid_II_JJ: II along the first coordinate, JJ along the second.

    Parameters
    ----------
    side : points along each axis.
    over : "pc", the first two principal components of the latents from their 5th to 95th percentile,
        or "plane", the cells of the embedding that hold particles, each by the one nearest its centre.
    batch_size : particles encoded at once.

    Raises
    ------
    ConfigurationError : if there is no embedding to lay a grid over.
    """
    if over == "plane":
        plane = particle_plane(run)
        if plane is None:
            raise ConfigurationError(
                f"{run.classes_folder / PLANE}: missing, or older than the latents; expected the plane that the "
                f"grid is laid over. Make it with e2hype_embed.py {run.folder}."
            )
        cells, indices = occupied_cells(plane, side)
        names = [f"grid_{column:02d}_{row:02d}" for row, column in cells]
        return of_particles(run, indices, batch_size, names)
    reduced = particle_latents(run, batch_size)
    points = component_grid(reduced[one_image_each(run.particles)[0]], side)
    names = [f"grid_{place // side:02d}_{place % side:02d}" for place in range(len(points))]
    latents = lifted_latents(run, points, "the grid", batch_size)
    return _near(run, reduced, names, latents, points)


def particle_plane(run: Run) -> Float[np.ndarray, "particles 2"] | None:
    """Return where e2hype_embed.py put every particle; None if it has not, or not these latents."""
    path, latents = run.classes_folder / PLANE, run.folder / LATENTS
    if not path.exists() or (latents.exists() and _age(path) < _age(latents)):
        return None
    index, plane = read_latent(path)
    return plane if np.array_equal(index, np.arange(len(run.particles))) else None


def particle_plane_names(run: Run, plane: Float[np.ndarray, "particles 2"]) -> tuple[str, str] | None:
    """Return what the axes of `particle_plane` are called in figures; None where the run's latents are not kept."""
    path = run.folder / LATENTS
    return plane_names(plane, read_latent(path)[1]) if path.exists() else None


def parse_particles(run: Run, particles: Sequence[int]) -> Int[np.ndarray, "volumes"]:
    """Return the particles that volumes are asked of.

    Raises
    ------
    ConfigurationError : if there is no such particle.
    """
    return check_indices(np.array(particles), len(run.particles), "--particles")


def parse_anchors(run: Run, particles: Sequence[int]) -> Int[np.ndarray, "anchors"]:
    """Return the particles that a path leads through.

    Raises
    ------
    ConfigurationError : if there is no such particle, or the same twice in a row.
    """
    anchors = check_indices(np.array(particles), len(run.particles), "--path")
    shown = one_image_each(run.particles)[1][anchors]
    same = shown[1:] == shown[:-1]
    if same.any():
        raise ConfigurationError(f"--path: particle {anchors[1:][same][0]} follows itself; expected another particle.")
    return anchors


def _age(path: Path) -> float:
    return path.stat().st_mtime


def _numbered(stem: str, count: int) -> list[str]:
    digits = max(2, len(str(count - 1)))
    return [f"{stem}_{number:0{digits}d}" for number in range(count)]


def _once(images: Int[np.ndarray, "images"], shown: Int[np.ndarray, "all"]) -> Int[np.ndarray, "particles"]:
    """Return the first of some images of each particle, in their order; `shown` as `one_image_each` gives it."""
    return images[np.sort(np.unique(shown[images], return_index=True)[1])]


def _near(
    run: Run,
    reduced: Float[np.ndarray, "images columns"],
    names: Sequence[str],
    latents: Iterable[np.ndarray],
    points: Float[np.ndarray, "volumes columns"],
    joined: bool = False,
) -> VolumePoints:
    """Return free points, with the particle nearest to each."""
    distance = np.empty(len(points))
    particle = np.empty(len(points), int)
    first, _ = one_image_each(run.particles)
    reduced = reduced[first]
    for place, point in enumerate(points):
        apart = np.linalg.norm(reduced - point.astype(np.float32), axis=1)
        nearest = int(apart.argmin())
        particle[place], distance[place] = first[nearest], apart[nearest]
    return VolumePoints(names, latents, particle, distance, points, joined)


def _rows(run: Run, indices: Int[np.ndarray, "particles"], batch_size: int) -> Iterator[Float[np.ndarray, "latent"]]:
    """Yield the whole latent of each particle."""
    for block in decodable_latents(run, indices, min(batch_size, len(indices))):
        yield from block


def _class_means(run: Run, members: dict[int, np.ndarray], batch_size: int) -> Iterator[Float[np.ndarray, "latent"]]:
    """Yield the mean of the whole latents of each class, in one stream over all members."""
    rows = _rows(run, np.concatenate(list(members.values())), batch_size)
    for inside in members.values():
        total = next(rows).astype(np.float64)
        for row in islice(rows, len(inside) - 1):
            total += row
        yield (total / len(inside)).astype(np.float32)
