"""Run folders of a linear toy model that obeys the protocol, for pipelines after training."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from libhetero.io import write_latent
from libhetero.models.family import MixtureFamily, ModelFamily
from libhetero.physics.gaussians import gaussians_to_volume
from libhetero.pipelines.run.configuration import RunConfig
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.folder import Run
from libhetero.records import Gaussians, Posterior
from libhetero.training.configuration import TrainingConfig
from tests.making.feeds import make_feed
from tests.making.mixtures import gaussians
from tests.making.particles import make_particles
from tests.making.pieces import complex_of_pieces

BOX, PIXEL = 16, 10.0
CERTAINTY = 40.0  # of a change of 1 (Å or relative amplitude), in one particle


def toy_posterior(model, params, batch) -> Posterior:
    """Return the latents of a toy, ±0.1, of contrasts 0.9, 1 or 1.1; every tenth particle shows nothing."""
    latent, index = model.encode(params, batch), batch.index
    junk = index % 10 == 9
    contrast = jnp.where(junk, 0.0, 0.9 + 0.1 * (index % 3))
    evidence = jnp.where(junk, -1.0, 50.0)
    deviation = jnp.full_like(latent, 0.1) if model.family == "gmm" else jnp.full_like(latent, jnp.nan)
    return Posterior(latent, deviation, contrast, jnp.full_like(contrast, 0.1), evidence)


def one_molecule(model, batch):
    """Return what a model says that knows of no molecules."""
    return jnp.ones((len(batch.weight), 1))


class ToyGaussians(MixtureFamily):
    """Gaussians whose amplitudes, or positions, follow the latent linearly, a number a piece."""

    family = "gmm"
    box_size, pixel_size, config, image_scale = BOX, PIXEL, None, 1.0
    blur, ring_weight = 0.0, np.ones((BOX, BOX // 2 + 1), np.float32)

    def __init__(self, position, piece, motion=False):
        self.neutral = gaussians(position)
        member = piece[None, :] == np.arange(1, piece.max() + 1)[:, None]
        self.member = member.astype(np.float32)
        self.motion = motion
        self.latent = None  # of every particle, from which what the images show follows
        self.seen = 1.0  # part of the decoded changes that the images bear out

    def neutral_mixture(self, params):
        return self.neutral

    def arrays(self):
        return {name: getattr(self.neutral, name) for name in ("position", "amplitude", "sigma")}

    def encode(self, params, batch):
        total = jnp.mean(batch.images, axis=(1, 2))
        return total[:, None] * jnp.ones(len(self.member))

    posterior = toy_posterior
    memberships = one_molecule

    def decode(self, params, latent):
        change = params["gain"] * latent @ self.member
        amplitude, position = jnp.ones_like(change), self.neutral.position[None]
        if self.motion:
            position = position + 8.0 * change[..., None] * jnp.array([1.0, -1.0, 0.5])
        else:
            amplitude, position = 1 + change, jnp.broadcast_to(position, (*change.shape, 3))
        sigma = jnp.broadcast_to(self.neutral.sigma, change.shape)
        return Gaussians(position, amplitude, sigma)

    def volume(self, representation, n, pixel_size):
        return gaussians_to_volume(representation, n, pixel_size)

    def patch_equations(self, params, sample, patch):
        """As if every particle showed each change by itself, with the noise of `CERTAINTY`."""
        used = np.asarray(sample.index)[np.asarray(sample.weight) > 0]
        decoded = self.decode(params, self.latent[used])
        changes = [*np.moveaxis(decoded.position - self.neutral.position, -1, 0), decoded.amplitude - 1]
        count = np.bincount(patch)
        parts = [np.stack([np.bincount(patch, row) / count for row in np.asarray(part)]) for part in changes]
        change = np.concatenate(parts, axis=1)
        noise = np.random.default_rng(1).normal(size=change.shape) / np.sqrt(CERTAINTY)
        hessian = np.broadcast_to(
            CERTAINTY * np.eye(change.shape[1], dtype=np.float32), (*change.shape, change.shape[1])
        )
        return hessian, (CERTAINTY * (self.seen * change + noise)).astype(np.float32)


class ToyField(ModelFamily):
    """A "hype" model: the latent is 128 numbers, each the value of one plane of the volume."""

    family = "hype"
    box_size, pixel_size, config = BOX, PIXEL, None

    def encode(self, params, batch):
        mean = jnp.mean(batch.images, axis=(1, 2))
        return params["gain"] * mean[:, None] * jnp.arange(128.0)

    posterior = toy_posterior
    memberships = one_molecule

    def decode(self, params, latent):
        return latent

    def volume(self, representation, n, pixel_size):
        return jnp.broadcast_to(representation[:n, None, None], (n, n, n))


class ToyRun(Run):
    """A run whose images are made up."""

    def feed(self):
        return make_feed(len(self.particles))


def gaussian_run(folder: Path, count: int = 300, pieces: int = 3, motion: bool = False):
    """Return a run, the piece of each Gaussian and the states (particles, pieces)."""
    rng = np.random.default_rng(0)
    position, piece = complex_of_pieces(rng, 160, pieces)
    states = rng.random((count, pieces)) < 0.5
    latent = states - 1.0 + 0.03 * rng.normal(size=states.shape)
    model = ToyGaussians(position, piece, motion)
    model.latent = latent.astype(np.float32)
    run = _run(folder, model, count)
    write_latent(folder / "mid_00.txt", np.arange(count), latent)
    return run, piece, states


def field_run(folder: Path, count: int = 50):
    """Return a run of the family without Gaussians; no latents are written."""
    return _run(folder, ToyField(), count)


def _run(folder, model, count):
    config = RunConfig(family=model.family, model=None, training=TrainingConfig(), data=DataConfig("toy.star"))
    params = {"gain": jnp.float32(1.0)}
    return ToyRun(folder, config, model, params, make_particles(count))
