"""Models that know the truth, and runs made of them, to score without training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from libhetero.io import MrcsWriter, write_latent
from libhetero.metrics.amplitude import closest_atoms
from libhetero.models.family import MixtureFamily, ModelFamily
from libhetero.models.gmm.latent.pieces import refined_pieces
from libhetero.models.gmm.latent.subspace import Imaging
from libhetero.physics.fourier import frequencies_2d, half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.observation import observed
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.pipelines.listing.copying import placed_in
from libhetero.pipelines.run.configuration import RunConfig
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.run.particles import load_particles
from libhetero.pipelines.scoring.gaussians import true_displacement
from libhetero.pipelines.scoring.truth import Truth, open_truth
from libhetero.pipelines.simulate import SimulateConfig
from libhetero.pipelines.simulate import run as simulate
from libhetero.records import Batch, Gaussians, Observation, Posterior
from libhetero.training.optimiser import TrainingConfig
from tests.making.mixtures import gaussians

BOX, PIXEL = 16, 10.0


def simulated(folder: Path, kind: str, particles: int, **others: Any) -> Truth:
    """Simulate a tiny set and open its truth."""
    config = SimulateConfig(
        kind,
        str(folder),
        particles=particles,
        box_size=BOX,
        pixel_size=PIXEL,
        snr=None,
        pieces=2,
        structures=3,
        threads=1,
        **others,
    )
    return open_truth(simulate(config) / "truth")


def certain_posterior(model: ModelFamily, params: Any, batch: Batch) -> Posterior:
    """Return the latents, known to 0.05, of particles of one contrast that all show the molecule."""
    latent = model.encode(params, batch)
    one = jnp.ones(len(latent))
    return Posterior(latent, jnp.full_like(latent, 0.05), one, 0.01 * one, 50 * one)


@dataclass(frozen=True, eq=False)
class VolumeOracle(ModelFamily):
    """Gives every particle the map of its label."""

    maps: np.ndarray
    labels: np.ndarray
    box_size: int = BOX
    pixel_size: float = PIXEL
    family: str = "hype"
    config: Any = None

    def encode(self, params, batch):
        """Return the label as a one-hot vector."""
        return jax.nn.one_hot(jnp.asarray(self.labels)[batch.index], len(self.maps))

    posterior = certain_posterior

    def decode(self, params, latent):
        """Return the latent."""
        return latent

    def volume(self, representation, n, pixel_size):
        """Return the map of one label."""
        return jnp.tensordot(representation, jnp.asarray(self.maps), axes=1)


@dataclass(frozen=True, eq=False)
class GaussianOracle(MixtureFamily):
    """Gives every particle its own table of amplitudes and positions."""

    neutral: Gaussians
    amplitude: np.ndarray
    position: np.ndarray
    box_size: int = BOX
    pixel_size: float = PIXEL
    family: str = "gmm"
    config: Any = None
    image_scale: float = 1.0
    blur, ring_weight = 0.0, np.ones((BOX, BOX // 2 + 1), np.float32)  # of all of them, and no fields

    def neutral_mixture(self, params):
        """Return the neutral mixture, which no training has adapted."""
        return self.neutral

    def arrays(self):
        """Return the neutral mixture."""
        return {"position": self.neutral.position, "amplitude": self.neutral.amplitude, "sigma": self.neutral.sigma}

    def encode(self, params, batch):
        """Return the particle's place."""
        return batch.index[:, None].astype(jnp.float32)

    posterior = certain_posterior

    def decode(self, params, latent):
        """Look the mixture up."""
        place = latent[:, 0].astype(jnp.int32)
        sigma = jnp.broadcast_to(jnp.asarray(self.neutral.sigma), (len(place), len(self.neutral.sigma)))
        return Gaussians(jnp.asarray(self.position)[place], jnp.asarray(self.amplitude)[place], sigma)


def run_of(model: Any, folder: Path, stack_folder: Path) -> Run:
    """Return a run of a model on a simulated set."""
    folder.mkdir(exist_ok=True)
    data = DataConfig(str(stack_folder / "particles.star"))
    config = RunConfig(model.family, {}, TrainingConfig(), data)
    return Run(folder, config, model, {}, load_particles(data))


