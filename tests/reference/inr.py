"""Weights of an INR from tokens, column by column, and the INR at one frequency."""

import math

import numpy as np

from tests.reference.transformer import dense, layer_norm


def kernels(tokens, params, config):
    """CryoHype, eq. 2: column j of a layer is base ⊙ head(token j mod T), at unit length."""
    found, start = [], 0
    for number, (fan_in, fan_out) in enumerate(config.layer_sizes()):
        count = min(config.weight_tokens, fan_out)
        own, start = tokens[start : start + count], start + count
        kernel = np.zeros((fan_out, fan_in))
        for column in range(fan_out):
            normed = layer_norm(own[column % count], params[f"norm_{number}"])
            head = dense(normed, params[f"head_{number}"])
            if config.modulation == "residual":
                head = 1 + head
            product = params[f"base_{number}"][column] * head
            kernel[column] = product / math.sqrt(sum(product**2))
        found.append(kernel)
    return found


def value(frequency, kernels, biases, anchors):
    """The INR's outputs at one (kx, ky, kz), cycles per pixel."""
    turns = [2 * math.pi * float(np.dot(frequency, anchor)) for anchor in anchors]
    hidden = np.array([math.sin(t) for t in turns] + [math.cos(t) for t in turns])
    for number, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        result = kernel @ hidden + bias
        if number == len(kernels) - 1:
            return result
        if number > 0:
            result = result + hidden
        hidden = np.maximum(result, 0)
    raise ValueError("an INR has at least one layer")
