"""CryoHype as a model family: encoder, hypernetwork, INR, and the loss over the Fourier disc."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from libhetero.errors import ConfigurationError
from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.hypernetwork import HyperNetwork
from libhetero.models.hype.inr import INRWeights, inr_apply
from libhetero.models.hype.transformer import ImageEncoder
from libhetero.physics.correlation import ring_sum
from libhetero.physics.ctf import ctf_at, ctf_image
from libhetero.physics.fourier import (
    disc_indices,
    fourier_image,
    frequencies_2d,
    frequencies_3d,
    phase_ramp,
    real_image,
    real_volume,
)
from libhetero.physics.masks import soft_disc
from libhetero.physics.rotations import matrix_to_euler
from libhetero.physics.slices import slice_frequencies
from libhetero.records import Batch, CTFParams, Pose

VOLUME_CHUNK = 16384  # frequencies evaluated at once


@dataclass(frozen=True, eq=False)
class HypeModel:
    """A volume of its own for every image; see `libhetero.models.family`.

    Fourier values inside are those of `fourier_image` divided by n, so that white noise of unit
    variance per pixel has unit variance per Fourier pixel.

    Parameters
    ----------
    config : sizes and switches.
    anchors : (inr_frequencies, 3), fixed random points of the INR's features, pixels.
    profile : (n // 2 + 1,), scale of V by Fourier radius in pixels of box n.
    box_size : pixels.
    pixel_size : Å.
    """

    config: HypeConfig
    anchors: np.ndarray
    profile: np.ndarray
    box_size: int
    pixel_size: float
    family: str = "hype"

    @classmethod
    def from_data(
        cls, config: HypeConfig, box_size: int, pixel_size: float, sample: Batch, seed: int = 0
    ) -> HypeModel:
        """Draw the features' points and measure the signal's spectrum; see `models.create`.

        Raises
        ------
        ConfigurationError : if the patch does not divide the box.
        """
        if box_size % config.patch:
            raise ConfigurationError(
                f"patch: expected a divisor of the box ({box_size} pixels); got {config.patch}."
            )
        spread = config.feature_sigma * box_size
        points = np.random.default_rng(seed).normal(size=(config.inr_frequencies, 3)) * spread
        profile = np.ones(box_size // 2 + 1, np.float32)
        if config.profile:
            profile = signal_profile(sample, box_size, pixel_size)
        return cls(config, points.astype(np.float32), profile, box_size, pixel_size)

    @classmethod
    def from_arrays(cls, config: HypeConfig, arrays: dict[str, np.ndarray]) -> HypeModel:
        """Restore a model from `arrays`."""
        return cls(
            config, arrays["anchors"], arrays["profile"],
            int(arrays["box_size"]), float(arrays["pixel_size"]),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the features' points and the spectrum."""
        return {
            "anchors": self.anchors, "profile": self.profile,
            "box_size": np.asarray(self.box_size), "pixel_size": np.asarray(self.pixel_size),
        }

    def init(self, key: PRNGKeyArray) -> dict[str, Any]:
        """Return fresh parameters of encoder and hypernetwork."""
        encoder_key, hyper_key = jax.random.split(key)
        image = jnp.zeros((self.box_size, self.box_size))
        tokens = jnp.zeros((sum(self.config.layer_tokens()), self.config.dim))
        return {
            "encoder": ImageEncoder(self.config).init(encoder_key, image)["params"],
            "hypernetwork": HyperNetwork(self.config).init(hyper_key, tokens)["params"],
        }

    def encode(self, params: Any, batch: Batch) -> Float[Array, "batch latent"]:
        """Return the output weight tokens of every image, flattened.

        Each token is brought to mean 0 and variance 1. The heads begin with a layer norm, so this
        changes no volume; it takes out of the latent what has no effect.
        """

        def one(image: Array, pose: Pose, ctf: CTFParams) -> Array:
            seen = self._seen(image, pose, ctf)
            tokens = ImageEncoder(self.config).apply({"params": params["encoder"]}, seen)
            return jax.nn.standardize(tokens, axis=-1).reshape(-1)

        return jax.vmap(one)(batch.images, batch.pose, batch.ctf)

    def decode(self, params: Any, latent: Float[Array, "batch latent"]) -> INRWeights:
        """Return the INR weights of every latent."""

        def one(flat: Array) -> INRWeights:
            tokens = flat.reshape(-1, self.config.dim)
            return HyperNetwork(self.config).apply({"params": params["hypernetwork"]}, tokens)

        return jax.vmap(one)(latent)

    def values(
        self, representation: INRWeights, frequencies: Float[Array, "points 3"]
    ) -> Complex[Array, "points"]:
        """Return V at frequencies in cycles per training pixel, model frame; 0 beyond Nyquist.

        V(-k) = conj V(k) exactly: a complex INR is asked in one half of space only.
        """
        if self.config.output == "complex":
            value = self._from_half_space(representation, frequencies)
        else:
            value = self._from_hartley(representation, frequencies)
        radius = jnp.linalg.norm(frequencies, axis=-1) * self.box_size
        scale = jnp.interp(radius, jnp.arange(len(self.profile)), jnp.asarray(self.profile))
        return value * jnp.where(radius < self.box_size / 2, scale, 0.0)

    def render(
        self, representation: INRWeights, pose: Pose, n: int, pixel_size: float
    ) -> Complex[Array, "n half"]:
        """Return the Fourier image of one INR at one pose, without CTF; DC is 0."""
        in_angstrom = jnp.asarray(frequencies_2d(n)) / pixel_size
        points = slice_frequencies(pose.rotation, in_angstrom * self.pixel_size).reshape(-1, 3)
        plane = self.values(representation, points).reshape(n, n // 2 + 1) * self.box_size
        return (plane * phase_ramp(in_angstrom, pose.shift)).at[0, 0].set(0.0)

    def volume(self, representation: INRWeights, n: int, pixel_size: float) -> Float[Array, "n n n"]:
        """Return the map of one INR, evaluated inside the Nyquist sphere of both grids; mean 0."""
        points = frequencies_3d(n) * (self.pixel_size / pixel_size)
        inside = np.flatnonzero(
            (np.linalg.norm(points, axis=-1) < 0.5)
            & (np.linalg.norm(frequencies_3d(n), axis=-1) < 0.5)
        )
        wanted = jnp.asarray(points.reshape(-1, 3)[inside])
        values = jax.lax.map(
            lambda point: self.values(representation, point[None])[0], wanted,
            batch_size=min(VOLUME_CHUNK, len(wanted)),
        )
        grid = jnp.zeros(points.shape[0] * points.shape[1] * points.shape[2], values.dtype)
        grid = grid.at[inside].set(values * self.box_size).at[0].set(0.0)
        return real_volume(grid.reshape(points.shape[:3]), n)

    def loss(
        self, params: Any, batch: Batch, key: PRNGKeyArray, training: bool = True
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Return the mean square error over the half disc, and the part of the power explained.

        loss = mean_k |CTF(k) V(Rᵀk) exp(-2πi k·t) - X(k)|²,  0 < |k| < n / 2
        """
        del key, training
        representations = self.decode(params, self.encode(params, batch))
        disc = disc_indices(self.box_size)
        frequencies = jnp.asarray(frequencies_2d(self.box_size).reshape(-1, 2))[disc]

        def one(weights: INRWeights, image: Array, pose: Pose, ctf: CTFParams) -> tuple[Array, Array]:
            target = fourier_image(image).reshape(-1)[disc] / self.box_size
            value = self.values(weights, slice_frequencies(pose.rotation, frequencies))
            in_angstrom = frequencies / self.pixel_size
            model = value * phase_ramp(in_angstrom, pose.shift) * ctf_at(ctf, in_angstrom)
            error = jnp.mean(jnp.abs(model - target) ** 2)
            return error, jnp.mean(jnp.abs(target) ** 2)

        error, power = jax.vmap(one)(representations, batch.images, batch.pose, batch.ctf)
        total = jnp.maximum(jnp.sum(batch.weight), 1.0)
        mean_error = jnp.sum(batch.weight * error) / total
        mean_power = jnp.sum(batch.weight * power) / total
        return mean_error, {"mse": mean_error, "explained": 1 - mean_error / mean_power}

    def _from_half_space(self, representation: INRWeights, frequencies: Array) -> Array:
        """Return a + ib at k, or a - ib at -k where the first of (kx, ky, kz) that is not 0 is below 0."""
        x, y, z = frequencies[:, 0], frequencies[:, 1], frequencies[:, 2]
        turned = (x < 0) | ((x == 0) & ((y < 0) | ((y == 0) & (z < 0))))
        sign = jnp.where(turned, -1.0, 1.0)
        raw = self._inr(representation, frequencies * sign[:, None])
        return jax.lax.complex(raw[:, 0], raw[:, 1] * sign)

    def _from_hartley(self, representation: INRWeights, frequencies: Array) -> Array:
        """Return F = ½(H(k) + H(-k)) - i ½(H(k) - H(-k)) from the real transform H = Re F - Im F."""
        value = self._inr(representation, frequencies)[:, 0]
        opposite = self._inr(representation, -frequencies)[:, 0]
        return jax.lax.complex(0.5 * (value + opposite), -0.5 * (value - opposite))

    def _inr(self, representation: INRWeights, frequencies: Array) -> Float[Array, "points outputs"]:
        return inr_apply(
            representation, frequencies, jnp.asarray(self.anchors), self.config.precision
        )

    def _seen(self, image: Array, pose: Pose, ctf: CTFParams) -> Float[Array, "n n"]:
        """Return what the encoder sees: centred, phase-flipped, turned to psi = 0, windowed."""
        n = self.box_size
        ramp = phase_ramp(jnp.asarray(frequencies_2d(n)) / self.pixel_size, -pose.shift)
        flipped = fourier_image(image) * ramp * jnp.sign(ctf_image(ctf, n, self.pixel_size))
        centred = real_image(flipped, n)
        if self.config.align:
            centred = turn_in_plane(centred, matrix_to_euler(pose.rotation)[2])
        return centred * soft_disc(n, self.config.window * n / 2, n / 16)


def turn_in_plane(image: Float[Array, "n n"], psi: Float[Array, ""]) -> Float[Array, "n n"]:
    """Return the image as it would be at psi = 0 (radians), by bilinear interpolation.

    With R = Rz(psi) R', x' = cos(psi) x + sin(psi) y and y' = cos(psi) y - sin(psi) x.
    """
    n = image.shape[0]
    axis = jnp.arange(n) - n // 2
    y, x = jnp.meshgrid(axis, axis, indexing="ij")
    cosine, sine = jnp.cos(psi), jnp.sin(psi)
    source = [cosine * y - sine * x + n // 2, cosine * x + sine * y + n // 2]
    return map_coordinates(image, source, order=1, mode="constant")


def signal_profile(sample: Batch, n: int, pixel_size: float) -> np.ndarray:
    """Return the root mean square of the signal by Fourier radius 0 … n // 2, from noisy images.

    Per ring, (⟨|X|²⟩ - noise) / ⟨CTF²⟩, the noise taken from the outermost ring, floored at a
    thousandth of the largest; in the units of `HypeModel`.
    """

    def one(image: Array, ctf: CTFParams) -> tuple[Array, Array]:
        power = jnp.abs(fourier_image(image) / n) ** 2
        rings = n // 2 + 1
        count = ring_sum(jnp.ones_like(power), rings)
        transfer = ctf_image(ctf, n, pixel_size) ** 2
        return ring_sum(power, rings) / count, ring_sum(transfer, rings) / count

    power, transfer = jax.jit(jax.vmap(one))(sample.images, sample.ctf)
    weight = np.asarray(sample.weight)
    power = np.average(np.asarray(power), axis=0, weights=weight)
    transfer = np.average(np.asarray(transfer), axis=0, weights=weight)
    signal = (power - power[-2:].mean()) / np.maximum(transfer, 1e-3)
    signal = np.maximum(signal, 1e-3 * signal[1:].max())
    return np.sqrt(signal).astype(np.float32)
