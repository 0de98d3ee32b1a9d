"""Vector attention over neighbours, one point, one neighbour and one channel at a time."""

import numpy as np

from tests.reference.transformer import dense, layer_norm, softmax


def point_attention(features, neighbours, offsets, params, config):
    width = config.attention_channels
    groups = config.attention_groups or width
    result = []
    rows = [layer_norm(f, params["norm"]) if config.normalise else f for f in features]
    rows = [dense(row, params["qkv"]) for row in rows]
    for i, feature in enumerate(features):
        logits, values = [], []
        for place, j in enumerate(neighbours[i]):
            hidden = np.maximum(dense(offsets[i, place], params["offset_hidden"]), 0)
            encoding = dense(hidden, params["offset"])
            relation = rows[i][:width] - rows[j][width : 2 * width] + encoding
            if config.attention_groups == 0:
                relation = dense(np.maximum(relation, 0), params["weight_hidden"])
            logits.append(dense(np.maximum(relation, 0), params["weight"]))
            values.append(rows[j][2 * width :] + encoding)
        weight = softmax(np.array(logits))
        mixed = np.zeros(width)
        for channel in range(width):
            group = channel // (width // groups)
            for place in range(len(neighbours[i])):
                mixed[channel] += weight[place, group] * values[place][channel]
        result.append(feature + dense(mixed, params["out"]))
    return np.array(result)
