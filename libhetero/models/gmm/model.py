"""The Gaussian mixture model: neutral mixture + latent of each particle + decoder + loss.

The change of Gaussian j in a particle with latent z is

    c_j(z) = modes_j z + network_j(z) - network_j(0)

with modes that start from the set's subspace and a network (Point Transformer or MLP) for what
is not linear in z; both are trained. The latent itself is solved for, particle by particle
(`inference`), or, as published, read off by an encoder network.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from libhetero.models.gmm.changes import adapted, changed, linear_tangents, neighbouring_pairs, start_of_neutral, strain
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder.mlp import MlpDecoder
from libhetero.models.gmm.decoder.point_transformer import PointTransformerDecoder
from libhetero.models.gmm.decoder.published import PublishedDecoder
from libhetero.models.gmm.decoder.topology import Level, build_topology
from libhetero.models.gmm.latent.encoder import Encoder, gradient_features, mean_frc, scaled_error
from libhetero.models.gmm.latent.subspace import Imaging, Subspace, gauss_newton
from libhetero.models.gmm.latent.subspace_fit import find_subspace
from libhetero.models.gmm.noise import measure_noise, ring_limits
from libhetero.physics.ctf import ctf_image
from libhetero.physics.fourier import dft_image
from libhetero.physics.gaussians import gaussians_to_volume, project_gaussians
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.records import Batch, CTFParams, Gaussians, Pose

FEATURES = 5
NOISE_SAMPLE = 256
SUBSPACE_GRID = 44  # pixels; pieces that change together are large
LATENT_REACH = 3.0  # standard deviations that the network's input is scaled by


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
    subspace : what the set's sample shows to change; None with an encoder network.
    edges : (E, 2), pairs of Gaussians next to each other.
    mobile : (N,), 1 for each Gaussian that may change, 0 for each that may not; None for all.
    """

    config: GmmConfig
    neutral: Gaussians
    levels: tuple[Level, ...]
    feature_scale: np.ndarray
    image_scale: float
    ring_weight: np.ndarray
    box_size: int
    pixel_size: float
    subspace: Subspace | None = None
    edges: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    mobile: np.ndarray | None = None
    family: str = "gmm"

    def __post_init__(self) -> None:
        if self.mobile is None:
            object.__setattr__(self, "mobile", np.ones(len(self.neutral.sigma), np.float32))

    @classmethod
    def from_data(
        cls,
        config: GmmConfig,
        neutral: Gaussians,
        box_size: int,
        pixel_size: float,
        sample: Batch,
        seed: int = 0,
        mobile: np.ndarray | None = None,
    ) -> GmmModel:
        """Choose the hierarchy and measure the encoder's input on a sample; see `models.create`."""
        levels = ()
        if config.decoder == "pointtransformer":
            levels = build_topology(np.asarray(neutral.position), config, box_size * pixel_size, seed)
        neutral = jax.tree.map(lambda array: np.asarray(array, np.float32), neutral)
        limits = ring_limits(config.resolution, box_size, pixel_size)
        every = max(len(sample.weight) // NOISE_SAMPLE, 1)  # from all over the list
        few = jax.tree.map(lambda leaf: leaf[::every][:NOISE_SAMPLE], sample)
        operators = symmetry_operators(config.symmetry)
        whole = jax.tree.map(np.asarray, symmetric_copies(neutral, operators))
        scale, ring_weight = measure_noise(whole, few, box_size, pixel_size, limits)
        edges = neighbouring_pairs(np.asarray(neutral.position))
        model = cls(
            config,
            neutral,
            levels,
            np.ones(FEATURES, np.float32),
            scale,
            ring_weight,
            box_size,
            pixel_size,
            None,
            edges,
            None if mobile is None else np.asarray(mobile, np.float32),
        )
        if config.encoder == "network":
            return replace(model, feature_scale=model._measured_features(few))
        imaging = Imaging.of(neutral, operators, scale, ring_weight, box_size, pixel_size, SUBSPACE_GRID)
        subspace = find_subspace(imaging, sample, config.linear_kinds, config.latent_size, seed, model.mobile > 0)
        return replace(model, subspace=subspace, config=replace(config, latent_size=subspace.rank))

    def _measured_features(self, sample: Batch) -> np.ndarray:
        features = jax.jit(jax.vmap(self._features))(sample.images, sample.pose, sample.ctf)
        weight = jnp.asarray(sample.weight)[:, None, None]
        power = jnp.sum(weight * features**2, axis=(0, 1)) / (jnp.sum(weight) * features.shape[1])
        return np.asarray(jnp.sqrt(power) + 1e-12)

    @classmethod
    def from_arrays(cls, config: GmmConfig, arrays: dict[str, np.ndarray]) -> GmmModel:
        """Restore a model from `arrays`."""
        names = Level.__dataclass_fields__
        levels = tuple(
            Level(**{name: arrays[f"level_{number}_{name}"] for name in names})
            for number in range(int(arrays["level_count"]))
        )
        neutral = Gaussians(arrays["position"], arrays["amplitude"], arrays["sigma"])
        subspace = None
        if config.encoder == "posterior":
            subspace = Subspace(config.linear_kinds, arrays["subspace_mean"], arrays["subspace_modes"])
        return cls(
            config,
            neutral,
            levels,
            arrays["feature_scale"],
            float(arrays["image_scale"]),
            arrays["ring_weight"],
            int(arrays["box_size"]),
            float(arrays["pixel_size"]),
            subspace,
            arrays["edges"],
            arrays.get("mobile"),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the neutral mixture, hierarchy and statistics."""
        arrays = {
            "position": self.neutral.position,
            "amplitude": self.neutral.amplitude,
            "sigma": self.neutral.sigma,
            "feature_scale": self.feature_scale,
            "image_scale": np.asarray(self.image_scale),
            "ring_weight": self.ring_weight,
            "box_size": np.asarray(self.box_size),
            "pixel_size": np.asarray(self.pixel_size),
            "level_count": np.asarray(len(self.levels)),
            "edges": self.edges,
            "mobile": self.mobile,
        }
        if self.subspace is not None:
            arrays |= {"subspace_mean": self.subspace.mean, "subspace_modes": self.subspace.modes}
        for number, level in enumerate(self.levels):
            for name in Level.__dataclass_fields__:
                arrays[f"level_{number}_{name}"] = getattr(level, name)
        return {name: np.asarray(array) for name, array in arrays.items()}

    def init(self, key: PRNGKeyArray) -> dict[str, Any]:
        """Return fresh parameters: decoder, and encoder, or modes and adapted neutral mixture."""
        encoder_key, decoder_key = jax.random.split(key)
        latent = jnp.zeros((1, self.config.latent_size))

        @jax.jit  # so that only the parameters are computed, and not what they would decode
        def decoder(key: PRNGKeyArray) -> dict[str, Any]:
            return self._decoder().init(key, latent, *self._geometry())["params"]

        params = {"decoder": decoder(decoder_key)}
        if self.subspace is None:
            features = jnp.zeros((len(self.neutral.sigma), FEATURES))
            return params | {"encoder": Encoder(self.config).init(encoder_key, features)["params"]}
        return params | {
            "modes": jnp.asarray(self._in_outputs(self.subspace.modes)),
            "neutral": start_of_neutral(self.subspace),
        }

    def _in_outputs(self, modes: np.ndarray) -> np.ndarray:
        """Return modes (N, F, r) of the subspace in the decoder's outputs and units."""
        parts = []
        if "p" in self.config.vary:
            parts.append(modes[:, :3] / self.config.displacement_scale)
        if "a" in self.config.vary:
            parts.append(modes[:, -1:])
        if "s" in self.config.vary:
            parts.append(np.zeros_like(modes[:, :1]))
        return np.concatenate(parts, axis=1)

    def neutral_mixture(self, params: Any) -> Gaussians:
        """Return the mixture that z = 0 gives: the starting one, as training has adapted it."""
        neutral = jax.tree.map(jnp.asarray, self.neutral)
        return adapted(neutral, params["neutral"]) if "neutral" in params else neutral

    def encode(self, params: Any, batch: Batch) -> Float[Array, "batch latent"]:
        """Return the latent of every image: its posterior mean, or the encoder network's output."""
        if self.subspace is not None:
            return self._infer(params, self._unmoved(params), batch)[0]

        def one(image: Array, pose: Pose, ctf: CTFParams) -> Array:
            features = self._features(image, pose, ctf) / self.feature_scale
            return Encoder(self.config).apply({"params": params["encoder"]}, features)

        return jax.vmap(one)(batch.images, batch.pose, batch.ctf)

    def _infer(self, params: Any, unmoved: Float[Array, "points outputs"] | None, batch: Batch) -> tuple[Array, Array]:
        """Return posterior means and precisions; no gradient passes through them."""
        params, unmoved = jax.lax.stop_gradient((params, unmoved))
        tangents = partial(linear_tangents, self.config, self.neutral_mixture(params), self._modes(params))
        seen = Imaging.of(
            self.neutral,
            symmetry_operators(self.config.symmetry),
            self.image_scale,
            self.ring_weight,
            self.box_size,
            self.pixel_size,
        )

        def one(z: Array, mixture: Gaussians, image: Array, pose: Pose, ctf: CTFParams) -> tuple[Array, Array]:
            return gauss_newton(seen, mixture, tangents(z), image, pose, ctf, z)

        @jax.jit  # so that JAX traces one step and not each
        def step(latent: Array) -> tuple[Array, Array]:
            mixtures = self._moved(params, unmoved, latent)
            return jax.vmap(one)(latent, mixtures, batch.images, batch.pose, batch.ctf)

        shape = (len(batch.images), self.config.latent_size)
        latent = jnp.broadcast_to(jnp.zeros_like(batch.weight)[:, None], shape)  # on the batch's devices, as z is
        for _ in range(self.config.newton_steps):
            latent, precision = step(latent)
        return latent, precision

    def decode(self, params: Any, latent: Float[Array, "batch latent"], key: PRNGKeyArray | None = None) -> Gaussians:
        """Return mixtures with a leading batch axis; a key switches dropout on, for training."""
        return self._moved(params, self._unmoved(params), latent, key)

    def _moved(
        self,
        params: Any,
        unmoved: Float[Array, "points outputs"] | None,
        latent: Float[Array, "batch latent"],
        key: PRNGKeyArray | None = None,
    ) -> Gaussians:
        """Return what `decode` does, given `_unmoved`."""
        neutral = self.neutral_mixture(params)
        if unmoved is None:
            change = self._network(params, latent, key)
        else:
            change = self._network(params, latent / LATENT_REACH, key) - unmoved
            change = change + jnp.einsum("nfr,br->bnf", self._modes(params), latent)
        mobile = jnp.asarray(self.mobile)[:, None]
        return jax.vmap(partial(changed, self.config, neutral))(change * mobile)

    def _unmoved(self, params: Any) -> Float[Array, "points outputs"] | None:
        """Return what the network says of z = 0, without dropout: taken off, z = 0 is the neutral mixture.

        By itself: one more row in a batch would keep devices from sharing the batch evenly. None with an
        encoder network, whose z = 0 is nothing special.
        """
        if "modes" not in params:
            return None
        return self._network(params, jnp.zeros((1, self.config.latent_size)))[0]

    def _network(
        self, params: Any, latent: Float[Array, "batch latent"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "batch points outputs"]:
        training = key is not None and self.config.dropout > 0
        return self._decoder().apply(
            {"params": params["decoder"]},
            latent,
            *self._geometry(),
            training=training,
            rngs={"dropout": key} if training else None,
        )

    def _modes(self, params: Any) -> Float[Array, "points outputs latent"]:
        return params["modes"] * jnp.asarray(self.mobile)[:, None, None]

    def _whole(self, mixture: Gaussians) -> Gaussians:
        """Return the whole complex of one unit."""
        return symmetric_copies(mixture, symmetry_operators(self.config.symmetry))

    def render(self, representation: Gaussians, pose: Pose, n: int, pixel_size: float) -> Complex[Array, "n half"]:
        """Return the projection of one mixture, all units of it, without CTF."""
        return project_gaussians(self._whole(representation), pose, n, pixel_size)

    def volume(self, representation: Gaussians, n: int, pixel_size: float) -> Float[Array, "n n n"]:
        """Return the map of one mixture, all units of it."""
        return gaussians_to_volume(self._whole(representation), n, pixel_size)

    def loss(
        self, params: Any, batch: Batch, key: PRNGKeyArray, training: bool = True
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Return the misfit of the images plus the latent penalty, and both for the log.

        likelihood: mean over pixels of w |CTF P(R, t) G(z) - X|², 1 for a perfect model;
        frc: -mean_r FRC_r(CTF P(R, t) G(z), X);
        plus stiffness · strain of the changes (`changes`); plus, with an
        encoder network, latent_penalty · mean max(|z| - 1, 0). Not in training there is no dropout, and
        an encoder network's latents carry no noise.
        """
        latent_key, dropout_key = jax.random.split(key)
        unmoved = self._unmoved(params)
        latent, penalty = self._latent_and_penalty(params, unmoved, batch, latent_key, training)
        mixtures = self._moved(params, unmoved, latent, dropout_key if training else None)
        misfit = jax.vmap(self._misfit)(mixtures, batch.images, batch.pose, batch.ctf)
        neutral = self.neutral_mixture(params)
        if self.config.stiffness and "p" in self.config.vary:
            strained = jax.vmap(partial(strain, neutral, self.edges))(mixtures)
            penalty = penalty + self.config.stiffness * strained
        total = jnp.maximum(jnp.sum(batch.weight), 1.0)
        mean_misfit = jnp.sum(batch.weight * misfit) / total
        mean_penalty = jnp.sum(batch.weight * penalty) / total
        return mean_misfit + mean_penalty, {"misfit": mean_misfit, "penalty": mean_penalty}

    def _latent_and_penalty(
        self,
        params: Any,
        unmoved: Float[Array, "points outputs"] | None,
        batch: Batch,
        key: PRNGKeyArray,
        training: bool,
    ) -> tuple[Float[Array, "batch latent"], Float[Array, "batch"]]:
        """Return latents drawn about the inferred ones, and what they cost."""
        if self.subspace is not None:
            mean, precision = self._infer(params, unmoved, batch)
            spread = jnp.linalg.cholesky(precision)
            draw = jax.random.normal(key, mean.shape)[..., None]
            noise = jax.vmap(partial(jax.scipy.linalg.solve_triangular, lower=True, trans="T"))(spread, draw)
            return mean + noise[..., 0], jnp.zeros(len(mean))
        latent = self.encode(params, batch)
        spread = self.config.latent_noise if training else 0.0
        noise = spread * jax.random.normal(key, latent.shape)
        radius = jnp.sqrt(jnp.sum(latent**2, axis=-1) + 1e-12)
        return latent + noise, self.config.latent_penalty * jnp.maximum(radius - 1, 0)

    def _misfit(self, mixture: Gaussians, image: Array, pose: Pose, ctf: CTFParams) -> Float[Array, ""]:
        target, transfer = self._target(image, ctf)
        mixture = self._whole(mixture)
        if self.config.loss == "frc":
            return -mean_frc(mixture, target, transfer, pose, self.pixel_size, self._rings())
        weight = jnp.asarray(self.ring_weight)
        error = scaled_error(mixture, target, transfer * self.image_scale, pose, self.pixel_size, weight)
        return error / np.count_nonzero(self.ring_weight)

    def _decoder(self) -> PointTransformerDecoder | PublishedDecoder | MlpDecoder:
        outputs = sum({"p": 3, "a": 1, "s": 1}[letter] for letter in self.config.vary)
        if self.config.decoder == "pointtransformer":
            published = self.config.architecture == "published"
            return (PublishedDecoder if published else PointTransformerDecoder)(self.config, outputs)
        return MlpDecoder(self.config, len(self.neutral.sigma), outputs)

    def _geometry(self) -> tuple[Any, ...]:
        return (self.levels,) if self.config.decoder == "pointtransformer" else ()

    def _features(self, image: Array, pose: Pose, ctf: CTFParams) -> Float[Array, "points 5"]:
        target, transfer = self._target(image, ctf)
        neutral = jax.tree.map(jnp.asarray, self.neutral)
        operators = symmetry_operators(self.config.symmetry)
        return gradient_features(neutral, target, transfer, pose, self.pixel_size, self._rings(), operators)

    def _target(self, image: Array, ctf: CTFParams) -> tuple[Array, Array]:
        return dft_image(image), ctf_image(ctf, self.box_size, self.pixel_size)

    def _rings(self) -> slice:
        return slice(*ring_limits(self.config.resolution, self.box_size, self.pixel_size))
