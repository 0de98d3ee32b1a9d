"""How probable each component of a mixture is for a particle, by all other particles.

A mixture is fitted to the very particles that are judged by it: each has drawn the mean of its component, and the
scale, towards itself, by the more the fewer share it, and in many directions is nearer to that mean than to any other
for this alone. So the particle is taken out again, and what is left is not certain. Of a component with n particles,
of which this one is the share r, the mean without it is n / (n - r)
times as far away and has the variance 1 / (n - r) of the component's, so that the squared distance u is

    u' = u · n² / ((n - r) (n - r + 1))

in the variance to be expected, wider by (n - r + 1) / (n - r). The scale is known from ν = (n - r + n_0) d numbers, d
of each particle and n_0 that draw it towards 1, this one's share of squares taken out as well; that makes Student's t
of ν degrees of freedom of the Gaussian. The shape that all share is that about means which took one number of each
component: it is wider by N / (N - components).

Whose the particles are is not certain either, so that n is not their number Σ r but what they tell of the mean, in
units of this one's variance where errors differ: Σ r - Σ r (1 - r) u / d, Louis's information.

Particles that took no part in the fit, r = 0, meet the same uncertainty.

References
----------
Gelman et al., Bayesian Data Analysis (3rd ed., 2013), 3.2, for the predictive density; Gelfand, Dey & Chang, Bayesian
Statistics 4 (1992) 147, for leaving one out. Louis, J. R. Stat. Soc. B 44 (1982) 226, for the information.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from libhetero.analysis.mixture import PRIOR_PARTICLES, TINY, Mixture, Seen, normalised

LEAST_LEFT = 0.5  # of a component, when a particle is taken out: the prior of its mean is worth about as much
LEAST_SCALE = 0.1  # of what it was, when a particle is taken out


@dataclass(frozen=True, eq=False)
class Predictive:
    """A mixture with what is not certain of it.

    Parameters
    ----------
    mixture : its shape widened.
    size : weight of the particles in each component.
    known : size of each component as its mean is known, in units of the variance of a particle of each group.
    error : variance of the error, of each group.
    """

    mixture: Mixture
    size: Float[np.ndarray, "components"]
    known: Float[np.ndarray, "groups components"]
    error: Float[np.ndarray, "groups columns"]

    @classmethod
    def of(cls, seen: Seen, mixture: Mixture) -> Predictive:
        """Return what particles say of the mixture that was fitted to them.

        Parameters
        ----------
        seen : particles.
        mixture : of them.
        """
        total, components = float(seen.weight.sum()), len(mixture.weight)
        mixture = replace(mixture, shape=mixture.shape * total / max(total - components, 0.5 * total))
        size = mixture.weight * total
        share = np.add.reduceat(np.append(seen.weight, 0.0), seen.start[:-1]) * (np.diff(seen.start) > 0) / total
        variance = mixture.scale[:, None] * mixture.shape + seen.error[:, None, :]
        precision = np.tensordot(share, 1 / variance, axes=1)
        told = np.maximum(size - _not_told(seen, mixture), LEAST_LEFT)
        return cls(mixture, size, told * (variance * precision).mean(axis=2), seen.error)

    def probability(
        self, points: Float[np.ndarray, "particles columns"], group: int, weight: Float[np.ndarray, "particles"]
    ) -> Float[np.ndarray, "particles components"]:
        """Return the probability of each component for particles of one group.

        Parameters
        ----------
        points : coordinates.
        group : of their error.
        weight : with which each took part in the fit, 0 where it did not.
        """
        mixture, columns = self.mixture, points.shape[1]
        joint = mixture.log_joint(points, self.error[group])
        square, height = _squares(mixture, joint, self.error[group])
        share, _ = normalised(joint)
        share *= weight[:, None].astype(np.float32)
        size, known = self.size.astype(np.float32), np.maximum(self.known[group], LEAST_LEFT).astype(np.float32)
        rest = np.maximum(known - share, LEAST_LEFT)
        wider = (rest + 1) / rest
        square *= (known / rest) ** 2 / wider
        freedom = (np.maximum(size - share, 0) + PRIOR_PARTICLES) * columns
        scale = np.maximum(1 + share * (columns - square) / freedom, LEAST_SCALE)
        predictive = np.log(np.maximum(size - share, 1e-6)) + height
        predictive -= 0.5 * columns * np.log(wider * scale)
        predictive -= 0.5 * (freedom + columns) * np.log1p(square / (freedom * scale))
        predictive += columns * (columns - 2) / (4 * freedom)  # of the gamma functions, to first order
        return normalised(predictive)[0]


def _squares(
    mixture: Mixture, joint: Float[np.ndarray, "particles components"], error: Float[np.ndarray, "columns"]
) -> tuple[Float[np.ndarray, "particles components"], Float[np.ndarray, "components"]]:
    """Return u of particles by log w N(x; m, s V + D), and the logarithm of the Gaussians' heights."""
    variance = mixture.scale[:, None] * mixture.shape + error
    height = (-0.5 * np.log(2 * np.pi * variance).sum(axis=1)).astype(np.float32)
    weighed = height + np.log(np.maximum(mixture.weight, TINY)).astype(np.float32)
    return np.maximum(-2 * (joint - weighed), 0), height


def _not_told(seen: Seen, mixture: Mixture) -> Float[np.ndarray, "components"]:
    """Return what is missing of each component's particles, since it is not certain whose they are."""
    missing = np.zeros(len(mixture.weight))
    for group, rows in seen.blocks(len(missing)):
        joint = mixture.log_joint(seen.points[rows], seen.error[group])
        square, _ = _squares(mixture, joint, seen.error[group])
        share, _ = normalised(joint)
        missing += seen.weight[rows] @ (share * (1 - share) * square) / len(mixture.shape)
    return missing
