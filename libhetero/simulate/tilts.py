"""The tilt series of a particle: what its images have in common, and what each has of its own.

    R_r = Ry(a_r) R,   scale_r = cos a_r,   exposure_r = (r + 1/2) · dose        r = 0, 1, … in the order taken

R is the particle's pose in the ice, drawn as that of a set without tilts; the stage turns all of it about the y axis of
the image, by the elementary matrix of docs/conventions.md. The ice is 1 / cos a as thick along the beam, and the
signal, which falls with the thickness, has cos a of its amplitude; what radiation leaves of it is the exposure filter's
(`libhetero.physics.ctf`). One defocus, one state and one contrast are the particle's; each image has its own shift, and
its own noise, of one deviation at all tilts. What a list tells wrongly of the pose is one error, of R; of shifts, one
an image. Images are numbered particle by particle, in the order in which they are taken.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PRNGKeyArray

from libhetero.physics.rotations import HIGHEST, euler_to_matrix
from libhetero.records import CTFParams, Pose
from libhetero.simulate.configuration import TiltConfig

SERIES = 22  # folded into a particle's key, as no nuisance is


def key_of_image(key: PRNGKeyArray, rank: Integer[Array, ""]) -> PRNGKeyArray:
    """Return the key of what one image of a series has of its own.

    Parameters
    ----------
    key : of the particle.
    rank : of the image in its series.
    """
    return jax.random.fold_in(jax.random.fold_in(key, SERIES), rank)


def own_shift(key: PRNGKeyArray) -> Float[Array, "2"]:
    """Return the uniform deviates of an image's shift, by its key."""
    return jax.random.uniform(jax.random.split(key)[0], (2,))


def tilted(pose: Pose, rank: Integer[Array, ""], tilts: TiltConfig) -> Pose:
    """Return the pose of a particle once the stage is turned; the shift is of the image, and stays.

    Parameters
    ----------
    pose : of the particle in the ice, untilted.
    rank : of the image in its series.
    """
    angle = jnp.radians(jnp.asarray(tilts.angles, jnp.float32))[rank]
    turn = euler_to_matrix(jnp.stack([jnp.zeros(()), angle, jnp.zeros(())]))
    return Pose(rotation=jnp.matmul(turn, pose.rotation, precision=HIGHEST), shift=pose.shift)


def faded(ctf: CTFParams, rank: Integer[Array, ""], tilts: TiltConfig) -> CTFParams:
    """Return the CTF of an image of a series: less signal in thicker ice, and after more exposure.

    Parameters
    ----------
    ctf : of the particle, untilted.
    rank : of the image in its series.
    """
    thinned = jnp.cos(jnp.radians(jnp.asarray(tilts.angles, jnp.float32)))[rank]
    return dataclasses.replace(ctf, scale=ctf.scale * thinned, exposure=(rank + 0.5) * tilts.dose)
