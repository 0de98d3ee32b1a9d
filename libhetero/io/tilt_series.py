"""Tilt series as lists hold them: several images of each particle, with the tilt of the stage and the exposure.

A list states the exposure of an image, or says it by its B-factor, as Warp and M do (-4 · exposure, read by its size),
or leaves it to the order of a particle's images. `libhetero.tilts` has what needs no list: images by particle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import DataError
from libhetero.io import lst, star
from libhetero.io.check import describe_source
from libhetero.io.origin import original_table
from libhetero.records import CTFParams, ParticleSet

WEIGHTINGS = ("list", "curve", "none")
PER_DOSE = 4.0  # Å² of Warp's B-factor for each e⁻/Å²
SAME_TILT = 0.1  # degrees
LEAST_COSINE = 0.01  # of a tilt that is one of a stage
SAME_DOSE = 3.0  # as a factor: how far the exposures of B-factors and those that are stated may be from each other
REMEDY = "give that of each image with --dose"


def least_exposed(particles: ParticleSet, count: int) -> ParticleSet:
    """Return the set with the `count` images of least exposure of each particle, in the order of the list.

    A particle of fewer images keeps all. Where nothing tells exposures, the first images of each are taken (by EMAN2's
    `tilt_id`, where a list has that).

    Raises
    ------
    DataError : for a list of single images.
    """
    group = _group(particles)
    return particles.take(_rank(group, _order(particles)) < count)


def tilted_less(particles: ParticleSet, degrees: float) -> ParticleSet:
    """Return the set without images that are tilted by more than `degrees`, to either side, but for 0.1 degrees: stages
    and lists round.

    Raises
    ------
    DataError : for a list of single images or one that tells no tilts, or where no image is left.
    """
    if particles.tilt is None:
        _group(particles)
        raise DataError(
            f"{describe_source(particles)}: tells no tilts; expected rlnTomoNominalStageTiltAngle, hetero_tilt, or "
            "rlnCtfScalefactor that is the cosine of the tilt. Choose images by exposure (--ntilts) instead."
        )
    kept = np.abs(particles.tilt) <= degrees + SAME_TILT
    if not kept.any():
        raise DataError(
            f"{describe_source(particles)}: all images are tilted by more than {degrees:g} degrees, the least by "
            f"{np.abs(particles.tilt).min():.1f}; expected some below. Raise --notilts_above."
        )
    return particles.take(kept)


def with_exposure(particles: ParticleSet, dose_per_tilt: float) -> ParticleSet:
    """Return the set with the exposure of each image by its place in its particle's series: (place + 1/2) · dose.

    The place is by Warp's B-factors, which then are 0 so that no dose counts twice, or else by the order of the list
    (of EMAN2's `tilt_id`, where it has that).

    Parameters
    ----------
    particles : of a list that states no exposures.
    dose_per_tilt : e⁻/Å² that each image adds.

    Raises
    ------
    DataError : for a list of single images, without CTF, or that states exposures.
    """
    group, ctf = _group(particles), _ctf(particles)
    if ctf.exposure is not None:
        raise DataError(f"{describe_source(particles)}: states the exposure of each image; leave --dose out.")
    exposure = (_rank(group, _order(particles)) + 0.5) * dose_per_tilt
    b_factor = np.zeros_like(ctf.b_factor) if _b_factor_is_dose(particles) else ctf.b_factor
    return dataclasses.replace(
        particles, ctf=dataclasses.replace(ctf, exposure=exposure.astype(np.float32), b_factor=b_factor)
    )


def weighted_by(particles: ParticleSet, how: str) -> ParticleSet:
    """Return the set with what its images fade by.

    Parameters
    ----------
    particles : tilt series.
    how : "list": by B-factor and exposure as the list states them. "curve": by exposure, which Warp's B-factors are
        turned into where none is stated, and which are left out where exposures are. "none": by neither.

    Raises
    ------
    DataError : for a list of single images or without CTF, and "curve" of one that tells no exposures.
    """
    if how == "list":
        return particles
    _group(particles)
    ctf = _ctf(particles)
    if how == "none":
        ctf = dataclasses.replace(ctf, exposure=None, b_factor=np.zeros_like(ctf.b_factor))
    elif ctf.exposure is None:
        exposure = known_exposure(particles)
        if exposure is None:
            raise DataError(f"{describe_source(particles)}: tells no exposures for a curve; {REMEDY}.")
        ctf = dataclasses.replace(ctf, exposure=exposure.astype(np.float32), b_factor=np.zeros_like(ctf.b_factor))
    elif _b_factor_is_dose(particles):
        ctf = dataclasses.replace(ctf, b_factor=np.zeros_like(ctf.b_factor))
    return dataclasses.replace(particles, ctf=ctf)


def faded_once(particles: ParticleSet) -> ParticleSet:
    """Return the set without exposures where its B-factors say them, too, so that no dose counts twice."""
    ctf = particles.ctf
    if ctf is None or ctf.exposure is None or not _b_factor_is_dose(particles):
        return particles
    return dataclasses.replace(particles, ctf=dataclasses.replace(ctf, exposure=None))


def thinned(particles: ParticleSet) -> ParticleSet:
    """Return the set with the cosine of each image's tilt as the factor of its CTF, where the list tells tilts and all
    factors are 1: of a tilted specimen, whose ice is thicker along the beam, an image has so much of the signal.

    As they are where a tilt is one of 90 degrees or nearly, which no stage has.
    """
    ctf = particles.ctf
    if ctf is None or particles.tilt is None or np.any(np.asarray(ctf.scale) != 1):
        return particles
    cosine = _cosine(particles.tilt)
    if np.all(cosine == 1) or np.any(cosine < LEAST_COSINE):
        return particles
    return dataclasses.replace(particles, ctf=dataclasses.replace(ctf, scale=cosine))


def is_thinned(particles: ParticleSet) -> bool:
    """Return whether the factor of each image's CTF is what `thinned` gives, by its list or not."""
    ctf, tilt = particles.ctf, particles.tilt
    return ctf is not None and tilt is not None and np.array_equal(np.asarray(ctf.scale), _cosine(tilt))


def apart(particles: ParticleSet) -> ParticleSet:
    """Return the set with every image as a particle of its own; which ones its list puts together stays known."""
    series = particles.series if particles.group is None else particles.group
    return dataclasses.replace(particles, group=None, series=series)


def together(particles: ParticleSet) -> ParticleSet:
    """Return the set with images of one particle as its list tells them, also where they were taken apart."""
    if particles.series is None:
        return particles
    return dataclasses.replace(particles, group=particles.series, series=None)


def as_stated(particles: ParticleSet) -> ParticleSet:
    """Return the set with B-factors and exposures as its list states them, whatever has been made of them since, and
    without the factors of its CTF that `thinned` gave.

    Of a set whose list states no CTF they stay as they are.
    """
    source, ctf = particles.source, particles.ctf
    stated: CTFParams | None = None
    if ctf is None or source is None:
        return particles
    if source.format == "lst":
        stated = lst.stated_ctf(source.data, source.rows)
    elif source.format == "star":
        stated = star.read_ctf(source.data, source.rows)
        exposure = star.read_exposure(source.data)
        if stated is not None and exposure is not None:
            stated = dataclasses.replace(stated, exposure=exposure[source.rows])
    if stated is None:
        return particles
    scale = stated.scale if is_thinned(particles) else ctf.scale
    ctf = dataclasses.replace(ctf, b_factor=stated.b_factor, exposure=stated.exposure, scale=scale)
    return dataclasses.replace(particles, ctf=ctf)


def known_exposure(particles: ParticleSet) -> Float[np.ndarray, "particles"] | None:
    """Return the exposure of each image in e⁻/Å²: as stated, or by Warp's B-factors; None where nothing tells it."""
    ctf = particles.ctf
    if ctf is not None and ctf.exposure is not None:
        return np.asarray(ctf.exposure)
    return np.asarray(ctf.b_factor) / PER_DOSE if ctf is not None and _b_factor_is_dose(particles) else None


def particle_names(particles: ParticleSet) -> list[str]:
    """Return what the list calls the particle that each image shows: RELION's or Warp's name, EMAN2's `ptcl3d_id`.

    Raises
    ------
    DataError : for a list of single images.
    """
    return labelled_names(particles)[1]


def labelled_names(particles: ParticleSet) -> tuple[str | None, list[str]]:
    """Return the label of the .star behind a list that tells which particle an image shows, and its value for each
    image; the label None where no .star tells it, and numbers then.

    Raises
    ------
    DataError : for a list of single images.
    """
    group = _group(particles)
    found = original_table(particles, "star", star.read_table)
    label = None if found is None else star.series_label(found[0])
    if found is not None and label is not None:
        return label, found[0].particles[label].to_numpy(object)[found[1]].tolist()
    ids = lst_column(particles, "ptcl3d_id")
    return None, [str(number) for number in (group.tolist() if ids is None else ids)]


def particle_keys(particles: ParticleSet, by_name: bool) -> list[tuple[str, str]]:
    """Return what tells the particle that each image shows in several lists of the same particles.

    Parameters
    ----------
    particles : tilt series.
    by_name : True for its name, wherever a .star tells it, so that a .star and a project list may be compared; False to
        tell particles of one name in two imports apart.

    Returns
    -------
    of each image, (the file that a number counts in, "" for a name; name or number).
    """
    group, source = _group(particles).tolist(), particles.source
    if source is None or source.format != "lst":
        named = source is not None and source.format == "star"
        origin = "" if named else describe_source(particles)
        called = particle_names(particles) if named else [str(number) for number in group]
        return [(origin, one) for one in called]
    lines = [lst.line_values(source.data, int(row)) for row in source.rows]
    keys = [
        (str(line.get("hetero_source", "")), str(line.get("ptcl3d_id", number)))
        for line, number in zip(lines, group, strict=True)
    ]
    if not by_name:
        return keys
    imports = np.array([origin for origin, _ in keys], object)
    for origin in dict.fromkeys(imports.tolist()):
        places = np.flatnonzero(imports == origin)
        found = original_table(particles.take(places), "star", star.read_table)
        label = None if found is None else star.series_label(found[0])
        if found is not None and label is not None:
            names = found[0].particles[label].to_numpy(object)[found[1]]
            for place, name in zip(places.tolist(), names.tolist(), strict=True):
                keys[place] = ("", name)
    return keys


def lst_column(particles: ParticleSet, key: str) -> list[int] | None:
    """Return a whole number that all lines of a project list hold; None where a line does not, or of other lists."""
    source = particles.source
    if source is None or source.format != "lst":
        return None
    values = [lst.line_values(source.data, int(row)).get(key) for row in source.rows]
    whole = [int(value) for value in values if isinstance(value, int | float) and float(value).is_integer()]
    return whole if len(whole) == len(values) else None


def describe_series(particles: ParticleSet) -> str:
    """Return a line on the images, particles, tilts and exposures of a set of tilt series."""
    group = _group(particles)
    count = len(np.unique(group))
    images, shown = _counted(len(particles), "image"), _counted(count, "particle")
    return ", ".join([f"{images} of {shown} (tilt series)", *ranges(particles)])


def ranges(particles: ParticleSet) -> list[str]:
    """Return in words from where to where tilts and exposures of a set go, as far as they are known."""
    lines, exposure = [], known_exposure(particles)
    if particles.tilt is not None and len(particles):
        signed = bool(np.any(particles.tilt < 0))
        low = f"{particles.tilt.min():.0f}" if signed else f"{np.abs(particles.tilt).min():.0f}"
        lines.append(f"tilts {low} to {particles.tilt.max():.0f} degrees{'' if signed else ' without a sign'}")
    if exposure is not None and len(particles):
        by = "" if particles.ctf is not None and particles.ctf.exposure is not None else " (by B-factors)"
        lines.append(f"exposure {exposure.min():.1f} to {exposure.max():.1f} e-/Å²{by}")
    return lines


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _group(particles: ParticleSet) -> Int[np.ndarray, "particles"]:
    if particles.group is None:
        raise DataError(
            f"{describe_source(particles)}: holds no tilt series (no rlnTomoParticleName, Warp's rlnGroupName or "
            "ptcl3d_id); expected several images of each particle. Leave the options of tilt series out."
        )
    return np.asarray(particles.group)


def _cosine(tilt: Float[np.ndarray, "images"]) -> Float[np.ndarray, "images"]:
    return np.cos(np.radians(tilt)).astype(np.float32)


def _ctf(particles: ParticleSet) -> CTFParams:
    if particles.ctf is None:
        raise DataError(
            f"{describe_source(particles)}: has no CTF, and exposures are part of it; expected one for each image. "
            "Leave --dose and --dose_weighting out."
        )
    return particles.ctf


def _b_factor_is_dose(particles: ParticleSet) -> bool:
    """Return whether B-factors say exposures: there are some, no two images of a particle have one, and where exposures
    are stated, too, the two are alike."""
    if particles.group is None or particles.ctf is None:
        return False
    b_factor, exposure = np.asarray(particles.ctf.b_factor), particles.ctf.exposure
    pairs = np.stack([np.asarray(particles.group, np.float64), b_factor.astype(np.float64)], axis=1)
    if not np.any(b_factor > 0) or len(np.unique(pairs, axis=0)) < len(pairs):
        return False
    if exposure is None:
        return True
    said, stated = np.median(b_factor) / PER_DOSE, np.median(np.asarray(exposure))
    return bool(said <= SAME_DOSE * stated and stated <= SAME_DOSE * said)


def _order(particles: ParticleSet) -> Float[np.ndarray, "particles"]:
    """Return numbers that rise along each particle's series."""
    exposure = known_exposure(particles)
    if exposure is not None:
        return exposure
    tilt_id: Sequence[int] | None = lst_column(particles, "tilt_id")
    return np.arange(len(particles), dtype=np.float64) if tilt_id is None else np.array(tilt_id, np.float64)


def _rank(group: Int[np.ndarray, "images"], order: Float[np.ndarray, "images"]) -> Int[np.ndarray, "images"]:
    """Return the place of each image in its particle's series, from 0; equals by the order of the list."""
    along = np.lexsort((np.arange(len(group)), order, group))
    of = group[along]
    first = np.searchsorted(of, of)
    rank = np.empty(len(group), np.int64)
    rank[along] = np.arange(len(group)) - first
    return rank
