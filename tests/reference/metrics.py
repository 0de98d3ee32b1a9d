"""Real-space metrics by brute force."""

import itertools

import numpy as np


def chamfer(first, second, pixel_size):
    a = np.argwhere(first) * pixel_size
    b = np.argwhere(second) * pixel_size
    to_b = [min(np.linalg.norm(p - q) for q in b) for p in a]
    to_a = [min(np.linalg.norm(p - q) for q in a) for p in b]
    return (np.mean(to_b) + np.mean(to_a)) / 2


def iou(first, second):
    both = sum(1 for a, b in zip(first.ravel(), second.ravel(), strict=True) if a and b)
    either = sum(1 for a, b in zip(first.ravel(), second.ravel(), strict=True) if a or b)
    return both / either


def matched_accuracy(truth, found):
    """Try every assignment of found labels to true labels."""
    names = sorted(set(truth) | set(found))
    found_names = sorted(set(found))
    best = 0
    for choice in itertools.permutations(names, len(found_names)):
        renamed = dict(zip(found_names, choice, strict=True))
        best = max(best, sum(renamed[f] == t for t, f in zip(truth, found, strict=True)))
    return best / len(truth)


def rand_index_adjusted(first, second):
    """From its definition over all pairs."""
    pairs = list(itertools.combinations(range(len(first)), 2))
    same_first = [first[i] == first[j] for i, j in pairs]
    same_second = [second[i] == second[j] for i, j in pairs]
    both = sum(a and b for a, b in zip(same_first, same_second, strict=True))
    expected = sum(same_first) * sum(same_second) / len(pairs)
    largest = (sum(same_first) + sum(same_second)) / 2
    return (both - expected) / (largest - expected)
