"""How each particle of a run is seen, as coarsely as a run keeps it, and what has changed since: refined, or another.

Two CTFs are the same where they transfer the same: astigmatism is compared as the two numbers that it is, so that half
a turn of its angle, U and V exchanged with a quarter of one, and any angle where they are equal are no change;
amplitude contrast and phase shift are compared as the one phase that they are.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from libhetero.io.tilt_series import is_thinned
from libhetero.records import ParticleSet

WORDS = {"rotation": "orientation", "shift": "shift", "ctf": "CTF"}
SAME_ROTATION, SAME_SHIFT = (2e-3, 0.0), (0.05, 2e-3)  # of a matrix, and in Å: absolute and relative
SAME_CTF = (
    *(5.0, 5.0, 5.0),  # mean defocus and the two parts of the astigmatism, Å
    *(0.1, 1e-3),  # kV, mm
    *(2e-3, 2e-3),  # cosine and sine of the phase of amplitude contrast and phase shift
    *(0.5, 2e-3),  # Å², scale
)
SCALE = len(SAME_CTF) - 1
SAME_ABERRATION = (1e-3, 1e-3)
FAR_ANGLE, FAR_DEFOCUS = 10.0, 500.0  # degrees, Å: further than most particles go when they are refined


def seen(particles: ParticleSet) -> dict[str, np.ndarray]:
    """Return rotation (particles, 3, 3), shift (particles, 2) in Å and the CTF's parameters, without what is absent."""
    found: dict[str, np.ndarray] = {}
    if particles.pose is not None:
        found["rotation"] = np.asarray(particles.pose.rotation, np.float16)
        found["shift"] = np.asarray(particles.pose.shift, np.float32)
    if particles.ctf is not None:
        columns = [np.reshape(column, (len(particles), -1)) for column in particles.ctf.columns().values()]
        found["ctf"] = np.concatenate(columns, axis=1).astype(np.float32)
    return found


def changed(then: dict[str, np.ndarray], now: dict[str, np.ndarray]) -> dict[str, Bool[np.ndarray, "particles"]]:
    """Return which particles are seen otherwise, of each of what both tell (`WORDS`)."""
    found = {}
    for name, same in (("rotation", SAME_ROTATION), ("shift", SAME_SHIFT)):
        if name in then and name in now:
            found[name] = _differing(then[name], now[name], *same)
    if "ctf" in then and "ctf" in now:
        found["ctf"] = _other_ctf(then["ctf"], now["ctf"])
    return found


def exposed_since(then: dict[str, np.ndarray], particles: ParticleSet) -> bool:
    """Return whether a list states an exposure of each image where none was read of it before.

    Programs of before did not read rlnMicrographPreExposure; exposure is the last parameter of a CTF.
    """
    if particles.ctf is None or particles.ctf.exposure is None or "ctf" not in then:
        return False
    return then["ctf"].shape[1] == seen(particles)["ctf"].shape[1] - 1


def at_full_strength(then: dict[str, np.ndarray], particles: ParticleSet) -> ParticleSet:
    """Return the set with 1 as the factor of every CTF where these had it before, and tilts say it now.

    Programs of before did not take the cosine of a tilt for a factor that the list does not state (`thinned`).
    """
    ctf = particles.ctf
    if ctf is None or "ctf" not in then or not is_thinned(particles) or not np.all(then["ctf"][:, SCALE] == 1):
        return particles
    return dataclasses.replace(particles, ctf=dataclasses.replace(ctf, scale=np.ones_like(np.asarray(ctf.scale))))


def of_another_set(then: dict[str, np.ndarray], now: dict[str, np.ndarray]) -> Bool[np.ndarray, "particles"] | None:
    """Return which particles have both an orientation and a defocus further off than a refinement takes most of them.

    None where not both are told: all orientations may change when a set is refined anew, all defocus when it is
    estimated anew.
    """
    if not {"rotation", "ctf"} <= set(then) & set(now):
        return None
    trace = np.sum(then["rotation"].astype(np.float32) * now["rotation"].astype(np.float32), axis=(1, 2))
    turned = trace < 1 + 2 * np.cos(np.radians(FAR_ANGLE))
    refocused = np.abs(_transfer(then["ctf"])[:, 0] - _transfer(now["ctf"])[:, 0]) > FAR_DEFOCUS
    return turned & refocused


def _other_ctf(then: np.ndarray, now: np.ndarray) -> Bool[np.ndarray, "particles"]:
    if then.shape != now.shape:  # as with aberrations that the list did not state then
        return np.ones(len(now), bool)
    own = len(SAME_CTF)
    far = np.abs(_transfer(then) - _transfer(now)) > np.array(SAME_CTF)
    return np.any(far, axis=1) | _differing(then[:, own:], now[:, own:], *SAME_ABERRATION)


def _transfer(ctf: np.ndarray) -> Float[np.ndarray, "particles 9"]:
    """Return what parameters of a CTF, in the order of `CTFParams`, come to: numbers that are equal for equal CTFs."""
    u, v, angle, voltage, cs, contrast, phase, b_factor, scale = ctf[:, : len(SAME_CTF)].astype(np.float64).T
    turn = np.arcsin(np.clip(contrast, -1, 1)) + phase
    parts = ((u + v) / 2, (u - v) * np.cos(2 * angle), (u - v) * np.sin(2 * angle), voltage, cs)
    return np.stack([*parts, np.cos(turn), np.sin(turn), b_factor, scale], axis=1)


def _differing(then: np.ndarray, now: np.ndarray, absolute: float, relative: float) -> Bool[np.ndarray, "particles"]:
    """Return which rows differ by more than they are kept to."""
    then, now = (array.reshape(len(array), -1).astype(np.float32) for array in (then, now))
    limit = np.maximum(absolute, relative * np.maximum(np.abs(then), np.abs(now)))
    return np.any(np.abs(then - now) > limit, axis=1)