def volume_run(folder: Path, truth: Truth, labels: np.ndarray | None = None) -> Run:
    """Return a run whose decoded maps are the true ones, of the true labels or of others."""
    labels = truth.labels if labels is None else labels
    first = [int(np.flatnonzero(truth.labels == k)[0]) for k in range(truth.labels.max() + 1)]
    maps = np.stack([truth.map(place) for place in first])
    run = run_of(VolumeOracle(maps, labels), folder, truth.folder.parent)
    random = np.random.default_rng(0)
    latent = np.eye(len(maps))[labels] + 0.05 * random.normal(size=(len(labels), len(maps)))
    write_latent(folder / "mid_00.txt", np.arange(len(labels)), latent)
    return run


def gaussian_run(folder: Path, truth: Truth, sluggish: float = 1.0) -> Run:
    """Return a run whose Gaussians, every seventh atom, do what their atoms do, times `sluggish`."""
    position = truth.position[::7]
    atom, _ = closest_atoms(position, truth.position)
    count, particles = len(position), truth.particles
    amplitude = np.ones((particles, count), np.float32)
    places = np.broadcast_to(position, (particles, count, 3)).astype(np.float32)
    if truth.states is not None:
        present = truth.states[:, truth.piece[atom]]
        amplitude = 1 - sluggish * (1 - present.astype(np.float32))
    if truth.angles is not None:
        places = places + sluggish * true_displacement(truth, atom, truth.angles)
    model = GaussianOracle(gaussians(position, sigma=5.0), amplitude, places.astype(np.float32))
    return run_of(model, folder, truth.folder.parent)


@dataclass(frozen=True, eq=False)
class RefiningOracle(GaussianOracle):
    """An oracle that refines pieces as a Gaussian model does."""

    imaging: Any = None

    def piece_poses(self, params, latent, batch, contrast, member, spread, piece=None, moved=None):
        """Refine with the mixtures of the table."""
        mixtures = self.decode(params, jnp.asarray(latent)[:: batch.views])
        return refined_pieces(self.imaging, mixtures, member, batch, contrast, spread, piece, moved)


def refining_run(folder: Path, truth: Truth, sluggish: float, noise: float = 0.1, symmetry: str = "c1") -> Run:
    """Return a run that refines pieces, whose Gaussians do what their atoms do, times `sluggish`.

    Its images, beside it, are those of the Gaussians that do all of it, and of their symmetric copies, with noise: so
    many deviations of them.
    """
    half = gaussian_run(folder, truth, sluggish)
    pose, ctf = half.particles.poses_and_ctfs()
    whole = gaussian_run(folder, truth).model.decode({}, np.arange(truth.particles, dtype=np.float32)[:, None])

    operators = symmetry_operators(symmetry)

    def image(mixture, pose, ctf):
        plane = project_gaussians(symmetric_copies(mixture, operators), pose, BOX, PIXEL)
        return real_image(observed(plane, Observation(pose=pose, ctf=ctf), half_plane(BOX, PIXEL)), BOX)

    images = np.asarray(jax.jit(jax.vmap(image))(whole, pose, ctf))
    noise = noise * float(images.std())
    images = images + noise * np.random.default_rng(0).normal(size=images.shape)
    path = folder.absolute() / "noisy.mrcs"
    with MrcsWriter(path, BOX, truth.particles, PIXEL) as writer:
        writer.write(images.astype(np.float32))
    inside = np.linalg.norm(frequencies_2d(BOX), axis=-1) < 0.5
    weight = (inside / (BOX * noise) ** 2).astype(np.float32)
    neutral = half.model.neutral
    imaging = Imaging.of(neutral, operators, 1.0, weight, BOX, PIXEL)
    config = SimpleNamespace(symmetry=symmetry)
    model = RefiningOracle(neutral, half.model.amplitude, half.model.position, config=config, imaging=imaging)
    return replace(half, model=model, particles=placed_in(half.particles, str(path)))
