"""The image encoder: patches and weight tokens through pre-norm transformer blocks.

A particle of several images, as the tilts of a series are, has the tokens of all of them. Those of an image have what
is known of it added, by a linear layer (`series`): how thick the ice was that it was seen through, and how much
of the molecule the exposure had left. Images that there are not, or that are hidden, are attended to by no token.
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.series import Tilts
from libhetero.models.precision import dot_general

QUERIES = 256  # of a particle of several images, that attend at once


def patches(image: Float[Array, "*n"], size: int) -> Float[Array, "tokens values"]:
    """Cut an image or a grid into patches of `size` along each side, row by row."""
    axes, count = image.ndim, image.shape[0] // size
    cut = image.reshape((count, size) * axes).transpose(*range(0, 2 * axes, 2), *range(1, 2 * axes, 2))
    return cut.reshape(count**axes, size**axes)


def _attention(
    query: Float[Array, "queries heads dim"],
    key: Float[Array, "tokens heads dim"],
    value: Float[Array, "tokens heads dim"],
    attended: Bool[Array, "tokens"] | None = None,
) -> Float[Array, "queries heads dim"]:
    """Return the values that each query attends to, by the likeness of their keys; all tokens unless told which."""
    logits = jnp.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5
    if attended is not None:
        logits = jnp.where(attended, logits, -jnp.inf)
    return jnp.einsum("hqk,khd->qhd", jax.nn.softmax(logits, axis=-1), value)


def _in_blocks(
    query: Float[Array, "tokens heads dim"],
    key: Float[Array, "tokens heads dim"],
    value: Float[Array, "tokens heads dim"],
    attended: Bool[Array, "tokens"],
) -> Float[Array, "tokens heads dim"]:
    """Return the same for many tokens, some queries at a time, whose logits are computed anew for the gradient.

    Memory then grows with the number of tokens, and not with its square.
    """
    count = -(-len(query) // QUERIES)
    if count == 1:
        return _attention(query, key, value, attended)
    size = -(-len(query) // count)
    parts = jnp.pad(query, ((0, count * size - len(query)), (0, 0), (0, 0))).reshape(count, size, *query.shape[1:])
    some = jax.checkpoint(partial(_attention, key=key, value=value, attended=attended), prevent_cse=False)
    return jax.lax.map(some, parts).reshape(-1, *query.shape[1:])[: len(query)]


class Block(nn.Module):
    """x + attention(norm x), then x + feed_forward(norm x)."""

    config: HypeConfig

    @nn.compact
    def __call__(
        self, tokens: Float[Array, "tokens dim"], attended: Bool[Array, "tokens"] | None
    ) -> tuple[Array, None]:
        """Return the tokens after one block (and nothing: the form that `nn.scan` wants).

        Parameters
        ----------
        tokens : of one particle.
        attended : which of them are attended to; None for all.
        """
        config, product = self.config, dot_general(self.config.precision)
        inner = config.heads * config.head_dim
        qkv = nn.Dense(3 * inner, use_bias=False, dot_general=product, name="qkv")(
            nn.LayerNorm(name="attention_norm")(tokens)
        )
        query, key, value = jnp.moveaxis(qkv.reshape(-1, 3, config.heads, config.head_dim), 1, 0)
        mixed = _attention(query, key, value) if attended is None else _in_blocks(query, key, value, attended)
        tokens = tokens + nn.Dense(config.dim, dot_general=product, name="out")(mixed.reshape(-1, inner))
        hidden = nn.Dense(config.feed_forward, dot_general=product, name="expand")(
            nn.LayerNorm(name="feed_norm")(tokens)
        )
        hidden = nn.gelu(hidden, approximate=False)
        return tokens + nn.Dense(config.dim, dot_general=product, name="contract")(hidden), None


class TransformerEncoder(nn.Module):
    """image (n, n) or grid (n, n, n) → output weight tokens (tokens, dim), for one particle.

    What is told of it besides, its direction of view and its place among the classes, are a token each. Of a particle
    of several images all of these but the place have one more axis, in front.
    """

    config: HypeConfig

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "*n"],
        view: Float[Array, "*monomials"],
        told: Float[Array, "told"] | None = None,
        tilts: Tilts | None = None,
    ) -> Float[Array, "tokens dim"]:
        """Return the weight tokens after the last block.

        Parameters
        ----------
        image, view : of the particle, or of each of its images.
        told : its place among the classes; None where there are none.
        tilts : what else is known of its images; None for a particle of one.
        """
        config, attended = self.config, None
        cut_up = partial(patches, size=config.patch)
        cut = cut_up(image) if tilts is None else jax.vmap(cut_up)(image)
        embedded = nn.Dense(config.dim, dot_general=dot_general(config.precision), name="patch")(cut)
        if config.positions:
            shape = (cut.shape[-2], config.dim)
            embedded = embedded + self.param("positions", nn.initializers.normal(0.5), shape)
        if config.view:
            seen_from = nn.Dense(config.dim, name="view")(view)
            embedded = jnp.concatenate([embedded, seen_from[..., None, :]], axis=-2)
        if tilts is not None:
            embedded = embedded + nn.Dense(config.dim, name="tilt")(tilts.features)[:, None]
            attended = jnp.repeat(tilts.shown, embedded.shape[1])
            embedded = embedded.reshape(-1, config.dim)
        if told is not None:
            embedded = jnp.concatenate([embedded, nn.Dense(config.dim, name="told")(told)[None]])
        shape = (sum(config.layer_tokens()), config.dim)
        weight_tokens = self.param("weight_tokens", nn.initializers.normal(1.0), shape)
        tokens = jnp.concatenate([embedded, weight_tokens])
        block = nn.remat(Block, prevent_cse=False) if config.remat or tilts is not None else Block  # many tokens
        if attended is not None:
            attended = jnp.concatenate([attended, jnp.ones(len(tokens) - len(attended), bool)])
        blocks = nn.scan(
            block, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=nn.broadcast, length=config.depth
        )
        tokens, _ = blocks(config, name="blocks")(tokens, attended)
        return tokens[len(embedded) :]
