"""Stand-in for classes with uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from libhetero.analysis.classes import choose_classes, kmeans_classes


@dataclass(frozen=True, eq=False)
class Classes:
    label: np.ndarray
    probability: np.ndarray | None
    count: int


def classes_of(points, deviation=None, classes=None, most=8, seed=0):
    count = classes
    if count is None:
        count, _ = choose_classes(points, most, seed)
    label = kmeans_classes(points, count, seed)
    if classes is None and not _apart(points, label):
        label = np.zeros(len(points), int)
    return Classes(label, np.ones(len(points)), int(label.max()) + 1)


def _apart(points, label):
    for low in range(label.max()):
        both = points[(label == low) | (label == low + 1)]
        ends = [points[label == one].mean(axis=0) for one in (low, low + 1)]
        axis = ends[1] - ends[0]
        place = (both - ends[0]) @ axis / (axis @ axis)
        count = [np.sum(np.abs(place - centre) < 0.15) for centre in (0.0, 0.5, 1.0)]
        if count[1] > 0.6 * min(count[0], count[2]):
            return False
    return True
