"""CryoHype as a model family: encoder, hypernetwork, INR, and the loss over the Fourier disc.

Begun from the classes of a mixture (`start`), the volume of an image is what its classes say of it, and what the INR
adds, by a gain g of each ring that is learnt from `GAIN`:

    V(k) = V_start(k; z) + g(|k|) INR(k; tokens),        latent = (tokens, z)
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from libhetero.configuration import ArraySchema
from libhetero.errors import ConfigurationError, DataError
from libhetero.models.batch_mean import over_series, series_mean
from libhetero.models.contrast import contrast_evidence, estimate_contrast
from libhetero.models.corner_noise import measure_explainable, measure_noise
from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.contrast import prior_of, start_of_contrast, weigh
from libhetero.models.hype.encoders import DOWN, image_encoder
from libhetero.models.hype.hypernetwork import HyperNetwork
from libhetero.models.hype.inr import INRWeights, inr_apply
from libhetero.models.hype.latent.class_search import most_particles
from libhetero.models.hype.latent.known import KnownClasses
from libhetero.models.hype.sampling import MOST_HIDDEN, draw, inclusion_probability, kept
from libhetero.models.hype.seen import MONOMIALS, measure_spectra, seen_image, view_features
from libhetero.models.hype.series import Tilts, some_shown, tilt_features
from libhetero.models.hype.start import Start
from libhetero.models.hype.start import schema as schema_of_start
from libhetero.models.sample import spread_over
from libhetero.physics.fourier import dft_image, disc_indices, frequencies_2d, frequencies_3d, half_plane, real_volume
from libhetero.physics.observation import moved, observed, power, squared_error
from libhetero.physics.slices import slice_frequencies
from libhetero.records import Batch, Observation, Pose, Posterior
from libhetero.tilts import by_particle, of_images

LOGGER = logging.getLogger(__name__)
VOLUME_CHUNK = 16384  # frequencies evaluated at once
PIXEL_CHUNK = 1024  # of an image, of all images of a batch together
LEAST_UNET = 2**DOWN  # pixels of its image
LEAST_SIGNAL = 1e-3  # of the strongest ring's power
SPECTRA_SAMPLE = 256  # particles that spectra are measured on
GAIN = 0.05  # of the INR where there is a volume to begin with
SERIES = "series"  # stored where particles have several images
NEARLY = 0.99  # of the particles that a sample may have are as many as it may have
CONTRAST_NOISE = "contrast_noise"  # stored where contrasts are estimated; runs before there was such a thing lack it


def schema_of(config: HypeConfig, names: Collection[str]) -> dict[str, ArraySchema]:
    """Return what `HypeModel.arrays` stores of a model of this configuration.

    Parameters
    ----------
    config : of the model.
    names : of the arrays that there are; they say whether particles have several images.
    """
    return {
        "anchors": ArraySchema("float", (config.inr_frequencies, 3)),
        "signal": ArraySchema("float", ("rings",), least=0),
        "noise": ArraySchema("float", least=0),
        "seen_scale": ArraySchema("float", least=0),
        "box_size": ArraySchema("int", least=2, below=2**15),
        "pixel_size": ArraySchema("float", least=1e-3, below=1e5),
        CONTRAST_NOISE: ArraySchema("float", ("rings",), least=1e-30, optional=True),
        "explainable": ArraySchema("float", least=0, optional=True),
        **({SERIES: ArraySchema("int", least=0, below=2)} if SERIES in names else {}),
        **(schema_of_start(names) if config.start == "classes" else {}),
    }


@dataclass(frozen=True, eq=False)
class HypeModel:
    """A volume of its own for every image; see `libhetero.models.family`.

    Fourier values inside are those of `fourier_image` divided by n, so that white noise of unit
    variance per pixel has unit variance per Fourier pixel.

    Parameters
    ----------
    config : sizes and switches.
    anchors : (inr_frequencies, 3), fixed random points of the INR's features, pixels.
    signal : (n // 2 + 1,), power of V by Fourier radius in pixels of box n, measured on a sample.
    noise : power of a Fourier pixel's noise.
    seen_scale : standard deviation of what the encoder is given, before it is divided by this.
    box_size : pixels.
    pixel_size : Å.
    contrast_noise : (n // 2 + 1,), power of a Fourier pixel's noise by ring, for the contrast of particles; None where
        that is not estimated.
    start : the classes that it begins with; None for none.
    explainable : mean power of a pixel of an image that is signal (`corner_noise`); 0 where it is not known.
    series : whether particles have several images each, as the tilts of a series are.
    """

    config: HypeConfig
    anchors: Float[np.ndarray, "points 3"]
    signal: Float[np.ndarray, "rings"]
    noise: float
    seen_scale: float
    box_size: int
    pixel_size: float
    contrast_noise: Float[np.ndarray, "rings"] | None = None
    start: Start | None = None
    explainable: float = 0.0
    series: bool = False
    family: str = "hype"

    @classmethod
    def from_data(
        cls,
        config: HypeConfig,
        box_size: int,
        pixel_size: float,
        sample: Batch,
        seed: int = 0,
        known: KnownClasses | None = None,
    ) -> HypeModel:
        """Draw the features' points and measure the signal's spectrum; see `models.create`.

        Raises
        ------
        ConfigurationError : if the patch does not divide the box, or that is too small for the U-Net.
        DataError : if too few of the particles are in a class that is known.
        """
        seen = config.seen_shape(box_size)
        if config.encoder == "unet" and seen[0] < LEAST_UNET:
            raise ConfigurationError(
                f"encoder: a U-Net halves its image {DOWN} times; expected a box of {LEAST_UNET} pixels or "
                f"more, got {seen[0]}. Raise encoder_box, or take the transformer."
            )
        if seen[0] % config.patch:
            what = f"box ({seen[0]} pixels)" if len(seen) == 2 else f"grid ({seen[0]} points)"
            raise ConfigurationError(f"patch: expected a divisor of the encoder's {what}; got {config.patch}.")
        spread = config.feature_sigma * box_size
        points = np.random.default_rng(seed).normal(size=(config.inr_frequencies, 3)) * spread
        signal, noise = np.ones(box_size // 2 + 1, np.float32), 1.0
        some = spread_over(sample, SPECTRA_SAMPLE)
        if config.profile or config.encoder_input == "wiener" or config.coordinates:
            signal, noise = measure_spectra(some, box_size, pixel_size)
        estimated, begun = config.particle_contrast == "estimated", config.start == "classes"
        by_ring = measure_noise(some, box_size)
        start = None
        if begun:
            _tell_if_limited(config, box_size, sample, known)
            start = Start.of_particles(sample, box_size, pixel_size, by_ring, seed, known)
            config = config if start is not None else dataclasses.replace(config, start="none")
        model = cls(
            config,
            points.astype(np.float32),
            signal,
            noise,
            1.0,
            box_size,
            pixel_size,
            by_ring if estimated else None,
            start,
            series=sample.views > 1,
        )
        model = dataclasses.replace(model, explainable=measure_explainable(sample, model._compared(), by_ring))
        if config.encoder_input == "wiener":
            images = jax.jit(jax.vmap(model._seen))(some.images, some.observation)
            scale = float(np.asarray(images)[np.asarray(some.weight) > 0].std())
            model = dataclasses.replace(model, seen_scale=max(scale, 1e-30))
        return model

    @classmethod
    def from_arrays(cls, config: HypeConfig, arrays: dict[str, np.ndarray]) -> HypeModel:
        """Restore a model from `arrays`.

        Raises
        ------
        DataError : if they do not fit each other.
        """
        rings = int(arrays["box_size"]) // 2 + 1
        for name in ("signal", CONTRAST_NOISE):
            if name in arrays and len(arrays[name]) != rings:
                raise DataError(f"{name}: expected ({rings},), got {arrays[name].shape}")
        return cls(
            config,
            anchors=arrays["anchors"],
            signal=arrays["signal"],
            noise=float(arrays["noise"]),
            seen_scale=float(arrays["seen_scale"]),
            box_size=int(arrays["box_size"]),
            pixel_size=float(arrays["pixel_size"]),
            contrast_noise=arrays.get(CONTRAST_NOISE),
            start=Start.from_arrays(arrays),
            explainable=float(arrays.get("explainable", 0.0)),
            series=bool(arrays.get(SERIES, False)),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the features' points, what was measured, and the classes."""
        names = ("anchors", "signal", "noise", "seen_scale", "box_size", "pixel_size", "explainable")
        stored = {name: np.asarray(getattr(self, name)) for name in names}
        if self.start is not None:
            stored |= self.start.arrays()
        if self.series:
            stored[SERIES] = np.asarray(1)
        return stored if self.contrast_noise is None else stored | {CONTRAST_NOISE: self.contrast_noise}

    def init(self, key: PRNGKeyArray) -> dict[str, Any]:
        """Return fresh parameters of encoder and hypernetwork."""
        encoder_key, hyper_key = jax.random.split(key)
        image, view = jnp.zeros(self.config.seen_shape(self.box_size)), jnp.zeros(len(MONOMIALS))
        tokens = jnp.zeros((sum(self.config.layer_tokens()), self.config.dim))
        seen: tuple[Any, ...] = image, view, self._told()
        if self.series:
            seen = image[None], view[None], self._told(), Tilts(tilt_features(None, 1), jnp.ones(1, bool))
        params = {
            "encoder": image_encoder(self.config).init(encoder_key, *seen)["params"],
            "hypernetwork": HyperNetwork(self.config).init(hyper_key, tokens)["params"],
        }
        if self.start is not None:
            inside = np.arange(len(self.signal)) <= self.start.volume_ring
            params["gain"] = jnp.asarray(np.where(inside, GAIN, 1.0), jnp.float32)
        return params if self.contrast_noise is None else params | {"contrast": start_of_contrast()}

    def encode(self, params: Any, batch: Batch) -> Float[Array, "batch latent"]:
        """Return the output weight tokens of every image, flattened, and its place among the classes.

        Each token is brought to mean 0 and variance 1. The heads begin with a layer norm, so this
        changes no volume; it takes out of the latent what has no effect. The place is scaled to weigh as much as all
        tokens together. Images of one particle have the same.
        """
        return of_images(self._encoded(params, batch), batch.views)

    def _encoded(
        self,
        params: Any,
        batch: Batch,
        shown: Bool[Array, "particles views"] | None = None,
        pixels: Float[Array, "batch n half"] | None = None,
    ) -> Float[Array, "particles latent"]:
        """Return the latent of every particle.

        Parameters
        ----------
        shown : which of its images the tokens are of; None for all. Its place is told by all.
        pixels : by what those of each image are multiplied of which the tokens are; None for 1. Its place is told by
            all.
        """
        start, encoder = self.start, {"params": params["encoder"]}

        def flat(told: Array | None, *seen: Any) -> Array:
            tokens: Any = image_encoder(self.config).apply(encoder, *seen)
            flat = jax.nn.standardize(tokens, axis=-1).reshape(-1)
            return flat if told is None else jnp.concatenate([flat, self._place_scale() * told])

        def one(image: Array, observation: Observation, pixels: Array | None) -> Array:
            seen, view = self._seen(image, observation, pixels), view_features(observation.pose.rotation)
            told = None if start is None else start.told(start.pixels(image, observation, self.pixel_size))
            return flat(told, seen, view, self._told(told))

        def several(
            images: Array, observation: Observation, weight: Array, pixels: Array | None, shown: Array
        ) -> Array:
            seen, view = (
                jax.vmap(self._seen)(images, observation, pixels),
                jax.vmap(view_features)(observation.pose.rotation),
            )
            of_all = images, observation, weight, self.pixel_size
            told = None if start is None else start.told(start.pixels_of_images(*of_all))
            return flat(told, seen, view, self._told(told), Tilts(tilt_features(observation.ctf, len(images)), shown))

        if not self.series:
            return jax.vmap(one)(batch.images, batch.observation, pixels)
        parts = by_particle((batch.images, batch.observation, batch.weight, pixels), batch.views)
        return jax.vmap(several)(*parts, parts[2] > 0 if shown is None else shown)

    def memberships(self, batch: Batch) -> Float[Array, "batch molecules"]:
        """Return how probable it is of every image to be of each molecule that training began with; 1 without any."""
        if (start := self.start) is None:
            return jnp.ones((len(batch.weight), 1))

        def one(image: Array, observation: Observation) -> Array:
            return start.memberships(start.pixels(image, observation, self.pixel_size))

        def several(images: Array, observation: Observation, weight: Array) -> Array:
            return start.memberships(start.pixels_of_images(images, observation, weight, self.pixel_size))

        if not self.series:
            return jax.vmap(one)(batch.images, batch.observation)
        parts = by_particle((batch.images, batch.observation, batch.weight), batch.views)
        return of_images(jax.vmap(several)(*parts), batch.views)

    def _told(self, place: Array | None = None) -> Array | None:
        """Return what the encoder is told of a place among the classes, of a variance of 1; None where there are none.

        Parameters
        ----------
        place : z; None for that of the mean.
        """
        if self.start is None or not self.start.told_rank:
            return None
        return jnp.zeros(self.start.told_rank) if place is None else place[: self.start.told_rank]

    def _place_scale(self) -> float:
        """Return by what places are multiplied in the latent."""
        rank = 0 if self.start is None else self.start.place.shape[1]  # weights and probabilities have less variance
        return float(np.sqrt(sum(self.config.layer_tokens()) * self.config.dim / max(rank, 1)))

    def posterior(self, params: Any, batch: Batch) -> Posterior:
        """Return the latents, whose deviations nobody knows, and what all pixels of each image say of its own volume.

        Contrast and evidence are of the image against the volume decoded for it; a volume that has taken a particle's
        contrast for its own leaves 1. Where the encoder is not shown what is compared in training, neither is it here:
        half of the pixels are compared with the volume of the other half, and the reverse, as a volume that knows the
        noise of an image fits it too well.
        """
        latent = self._encoded(params, batch)
        pixels = self._pixels()[0]
        parts, told = [np.arange(len(pixels))], [latent]
        if self.config.hides(batch.views):
            parts = [parts[0][one::2] for one in range(2)]
            told = [self._encoded(params, batch, pixels=self._without(part, len(batch.weight))) for part in parts]
        ends, disc = np.cumsum([len(part) for part in parts])[:-1], jnp.asarray(pixels[np.concatenate(parts)])
        frequency = jnp.asarray(frequencies_2d(self.box_size).reshape(-1, 2))[disc]
        in_angstrom = frequency / self.pixel_size
        noise = self.noise if self.contrast_noise is None else self._noise_at(frequency)
        together = -(-PIXEL_CHUNK // batch.views)

        def one(image: Array, observation: Observation, weights: list[INRWeights]) -> tuple[Array, ...]:
            target = dft_image(image).reshape(-1)[disc] / self.box_size
            points = jnp.split(slice_frequencies(observation.pose.rotation, frequency), ends)
            central = jnp.concatenate(
                [
                    jax.lax.map(lambda point, own=own: self.values(own, point[None])[0], at, batch_size=together)
                    for own, at in zip(weights, points, strict=True)
                ]
            )
            expected = observed(moved(central, observation.pose, in_angstrom), observation, in_angstrom)
            if self.contrast_noise is None:
                gain = jnp.sum((power(target) - power(expected - target)) / noise)
                return jnp.ones_like(gain), jnp.zeros_like(gain), gain
            estimate, deviation = estimate_contrast(expected, target, 1 / noise)
            return estimate, deviation, contrast_evidence(estimate, deviation, prior_of(params["contrast"]))

        weights = [self.decode(params, each) for each in told]
        contrast, deviation, evidence = over_series(one, batch, weights)
        latent = of_images(latent, batch.views)
        return Posterior(latent, jnp.full_like(latent, jnp.nan), contrast, deviation, evidence)

    def decode(self, params: Any, latent: Float[Array, "batch latent"]) -> INRWeights:
        """Return the INR weights of every latent, and the volume that it adds to."""
        count = sum(self.config.layer_tokens()) * self.config.dim

        def one(flat: Array) -> INRWeights:
            tokens = flat[:count].reshape(-1, self.config.dim)
            weights: Any = HyperNetwork(self.config).apply({"params": params["hypernetwork"]}, tokens)
            if self.start is None:
                return weights
            return dataclasses.replace(
                weights, place=flat[count:] / self._place_scale(), gain=jnp.asarray(params["gain"])
            )

        return jax.vmap(one)(latent)

    def values(self, representation: INRWeights, frequencies: Float[Array, "points 3"]) -> Complex[Array, "points"]:
        """Return V at frequencies in cycles per training pixel, model frame; 0 beyond Nyquist.

        V(-k) = conj V(k) exactly: a complex INR is asked in one half of space only.
        """
        if self.config.output == "complex":
            value = self._from_half_space(representation, frequencies)
        else:
            value = self._from_hartley(representation, frequencies)
        radius, rings = jnp.linalg.norm(frequencies, axis=-1) * self.box_size, jnp.arange(len(self.signal))
        scale = jnp.interp(radius, rings, jnp.asarray(self._profile()))
        if self.start is not None and representation.place is not None and representation.gain is not None:
            begun = self.start.at(representation.place, frequencies * np.float32(self.box_size))
            value = value * scale * jnp.interp(radius, rings, representation.gain)
            return jnp.where(radius < self.box_size / 2, value + begun, 0.0)
        return value * jnp.where(radius < self.box_size / 2, scale, 0.0)

    def render(self, representation: INRWeights, pose: Pose, n: int, pixel_size: float) -> Complex[Array, "n half"]:
        """Return the Fourier image of one INR at one pose, without CTF; DC is 0."""
        frequencies = half_plane(n, pixel_size)
        points = slice_frequencies(pose.rotation, frequencies * np.float32(self.pixel_size)).reshape(-1, 3)
        plane = self.values(representation, points).reshape(n, n // 2 + 1) * self.box_size
        return moved(plane, pose, frequencies).at[0, 0].set(0.0)

    def volume(self, representation: INRWeights, n: int, pixel_size: float) -> Float[Array, "n n n"]:
        """Return the map of one INR, evaluated inside the Nyquist sphere of both grids; mean 0."""
        points = frequencies_3d(n) * (self.pixel_size / pixel_size)
        inside = np.flatnonzero(
            (np.linalg.norm(points, axis=-1) < 0.5) & (np.linalg.norm(frequencies_3d(n), axis=-1) < 0.5)
        )
        wanted = jnp.asarray(points.reshape(-1, 3)[inside])
        values = jax.lax.map(
            lambda point: self.values(representation, point[None])[0], wanted, batch_size=min(VOLUME_CHUNK, len(wanted))
        )
        grid = jnp.zeros(points.shape[0] * points.shape[1] * points.shape[2], values.dtype)
        grid = grid.at[inside].set(values * self.box_size).at[0].set(0.0)
        return real_volume(grid.reshape(points.shape[:3]), n)

    def loss(
        self, params: Any, batch: Batch, key: PRNGKeyArray, training: bool = True
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Return the mean square error over the half disc, and the parts of power and of signal explained.

        loss = mean_k |CTF(k) V(Rᵀk) exp(-2πi k·t) - X(k)|²,  0 < |k| < n / 2

        over all k, or estimated without bias from `coordinates` of them (`sampling`), fewer of each image where a
        particle has several (`HypeConfig.compared`), of which some are hidden from it (`series`). Where contrasts are
        estimated, CTF is times the particle's own, and the error of what may be junk is that of no molecule, as
        probable as it is junk (`contrast`); `spread` and `junk` are those of the set.
        """
        decode = jax.checkpoint(self.decode) if self.config.remat else self.decode
        blind, shown = self.config.hides(batch.views), None
        if self.series and training:
            key, hiding = jax.random.split(key)
            shown = some_shown(hiding, by_particle(batch.weight, batch.views) > 0)
        pixels, probability, count = self._compared_pixels(batch.views)
        disc, frequencies = jnp.asarray(pixels), jnp.asarray(frequencies_2d(self.box_size).reshape(-1, 2))
        some = (training or blind) and count < len(disc)
        keys, chosen, visible = jax.random.split(key, len(batch.weight)), None, None
        if some:
            chosen = jax.vmap(lambda key: draw(key, probability, count))(keys)
        if blind:
            visible = jax.vmap(lambda chosen: kept(chosen, pixels, probability, self.box_size))(chosen)
        representations = decode(params, self._encoded(params, batch, shown, visible))

        def one(image: Array, observation: Observation, weights: INRWeights, chosen: Array | None) -> tuple[Array, ...]:
            pixel = disc if chosen is None else disc[chosen]
            weight = 1 / len(disc) if chosen is None else 1 / (probability[chosen] * len(disc))
            frequency = frequencies[pixel]
            target = dft_image(image).reshape(-1)[pixel] / self.box_size
            central = self.values(weights, slice_frequencies(observation.pose.rotation, frequency))
            in_angstrom = frequency / self.pixel_size
            projection = moved(central, observation.pose, in_angstrom)
            of_target = jnp.sum(weight * power(target))
            if self.contrast_noise is None:
                return squared_error(projection, target, observation, in_angstrom, weight), of_target
            expected = observed(projection, observation, in_angstrom)
            contrast, junk, misfit = weigh(params["contrast"], expected, target, self._noise_at(frequency))
            error = jnp.sum(weight * power(contrast * expected - target))
            return (1 - junk) * error + junk * of_target, of_target, misfit

        mean_error, mean_power, *misfit = series_mean(one, batch, representations, chosen)
        metrics = {"mse": mean_error, "explained": 1 - mean_error / mean_power}
        if self.explainable:
            metrics["signal"] = (mean_power - mean_error) / self.explainable
        if not misfit:
            return mean_error, metrics
        prior = prior_of(params["contrast"])
        metrics |= {"contrast_spread": jnp.asarray(prior.spread), "junk": jnp.asarray(prior.junk)}
        return mean_error + (misfit[0] - jax.lax.stop_gradient(misfit[0])), metrics  # its gradient and not its value

    def _noise_at(self, frequency: Float[Array, "pixels 2"]) -> Float[Array, "pixels"]:
        """Return the noise power at frequencies in cycles per pixel, of one ring that of the nearest."""
        ring = jnp.round(jnp.linalg.norm(frequency, axis=-1) * self.box_size).astype(jnp.int32)
        return jnp.asarray(self.contrast_noise)[jnp.minimum(ring, self.box_size // 2)]

    def _pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels that there are to compare, ring by ring, and the radius of each, pixels."""
        disc = disc_indices(self.box_size)
        radius = np.linalg.norm(frequencies_2d(self.box_size).reshape(-1, 2)[disc], axis=-1) * self.box_size
        order = np.argsort(radius, kind="stable")
        return disc[order], radius[order]

    def _without(self, hidden: np.ndarray, count: int) -> Float[Array, "count n half"]:
        """Return by what the pixels of some images are multiplied where the encoder is not shown some of the disc.

        Parameters
        ----------
        hidden : places of these pixels among those of the disc.
        count : images.
        """
        disc = self._pixels()[0]
        part = jnp.full(len(disc), len(hidden) / len(disc), jnp.float32)
        shown = kept(jnp.asarray(hidden), disc, part, self.box_size)
        return jnp.broadcast_to(shown, (count, *shown.shape))

    def _compared_pixels(self, views: int) -> tuple[np.ndarray, Float[Array, "pixels"], int]:
        """Return these pixels, the probability of each to be drawn, and how many of an image are.

        Parameters
        ----------
        views : images of a particle.
        """
        disc, radius = self._pixels()
        most = MOST_HIDDEN if self.config.hides(views) else 1.0
        count = min(self.config.compared(views) or len(disc), int(most * len(disc)))
        signal = np.interp(radius, np.arange(len(self.signal)), np.sqrt(self.signal))
        probability = inclusion_probability(signal, count, most)
        return disc, jnp.asarray(probability, jnp.float32), count

    def _compared(self) -> np.ndarray:
        """Return the weight of every pixel of an image in the loss, (n, n // 2 + 1)."""
        weight, disc = np.zeros(self.box_size * (self.box_size // 2 + 1), np.float32), disc_indices(self.box_size)
        weight[disc] = 1 / len(disc)
        return weight.reshape(self.box_size, -1)

    def _profile(self) -> np.ndarray:
        """Return the scale of V by Fourier radius; where no signal is seen, there may be some."""
        if not self.config.profile:
            return np.ones_like(self.signal)
        return np.sqrt(np.maximum(self.signal, LEAST_SIGNAL * self.signal[1:].max()))

    def _seen(self, image: Array, observation: Observation, kept: Array | None = None) -> Float[Array, "*m"]:
        snr = self.signal / max(self.noise, 1e-30)
        return seen_image(image, observation, self.config, self.pixel_size, snr, kept) / self.seen_scale

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
        return inr_apply(representation, frequencies, jnp.asarray(self.anchors), self.config.precision)


def _tell_if_limited(config: HypeConfig, box_size: int, sample: Batch, known: KnownClasses | None) -> None:
    """Say of how many particles classes and volumes are, where these are as many as memory holds.

    A few of those that were drawn may have been left out, as images that are not finite are.
    """
    count, held = len(sample.weight) // sample.views, config.sample_size(box_size, 1, sample.views)
    if count < NEARLY * held:
        return
    if known is not None:
        LOGGER.info("starting volumes are made of %d particles, as many as memory holds images of", count)
        return
    LOGGER.info(
        "classes are searched for in %d particles, as many as memory holds images of, and starting volumes are made of "
        "them; e2hype_classify.py searches in up to %d and sorts all: with its folder as --classes only the volumes "
        "are of %d",
        count,
        most_particles(sample.views),
        count,
    )
