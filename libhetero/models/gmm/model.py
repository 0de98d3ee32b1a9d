"""The Gaussian mixture model: neutral mixture + latent of each particle + decoder + loss.

The change of Gaussian j in a particle with latent z is

    c_j(z) = modes_j z + network_j(z) - network_j(0)

with modes that start from the set's subspace, those of motion continued as turns (`turning`), and a
network (Point Transformer or MLP) for what they do not say; both are trained. The latent itself is
solved for, particle by particle (`latent.posterior`), or, as published, read off by an encoder network.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int, PRNGKeyArray

from libhetero.errors import DataError
from libhetero.models.batch_mean import batch_mean
from libhetero.models.contrast import (
    ContrastPrior,
    contrast_evidence,
    contrast_posterior,
    estimate_contrast,
    junk_probability,
)
from libhetero.models.corner_noise import measure_explainable, measure_noise
from libhetero.models.gmm.changes import (
    Modes,
    Neighbourhood,
    adapted,
    changed,
    modes_in_outputs,
    nearest_pairs,
    start_of_neutral,
    strain,
)
from libhetero.models.gmm.config import AUTO, GmmConfig
from libhetero.models.gmm.decoder import Decoder, make_decoder
from libhetero.models.gmm.decoder.topology import Level, build_topology
from libhetero.models.gmm.further import SUBSPACE_GRID, searched_sample
from libhetero.models.gmm.latent.encoder import Encoder, gradient_features, mean_frc
from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.latent.pieces import refined_pieces
from libhetero.models.gmm.latent.posterior import draw, infer
from libhetero.models.gmm.latent.subspace import LARGEST_GRID, Imaging, Subspace
from libhetero.models.gmm.latent.subspace_fit import KIND, find_subspaces
from libhetero.models.gmm.latent.views import particle_equations
from libhetero.models.gmm.layout import Layout
from libhetero.models.gmm.motions import settle_motions
from libhetero.models.gmm.noise import NOISE_SAMPLE, measure_sample, ring_limits
from libhetero.models.gmm.storage import fields_of, to_arrays
from libhetero.models.sample import spread_over
from libhetero.physics.arrays import AnyArray
from libhetero.physics.fourier import dft_image, half_plane
from libhetero.physics.gaussians import gaussians_to_volume, project_gaussians
from libhetero.physics.observation import observed, power, squared_error
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.records import Batch, Direction, Gaussians, Observation, Pose, Posterior
from libhetero.tilts import images_alone, of_images, of_particles

FEATURES = 5
LATENT_REACH = 3.0  # standard deviations that the network's input is scaled by


@dataclass(frozen=True, eq=False)
class GmmModel:
    """One complex as Gaussians that move, fade and widen; see `libhetero.models.family`.

    Parameters
    ----------
    config : sizes and switches.
    neutral : the mixture that a zero change gives; position (N, 3) and sigma (N,) in Å.
    levels : the hierarchy of a decoder that reads one; empty for others.
    feature_scale : (5,), root mean square of the encoder's input over a sample of the set.
    image_scale : factor that takes the mixture's projections to the level of the images.
    ring_weight : (n, n // 2 + 1), weight of each Fourier pixel's squared error.
    box_size : pixels.
    pixel_size : Å.
    subspace : what the set's sample shows to change; None with an encoder network.
    edges : (E, 2), pairs of Gaussians next to each other.
    mobile : (N,), 1 for each Gaussian that may change, 0 for each that may not; None for all.
    contrast : of the particles, as the sample shows them.
    turning : whether modes of motion are continued as turns; older runs' are straight.
    averaged : whether changes of amplitude are means over neighbours (`changes.Neighbourhood`); those of older runs are
        not, nor any with an encoder network.
    explainable : mean power of a weighted pixel of an image that is signal (`corner_noise`); 0 where it is not known.
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
    contrast: ContrastPrior = ContrastPrior()
    turning: bool = True
    averaged: bool = True
    explainable: float = 0.0
    family: str = "gmm"

    def __post_init__(self) -> None:
        if self.mobile is None:
            object.__setattr__(self, "mobile", np.ones(len(self.neutral.sigma), np.float32))

    @property
    def layout(self) -> Layout:
        """What of a Gaussian varies."""
        return self.config.layout

    @property
    def operators(self) -> Float[np.ndarray, "copies 3 3"]:
        """Those of the complex's symmetry."""
        return symmetry_operators(self.config.symmetry)

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
        further: Batch | None = None,
    ) -> GmmModel:
        """Choose the hierarchy and measure the encoder's input on a sample; see `models.create`."""
        neutral = jax.tree.map(lambda array: np.asarray(array, np.float32), neutral)
        operators = symmetry_operators(config.symmetry)
        whole = jax.tree.map(np.asarray, symmetric_copies(neutral, operators))
        limits = ring_limits(config.resolution, box_size, pixel_size)
        judged = config.particle_contrast == "estimated"
        measured = measure_sample(whole, sample, box_size, pixel_size, limits, judged)
        moves = np.ones(len(neutral.sigma), np.float32) if mobile is None else np.asarray(mobile, np.float32)
        model = cls(
            config=config,
            neutral=neutral,
            levels=(),
            feature_scale=np.ones(FEATURES, np.float32),
            image_scale=measured.scale,
            ring_weight=measured.ring_weight,
            box_size=box_size,
            pixel_size=pixel_size,
            edges=nearest_pairs(neutral.position),
            mobile=moves,
            contrast=measured.contrast,
            explainable=_explainable(images_alone(sample), measured.ring_weight),
        )
        if config.encoder == "posterior":
            searched = searched_sample(whole, measured, further, box_size, pixel_size, judged)
            model = model._with_subspace(searched, seed)
        if model._decoder().reads_levels:
            levels = build_topology(model.neutral.position, model.config, box_size * pixel_size, seed)
            model = replace(model, levels=levels)
        if config.encoder == "network":
            model = replace(model, feature_scale=model._measured_features(spread_over(measured.sample, NOISE_SAMPLE)))
        return model

    def _with_subspace(self, sample: Batch, seed: int) -> GmmModel:
        """Return the model with what the sample shows to change, of which kinds and in how many directions."""
        config, imaging = self.config, self._imaging(SUBSPACE_GRID)
        asked, mobile = self.layout.linear, np.asarray(self.mobile) > 0
        found = find_subspaces(imaging, sample, asked, config.latent_size, seed, mobile, config.refine_poses)
        nuisances = _inferred(config, found[0].nuisances)
        neutral, subspace = settle_motions(config, imaging, sample, found, nuisances, seed, mobile)
        if config.vary == AUTO:
            config = replace(config, vary=subspace.layout.letters)
        else:
            subspace = subspace.in_layout(asked)
        decided = [name for name in ("vary", "latent_size") if getattr(self.config, name) in (AUTO, 0)]
        config = replace(config, latent_size=subspace.rank, decided=tuple(decided))
        contrast = replace(self.contrast, mean=1.0, spread=subspace.nuisances.contrast)
        edges = nearest_pairs(neutral.position)
        return replace(self, neutral=neutral, edges=edges, subspace=subspace, config=config, contrast=contrast)

    def _measured_features(self, sample: Batch) -> np.ndarray:
        features = jax.jit(jax.vmap(self._features))(sample.images, sample.observation)
        weight = jnp.asarray(sample.weight)[:, None, None]
        power = jnp.sum(weight * features**2, axis=(0, 1)) / (jnp.sum(weight) * features.shape[1])
        return np.asarray(jnp.sqrt(power) + 1e-12)

    @classmethod
    def from_arrays(cls, config: GmmConfig, arrays: dict[str, np.ndarray]) -> GmmModel:
        """Restore a model from `arrays`.

        Raises
        ------
        DataError : if they do not fit each other.
        """
        model = cls(**fields_of(config, arrays))
        if model._decoder().reads_levels and not model.levels:
            raise DataError("level_count: is 0; expected the levels that this decoder reads")
        return model

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the neutral mixture, hierarchy and statistics."""
        return to_arrays(self)

    def init(self, key: PRNGKeyArray) -> dict[str, Any]:
        """Return fresh parameters: decoder, and encoder, or modes and adapted neutral mixture."""
        encoder_key, decoder_key = jax.random.split(key)
        if self.subspace is not None and not self.config.latent_size:
            return {"neutral": start_of_neutral(self.subspace)}  # nothing changes: there is nothing to decode
        latent = jnp.zeros((1, self.config.latent_size))

        @jax.jit  # so that only the parameters are computed, and not what they would decode
        def decoder(key: PRNGKeyArray) -> dict[str, Any]:
            return self._decoder().init(key, latent, self.levels)["params"]

        params = {"decoder": decoder(decoder_key)}
        if self.subspace is None:
            features = jnp.zeros((len(self.neutral.sigma), FEATURES))
            return params | {"encoder": Encoder(self.config).init(encoder_key, features)["params"]}
        return params | {
            "modes": jnp.asarray(modes_in_outputs(self.config, self.subspace)),
            "neutral": start_of_neutral(self.subspace),
        }

    def neutral_mixture(self, params: Any) -> Gaussians:
        """Return the mixture that z = 0 gives: the starting one, as training has adapted it."""
        neutral = jax.tree.map(jnp.asarray, self.neutral)
        return adapted(neutral, params["neutral"]) if "neutral" in params else neutral

    def directions(self) -> tuple[Direction, ...]:
        """Return the directions of change that the sample showed."""
        found = self.subspace
        if found is None:
            return ()
        rows = zip(found.kinds, found.strength, found.p, strict=True)
        return tuple(Direction(KIND[kind], float(strength), float(p)) for kind, strength, p in rows)

    def encode(self, params: Any, batch: Batch) -> Float[Array, "batch latent"]:
        """Return the latent of every image: its posterior mean, or the encoder network's output."""
        if self.subspace is not None:
            return self._infer(params, self._unmoved(params), batch)[0][:, : self.config.latent_size]

        def one(image: Array, observation: Observation) -> Array:
            features = self._features(image, observation) / self.feature_scale
            latent: Any = Encoder(self.config).apply({"params": params["encoder"]}, features)
            return latent

        return jax.vmap(one)(batch.images, batch.observation)

    def posterior(self, params: Any, batch: Batch) -> Posterior:
        """Return the latents with their deviations, and contrast and evidence by the mixtures at those latents."""
        poses = None
        if self.subspace is None:
            latent, observation = self.encode(params, batch), batch.observation
            deviation = jnp.full_like(latent, jnp.nan)
        else:
            state, precision = self._infer(params, self._unmoved(params), batch)
            rank = self.config.latent_size
            latent, observation = state[:, :rank], self._placed(batch, state[:, rank:])
            covariance = jnp.linalg.inv(precision) if state.shape[1] else precision
            known = jnp.sqrt(jnp.diagonal(covariance, axis1=1, axis2=2))
            deviation = known[:, :rank]
            if self.config.refine_poses and self._nuisances is not None:
                poses = self._nuisances.pose_change(state[:, rank:], known[:, rank:])
        estimate, uncertainty = self._contrasts_of(params, latent, observation, batch)
        estimated = self.config.particle_contrast == "estimated"
        prior = self.contrast if estimated else ContrastPrior()  # all alike
        return Posterior(
            latent=latent,
            deviation=deviation,
            contrast=estimate if estimated else jnp.ones_like(estimate),
            contrast_deviation=uncertainty if estimated else jnp.zeros_like(uncertainty),
            evidence=contrast_evidence(estimate, uncertainty, prior),
            poses=poses,
        )

    def _contrasts_of(
        self, params: Any, latent: Float[Array, "batch latent"], observation: Observation, batch: Batch
    ) -> tuple[Float[Array, "batch"], Float[Array, "batch"]]:
        """Return how strongly each image shows the mixture of its particle's latent, and the deviation of that."""
        mixtures = of_images(self.decode(params, of_particles(latent, batch.views)), batch.views)
        return jax.vmap(self._contrast_of)(batch.images, observation, mixtures)

    def _contrast_of(
        self, image: Array, observation: Observation, mixture: Gaussians
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Return how strongly one image shows a mixture, and the standard deviation of that."""
        projection = self.render(mixture, observation.pose, self.box_size, self.pixel_size)
        expected = observed(self.image_scale * projection, observation, half_plane(self.box_size, self.pixel_size))
        return estimate_contrast(expected, dft_image(image), self.ring_weight)

    @property
    def _nuisances(self) -> Nuisances | None:
        """What is inferred beside the latent; None for nothing."""
        return None if self.subspace is None else _inferred(self.config, self.subspace.nuisances)

    @property
    def blur(self) -> float:
        """How far poses' errors displace Gaussians along an axis of the image, Å; see `MixtureFamily`."""
        nuisances, found = self._nuisances, self.subspace
        if nuisances is None or found is None or not nuisances.posed or "p" in found.kinds:
            return 0.0
        whole = symmetric_copies(self.neutral, self.operators)
        arm = np.asarray(whole.position) - np.mean(np.asarray(whole.position), axis=0)
        return float(np.hypot(nuisances.shift, nuisances.rotation * np.sqrt(2 / 3 * np.mean(np.sum(arm**2, axis=1)))))

    def solved_poses(self, params: Any, batch: Batch) -> tuple[Pose, Float[Array, "batch"]]:
        """Return the pose at which each image is most probably seen, and if it is junk; see `MixtureFamily`."""
        (state, _), rank = self._infer(params, self._unmoved(params), batch), self.config.latent_size
        observation = self._placed(batch, state[:, rank:])
        seen = self._contrasts_of(params, state[:, :rank], observation, batch)
        return observation.pose, junk_probability(*seen, self.contrast)

    def _placed(self, batch: Batch, numbers: Float[Array, "batch nuisances"]) -> Observation:
        """Return how particles were seen as far as their poses are off; contrast is left out."""
        observation, nuisances = batch.observation, self._nuisances
        if nuisances is None or not nuisances.posed:
            return observation
        return replace(observation, pose=jax.vmap(nuisances.moved)(observation.pose, numbers))

    def _infer(self, params: Any, unmoved: Float[Array, "points outputs"] | None, batch: Batch) -> tuple[Array, Array]:
        """Return posterior means and precisions of latents and contrast; no gradient passes through them."""
        params, unmoved = jax.lax.stop_gradient((params, unmoved))
        imaging, layout, config = self._imaging(), self.layout.linear, self.config
        tangents = self._modes(params).tangents
        mixtures = partial(self._moved, params, unmoved)
        rank, steps = config.latent_size, config.newton_steps
        return infer(imaging, layout, mixtures, tangents, batch, rank, steps, self._nuisances)

    def patch_equations(
        self, params: Any, sample: Batch, patch: Int[np.ndarray, "points"]
    ) -> tuple[Float[np.ndarray, "particles columns columns"], Float[np.ndarray, "particles columns"]]:
        """Return what particles say of displacements and amplitudes of patches; see `MixtureFamily`."""
        neutral = jax.tree.map(np.asarray, self.neutral_mixture(params))
        imaging = replace(self._imaging(SUBSPACE_GRID), neutral=neutral)
        said = particle_equations(imaging, sample, patch, Layout.of("pa"), nuisances=False)
        return said.hessian, said.gradient

    def piece_poses(
        self,
        params: Any,
        latent: Float[Array, "batch latent"],
        batch: Batch,
        contrast: Float[AnyArray, "batch"],
        member: Bool[np.ndarray, "points"],
        spread: Float[AnyArray, "2"],
        piece: Int[np.ndarray, "points"] | None = None,
        moved: Float[AnyArray, "batch copies pieces 5"] | None = None,
    ) -> tuple[Pose, Float[Array, "particles numbers"], Float[Array, "particles numbers numbers"]]:
        """Return where a piece is seen in each image, the rest modelled; see `MixtureFamily`."""
        mixtures = self.decode(params, of_particles(latent, batch.views))
        return refined_pieces(self._imaging(), mixtures, member, batch, contrast, spread, piece, moved)

    def _imaging(self, grid: int = LARGEST_GRID) -> Imaging:
        """Return how mixtures become images on at most `grid` pixels."""
        scale, weight = self.image_scale, self.ring_weight
        return Imaging.of(self.neutral, self.operators, scale, weight, self.box_size, self.pixel_size, grid)

    def memberships(self, batch: Batch) -> Float[Array, "batch molecules"]:
        """Return 1 for every image: there is one molecule, which changes."""
        return jnp.ones((len(batch.weight), 1))

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
        if not self.config.latent_size:
            change = jnp.zeros((len(latent), len(neutral.sigma), len(self.layout.kinds)))
        elif unmoved is None:
            change = self._network(params, latent, key)
        else:
            change = jax.vmap(self._averaged)(self._network(params, latent / LATENT_REACH, key) - unmoved)
            change = change + jax.vmap(self._modes(params).change)(latent)
        mobile = jnp.asarray(self.mobile)[:, None]
        return jax.vmap(partial(changed, self.config, neutral))(change * mobile)

    def _unmoved(self, params: Any) -> Float[Array, "points outputs"] | None:
        """Return what the network says of z = 0, without dropout: taken off, z = 0 is the neutral mixture.

        By itself: one more row in a batch would keep devices from sharing the batch evenly. None with an
        encoder network, whose z = 0 is nothing special.
        """
        if "modes" not in params or not self.config.latent_size:
            return None
        return self._network(params, jnp.zeros((1, self.config.latent_size)))[0]

    def _network(
        self, params: Any, latent: Float[Array, "batch latent"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "batch points outputs"]:
        training = key is not None and self.config.dropout > 0
        return self._decoder().apply(
            {"params": params["decoder"]},
            latent,
            self.levels,
            training=training,
            rngs={"dropout": key} if training else None,
        )

    def _modes(self, params: Any) -> Modes:
        shape = len(self.neutral.sigma), len(self.layout.kinds), 0
        outputs = self._averaged(params["modes"]) if "modes" in params else jnp.zeros(shape)
        outputs = outputs * jnp.asarray(self.mobile)[:, None, None]
        edges = self.edges if self.turning else None
        return Modes.of(self.config, self.neutral_mixture(params), outputs, edges)

    def _averaged(self, change: Float[Array, "points outputs *modes"]) -> Float[Array, "points outputs *modes"]:
        """Return changes in the decoder's columns, those of amplitude averaged over neighbours."""
        columns = self.layout.columns()[1]
        if not self.averaged or not self.layout.amplitude or not self.edges.size:
            return change
        means = self._neighbourhood.mean(change[:, columns])
        return jnp.concatenate([change[:, : columns.start], means, change[:, columns.stop :]], axis=1)

    @property
    def decoded_subspace(self) -> Subspace | None:
        """What the sample shows to change, as it is decoded: changes of amplitude as means over neighbours."""
        found = self.subspace
        return None if found is None else replace(found, modes=np.asarray(self._averaged(jnp.asarray(found.modes))))

    @cached_property
    def _neighbourhood(self) -> Neighbourhood:
        """Who is averaged with whom."""
        return Neighbourhood.of(self.neutral, self.edges)

    def _whole(self, mixture: Gaussians) -> Gaussians:
        """Return the whole complex of one unit."""
        return symmetric_copies(mixture, self.operators)

    def render(self, representation: Gaussians, pose: Pose, n: int, pixel_size: float) -> Complex[Array, "n half"]:
        """Return the projection of one mixture, all units of it, without CTF."""
        return project_gaussians(self._whole(representation), pose, n, pixel_size)

    def volume(self, representation: Gaussians, n: int, pixel_size: float) -> Float[Array, "n n n"]:
        """Return the map of one mixture, all units of it."""
        return gaussians_to_volume(self._whole(representation), n, pixel_size)

    def loss(
        self, params: Any, batch: Batch, key: PRNGKeyArray, training: bool = True
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Return the misfit of the images plus the latent penalty, and both for the log, with the signal explained.

        likelihood: mean over pixels of w |CTF P(R, t) G(z) - X|², 1 for a perfect model;
        frc: -mean_r FRC_r(CTF P(R, t) G(z), X);
        plus stiffness · strain of the changes (`changes`); plus, with an
        encoder network, latent_penalty · mean max(|z| - 1, 0). Not in training there is no dropout, and
        an encoder network's latents carry no noise.
        """
        latent_key, dropout_key = jax.random.split(key)
        unmoved = self._unmoved(params)
        latent, observation, penalty = self._latent_and_penalty(params, unmoved, batch, latent_key, training)
        own = of_particles(latent, batch.views)
        mixtures = of_images(self._moved(params, unmoved, own, dropout_key if training else None), batch.views)
        misfit = partial(self._misfit_and_penalty, self.neutral_mixture(params))
        means = batch_mean(misfit, batch, observation, mixtures, penalty)
        return means["misfit"] + means["penalty"], means

    def _misfit_and_penalty(
        self,
        neutral: Gaussians,
        image: Array,
        listed: Observation,
        observation: Observation,
        mixture: Gaussians,
        penalty: Array,
    ) -> dict[str, Float[Array, ""]]:
        """Return both of one particle, given how it was seen and what its latent costs.

        What looks like junk counts as noise, whose misfit is 1.
        """
        del listed  # what is inferred stands in its place
        if self.config.stiffness and self.layout.position:
            penalty = penalty + self.config.stiffness * strain(neutral, self.edges, mixture)
        error = misfit = self._misfit(image, observation, mixture)
        shown = jnp.ones_like(error)
        if self.contrast.junk and self.config.loss == "likelihood":
            plain = replace(observation, contrast=None)
            seen = jax.lax.stop_gradient(self._contrast_of(image, plain, mixture))
            shown = 1 - junk_probability(*seen, self.contrast)
            misfit, penalty = shown * misfit + (1 - shown), shown * penalty
        found = {"misfit": misfit, "penalty": penalty}
        if self.explainable and self.config.loss == "likelihood":
            of_image = jnp.sum(self.ring_weight * power(dft_image(image))) / np.count_nonzero(self.ring_weight)
            found["signal"] = shown * (of_image - error) / self.explainable
        return found

    def _latent_and_penalty(
        self,
        params: Any,
        unmoved: Float[Array, "points outputs"] | None,
        batch: Batch,
        key: PRNGKeyArray,
        training: bool,
    ) -> tuple[Float[Array, "batch latent"], Observation, Float[Array, "batch"]]:
        """Return latents and observations drawn about the inferred ones, and what the latents cost."""
        observation, nuisances, rank = batch.observation, self._nuisances, self.config.latent_size
        if self.subspace is not None:
            mean, precision = self._infer(params, unmoved, batch)
            drawn = draw(mean, precision, key, rank, batch.views) if mean.shape[1] else mean
            if nuisances is not None:
                observation = jax.vmap(nuisances.seen)(observation, drawn[:, rank:])
            return drawn[:, :rank], observation, jnp.zeros(len(mean))
        latent = self.encode(params, batch)
        spread = self.config.latent_noise if training else 0.0
        noise = spread * jax.random.normal(key, latent.shape)
        radius = jnp.sqrt(jnp.sum(latent**2, axis=-1) + 1e-12)
        if self.config.particle_contrast == "estimated" and self.config.loss == "likelihood":
            observation = replace(observation, contrast=self._contrast_at(params, batch, latent))
        return latent + noise, observation, self.config.latent_penalty * jnp.maximum(radius - 1, 0)

    def _contrast_at(self, params: Any, batch: Batch, latent: Float[Array, "batch latent"]) -> Float[Array, "batch"]:
        """Return the contrasts that are most probable at given latents; no gradient passes through them."""
        seen = self._contrasts_of(*jax.lax.stop_gradient((params, latent)), batch.observation, batch)
        return contrast_posterior(*seen, self.contrast)[0]

    def _misfit(self, image: Array, observation: Observation, mixture: Gaussians) -> Float[Array, ""]:
        projection = self.render(mixture, observation.pose, self.box_size, self.pixel_size)
        seen, frequencies = dft_image(image), half_plane(self.box_size, self.pixel_size)
        if self.config.loss == "frc":
            return -mean_frc(projection, seen, observation, frequencies, self._rings())
        error = squared_error(self.image_scale * projection, seen, observation, frequencies, self.ring_weight)
        return error / np.count_nonzero(self.ring_weight)

    def _decoder(self) -> Decoder:
        return make_decoder(self.config, len(self.layout.kinds), len(self.neutral.sigma))

    def _features(self, image: Array, observation: Observation) -> Float[Array, "points 5"]:
        neutral = jax.tree.map(jnp.asarray, self.neutral)
        return gradient_features(neutral, dft_image(image), observation, self.pixel_size, self._rings(), self.operators)

    def _rings(self) -> slice:
        return slice(*ring_limits(self.config.resolution, self.box_size, self.pixel_size))


def _inferred(config: GmmConfig, nuisances: Nuisances) -> Nuisances | None:
    """Return what is inferred beside the latent: without contrasts of their own poses alone, where they are refined."""
    if config.particle_contrast != "none":
        return nuisances
    return replace(nuisances, contrast=0.0) if config.refine_poses else None


def _explainable(sample: Batch, ring_weight: Float[np.ndarray, "n half"]) -> float:
    """Return the power of a weighted pixel of an image that is signal, in the units of the misfit."""
    n = len(ring_weight)
    weight = ring_weight * np.float32(n**2 / np.count_nonzero(ring_weight))  # transforms are divided by n there
    return measure_explainable(sample, weight, measure_noise(spread_over(sample, NOISE_SAMPLE), n))
