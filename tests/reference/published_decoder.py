"""The published decoder from its equations: one particle, one point, one neighbour at a time.

Neighbours and interpolation are found here too, by sorting distances; float64 throughout.
"""

import numpy as np

from tests.reference.transformer import dense, softmax


def nearest(point, cloud, count):
    distance = np.linalg.norm(cloud - point, axis=1)
    return np.argsort(distance, kind="stable")[:count], np.sort(distance)[:count]


def interpolate(features, cloud, targets, box_width, count):
    result = []
    for target in targets:
        found, distance = nearest(target, cloud, count)
        weight = np.exp(-50 * (distance / box_width) ** 2)
        weight = weight / weight.sum()
        result.append(sum(w * features[j] for w, j in zip(weight, found, strict=True)))
    return np.array(result)


def attention(features, cloud, params, box_width, count):
    result = []
    for i, row in enumerate(features):
        logits, values = [], []
        for j in nearest(cloud[i], cloud, count)[0]:
            offset = (cloud[i] - cloud[j]) / box_width
            encoding = dense(np.maximum(dense(offset, params["offset_hidden"]), 0), params["offset"])
            key = dense(features[j], params["key"])
            relation = np.maximum(dense(row, params["query"]) - key + encoding, 0)
            hidden = np.maximum(dense(relation, params["weight_hidden"]), 0)
            logits.append(dense(hidden, params["weight"]))
            values.append(dense(key, params["value"]) + encoding)
        result.append((softmax(np.array(logits)) * np.array(values)).sum(axis=0))
    return np.array(result)


def decode(latent, clouds, gaussians, params, box_width, neighbours, interpolation):
    """Return (N, outputs); `clouds` are the points of the levels, coarse to fine."""
    hidden = np.maximum(dense(latent, params["latent_hidden"]), 0)
    features = dense(hidden, params["points"]).reshape(len(clouds[0]), -1)
    joined = []
    for number, cloud in enumerate(clouds):
        own = params[f"level_{number}"]
        attended = attention(features, cloud, own, box_width, neighbours)
        both = np.concatenate([features, attended], axis=1)
        features = features + np.array([dense(dense(row, own["mix"]), own["out"]) for row in both])
        joined.append(interpolate(features, cloud, gaussians, box_width, interpolation))
        if number + 1 < len(clouds):
            features = interpolate(features, cloud, clouds[number + 1], box_width, interpolation)
    return 0.5 * np.concatenate(joined, axis=1) @ params["change"]["kernel"]
