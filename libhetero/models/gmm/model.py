"""The Gaussian mixture model: neutral mixture + encoder + decoder + FRC loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.encoder import Encoder, gradient_features, mean_frc, scaled_error
from libhetero.models.gmm.mlp import MlpDecoder
from libhetero.models.gmm.noise import measure_noise, ring_limits
from libhetero.models.gmm.point_transformer import PointTransformerDecoder
from libhetero.models.gmm.topology import Level, build_topology
from libhetero.physics.ctf import ctf_image
from libhetero.physics.fourier import fourier_image
from libhetero.physics.gaussians import gaussians_to_volume, project_gaussians
from libhetero.records import Batch, CTFParams, Gaussians, Pose

FEATURES = 5


@dataclass(frozen=True, eq=False)
class GmmModel:
    """One complex as Gaussians that move, fade and widen; see `libhetero.models.family`.

    Parameters
    ----------
    config : sizes and switches.
    neutral : the mixture that a zero change gives; position (N, 3) and sigma (N,) in Å.
    levels : the decoder's hierarchy; empty for the MLP.
    feature_scale : (5,), root mean square of the encoder's input over a sample of the set.
    image_scale : factor that takes the mixture's projections to the level of the images.
    ring_weight : (n, n // 2 + 1), weight of each Fourier pixel's squared error.
    box_size : pixels.
    pixel_size : Å.
    """

    config: GmmConfig
    neutral: Gaussians
    levels: tuple[Level, ...]
    feature_scale: np.ndarray
    image_scale: float
    ring_weight: np.ndarray
    box_size: int
    pixel_size: float
    family: str = "gmm"

    @classmethod
    def from_data(
        cls, config: GmmConfig, neutral: Gaussians, box_size: int, pixel_size: float,
        sample: Batch, seed: int = 0,
    ) -> GmmModel:
        """Choose the hierarchy and measure the encoder's input on a sample; see `models.create`."""
        levels = ()
        if config.decoder == "pointtransformer":
            levels = build_topology(np.asarray(neutral.position), config, seed)
        neutral = jax.tree.map(lambda array: np.asarray(array, np.float32), neutral)
        limits = ring_limits(config.resolution, box_size, pixel_size)
        scale, ring_weight = measure_noise(neutral, sample, box_size, pixel_size, limits)
        model = cls(
            config, neutral, levels, np.ones(FEATURES, np.float32), scale, ring_weight,
            box_size, pixel_size,
        )
        features = jax.jit(jax.vmap(model._features))(sample.images, sample.pose, sample.ctf)
        weight = jnp.asarray(sample.weight)[:, None, None]
        power = jnp.sum(weight * features**2, axis=(0, 1)) / (jnp.sum(weight) * features.shape[1])
        return replace(model, feature_scale=np.asarray(jnp.sqrt(power) + 1e-12))

    @classmethod
    def from_arrays(cls, config: GmmConfig, arrays: dict[str, np.ndarray]) -> GmmModel:
        """Restore a model from `arrays`."""
        names = Level.__dataclass_fields__
        levels = tuple(
            Level(**{name: arrays[f"level_{number}_{name}"] for name in names})
            for number in range(int(arrays["level_count"]))
        )
        neutral = Gaussians(arrays["position"], arrays["amplitude"], arrays["sigma"])
        return cls(
            config, neutral, levels, arrays["feature_scale"],
            float(arrays["image_scale"]), arrays["ring_weight"],
            int(arrays["box_size"]), float(arrays["pixel_size"]),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the neutral mixture, hierarchy and statistics."""
        arrays = {
            "position": self.neutral.position, "amplitude": self.neutral.amplitude,
            "sigma": self.neutral.sigma, "feature_scale": self.feature_scale,
            "image_scale": np.asarray(self.image_scale), "ring_weight": self.ring_weight,
            "box_size": np.asarray(self.box_size), "pixel_size": np.asarray(self.pixel_size),
            "level_count": np.asarray(len(self.levels)),
        }
        for number, level in enumerate(self.levels):
            for name in Level.__dataclass_fields__:
                arrays[f"level_{number}_{name}"] = getattr(level, name)
        return {name: np.asarray(array) for name, array in arrays.items()}

    def init(self, key: PRNGKeyArray) -> dict[str, Any]:
        """Return fresh parameters of encoder and decoder."""
        encoder_key, decoder_key = jax.random.split(key)
        features = jnp.zeros((len(self.neutral.sigma), FEATURES))
        latent = jnp.zeros(self.config.latent_size)
        return {
            "encoder": Encoder(self.config).init(encoder_key, features)["params"],
            "decoder": self._decoder().init(decoder_key, latent, *self._geometry())["params"],
        }

    def encode(self, params: Any, batch: Batch) -> Float[Array, "batch latent"]:
        """Return the latent of every image."""

        def one(image: Array, pose: Pose, ctf: CTFParams) -> Array:
            features = self._features(image, pose, ctf) / self.feature_scale
            return Encoder(self.config).apply({"params": params["encoder"]}, features)

        return jax.vmap(one)(batch.images, batch.pose, batch.ctf)

    def decode(self, params: Any, latent: Float[Array, "batch latent"]) -> Gaussians:
        """Return mixtures with a leading batch axis."""

        def one(z: Array) -> Gaussians:
            change = self._decoder().apply({"params": params["decoder"]}, z, *self._geometry())
            return self._changed(change)

        return jax.vmap(one)(latent)

    def render(
        self, representation: Gaussians, pose: Pose, n: int, pixel_size: float
    ) -> Complex[Array, "n half"]:
        """Return the projection of one mixture, without CTF."""
        return project_gaussians(representation, pose, n, pixel_size)

    def volume(self, representation: Gaussians, n: int, pixel_size: float) -> Float[Array, "n n n"]:
        """Return the map of one mixture."""
        return gaussians_to_volume(representation, n, pixel_size)

    def loss(
        self, params: Any, batch: Batch, key: PRNGKeyArray
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Return the misfit of the images plus the latent penalty, and both for the log.

        likelihood: mean over pixels of w |CTF P(R, t) G(z) - X|², 1 for a perfect model;
        frc: -mean_r FRC_r(CTF P(R, t) G(z), X);
        plus latent_penalty · mean max(|z| - 1, 0).
        """
        latent = self.encode(params, batch)
        noise = self.config.latent_noise * jax.random.normal(key, latent.shape)
        mixtures = self.decode(params, latent + noise)
        misfit = jax.vmap(self._misfit)(mixtures, batch.images, batch.pose, batch.ctf)
        radius = jnp.sqrt(jnp.sum(latent**2, axis=-1) + 1e-12)
        penalty = self.config.latent_penalty * jnp.maximum(radius - 1, 0)
        total = jnp.maximum(jnp.sum(batch.weight), 1.0)
        mean_misfit = jnp.sum(batch.weight * misfit) / total
        mean_penalty = jnp.sum(batch.weight * penalty) / total
        return mean_misfit + mean_penalty, {"misfit": mean_misfit, "penalty": mean_penalty}

    def _misfit(
        self, mixture: Gaussians, image: Array, pose: Pose, ctf: CTFParams
    ) -> Float[Array, ""]:
        target, transfer = self._target(image, ctf)
        if self.config.loss == "frc":
            return -mean_frc(mixture, target, transfer, pose, self.pixel_size, self._rings())
        weight = jnp.asarray(self.ring_weight)
        error = scaled_error(
            mixture, target, transfer * self.image_scale, pose, self.pixel_size, weight
        )
        return error / np.count_nonzero(self.ring_weight)

    def _decoder(self) -> PointTransformerDecoder | MlpDecoder:
        outputs = sum({"p": 3, "a": 1, "s": 1}[letter] for letter in self.config.vary)
        if self.config.decoder == "pointtransformer":
            return PointTransformerDecoder(self.config, outputs)
        return MlpDecoder(self.config, len(self.neutral.sigma), outputs)

    def _geometry(self) -> tuple[Any, ...]:
        return (self.levels,) if self.config.decoder == "pointtransformer" else ()

    def _changed(self, change: Float[Array, "points outputs"]) -> Gaussians:
        """Return the neutral mixture moved by `displacement_scale`·d, amplitude times (1 + a/2)², width times e^(½ tanh s)."""
        vary, column = self.config.vary, 0
        position = jnp.asarray(self.neutral.position)
        amplitude, sigma = jnp.asarray(self.neutral.amplitude), jnp.asarray(self.neutral.sigma)
        if "p" in vary:
            position = position + self.config.displacement_scale * change[:, :3]
            column = 3
        if "a" in vary:
            amplitude = amplitude * (1 + 0.5 * change[:, column]) ** 2
            column += 1
        if "s" in vary:
            sigma = sigma * jnp.exp(0.5 * jnp.tanh(change[:, column]))
        return Gaussians(position, amplitude, sigma)

    def _features(
        self, image: Array, pose: Pose, ctf: CTFParams
    ) -> Float[Array, "points 5"]:
        target, transfer = self._target(image, ctf)
        neutral = jax.tree.map(jnp.asarray, self.neutral)
        return gradient_features(neutral, target, transfer, pose, self.pixel_size, self._rings())

    def _target(self, image: Array, ctf: CTFParams) -> tuple[Array, Array]:
        return fourier_image(image), ctf_image(ctf, self.box_size, self.pixel_size)

    def _rings(self) -> slice:
        return slice(*ring_limits(self.config.resolution, self.box_size, self.pixel_size))
