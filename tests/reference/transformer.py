"""The image encoder, one patch, one token and one head at a time."""

import math

import numpy as np


def patches(image, size):
    count = image.shape[0] // size
    found = []
    for row in range(count):
        for column in range(count):
            cut = image[row * size : (row + 1) * size, column * size : (column + 1) * size]
            found.append([cut[i, j] for i in range(size) for j in range(size)])
    return np.array(found)


def grid_patches(grid, size):
    """The same of a cube, slab by slab."""
    count = grid.shape[0] // size
    found = []
    for k in range(count):
        for j in range(count):
            for i in range(count):
                at = [slice(size * one, size * (one + 1)) for one in (k, j, i)]
                cut = grid[tuple(at)]
                found.append([value for plane in cut for row in plane for value in row])
    return np.array(found)


def layer_norm(row, params):
    centred = row - row.mean()
    scaled = centred / math.sqrt((centred**2).mean() + 1e-6)
    return scaled * params["scale"] + params["bias"]


def dense(row, params):
    return row @ params["kernel"] + params.get("bias", 0.0)


def softmax(values):
    exponent = np.exp(values - np.max(values, axis=0))
    return exponent / exponent.sum(axis=0)


def gelu(value):
    return 0.5 * value * (1 + math.erf(value / math.sqrt(2)))


def attention(tokens, params, heads, width):
    """qkv columns are ordered q, k, v; within each, head by head."""
    rows = [dense(token, params) for token in tokens]
    inner = heads * width
    mixed = np.zeros((len(tokens), inner))
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        query = [row[:inner][part] for row in rows]
        key = [row[inner : 2 * inner][part] for row in rows]
        value = [row[2 * inner :][part] for row in rows]
        for i in range(len(tokens)):
            weight = softmax(np.array([query[i] @ k / math.sqrt(width) for k in key]))
            mixed[i, part] = sum(w * v for w, v in zip(weight, value, strict=True))
    return mixed


def block(tokens, params, heads, width):
    normed = np.array([layer_norm(token, params["attention_norm"]) for token in tokens])
    mixed = attention(normed, params["qkv"], heads, width)
    tokens = np.array([t + dense(m, params["out"]) for t, m in zip(tokens, mixed, strict=True)])
    result = []
    for token in tokens:
        hidden = dense(layer_norm(token, params["feed_norm"]), params["expand"])
        hidden = np.array([gelu(value) for value in hidden])
        result.append(token + dense(hidden, params["contract"]))
    return np.array(result)


def encode(image, view, params, config):
    """The weight tokens after the last block; parameters of block d stand at index d."""
    cut = patches if image.ndim == 2 else grid_patches
    tokens = [dense(patch, params["patch"]) for patch in cut(image, config.patch)]
    if config.positions:
        tokens = [t + p for t, p in zip(tokens, params["positions"], strict=True)]
    if config.view:
        tokens.append(dense(view, params["view"]))
    count = len(tokens)
    tokens = np.array([*tokens, *params["weight_tokens"]])
    for depth in range(config.depth):
        own = {name: {key: array[depth] for key, array in layer.items()} for name, layer in params["blocks"].items()}
        tokens = block(tokens, own, config.heads, config.head_dim)
    return tokens[count:]
