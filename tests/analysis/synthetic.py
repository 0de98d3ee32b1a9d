"""Complexes of Gaussians whose pieces come and go, or turn, with the truth known."""

import numpy as np


def complex_of_pieces(rng, gaussians, pieces, core_fraction=0.4):
    """Return positions (N, 3) in Å and the piece (N,) of each Gaussian; 0 is the core."""
    core = int(core_fraction * gaussians)
    counts = rng.multinomial(gaussians - core, rng.dirichlet(np.full(pieces, 8.0)))
    counts = np.maximum(counts, 12)
    directions = []
    while len(directions) < pieces:
        direction = unit(rng.normal(size=3))
        if all(direction @ other < np.cos(0.85) for other in directions):
            directions.append(direction)
    position, piece = [], []
    for number, count in enumerate([core, *counts]):
        radius, centre = (35, np.zeros(3)) if number == 0 else (18, 48 * directions[number - 1])
        distance = radius * rng.random(count) ** (1 / 3)
        position.append(centre + distance[:, None] * unit(rng.normal(size=(count, 3))))
        piece.append(np.full(count, number))
    return np.concatenate(position), np.concatenate(piece)


def unit(vectors):
    """Scale vectors to length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def smoothing(position, width=12.0):
    """Return (N, N) weights of neighbours, rows summing to 1: how a decoder blurs over space."""
    square = ((position[:, None] - position[None]) ** 2).sum(-1)
    weight = np.exp(-square / (2 * width**2))
    return weight / weight.sum(1, keepdims=True)


def amplitude_changes(rng, position, piece, particles, noise, leak, presence=0.5):
    """Return decoded relative amplitude minus 1 (particles, N) and the states (particles, pieces).

    State on or off with an error of 0.1, mixed with that of the neighbourhood by `leak`, times a
    gain for each Gaussian, plus independent noise.
    """
    states = rng.random((particles, piece.max())) < presence
    decoded = np.clip(states + 0.1 * rng.normal(size=states.shape), -0.2, 1.2)
    present = np.concatenate([np.ones((particles, 1)), decoded], axis=1)[:, piece]
    present = (1 - leak) * present + leak * present @ smoothing(position).T
    gain = np.clip(rng.normal(1, 0.2, len(piece)), 0.4, 1.6)
    change = gain * (present - 1)
    return (change + noise * rng.normal(size=change.shape)).astype(np.float32), states


def displacements(rng, position, piece, particles, noise, leak, largest=0.35):
    """Return displacements (particles, N, 3) in Å of pieces that turn about hinges at the core.

    Each piece turns about its own random axis by an independent uniform angle up to `largest`
    radians; leak and noise (Å) as for amplitudes.
    """
    moved = np.zeros((particles, len(piece), 3))
    for number in range(1, piece.max() + 1):
        inside = piece == number
        centre = position[inside].mean(0)
        hinge = centre * (30 / np.linalg.norm(centre))
        axis = unit(np.cross(centre, rng.normal(size=3)))
        arm = position[inside] - hinge
        angle = rng.uniform(-largest, largest, (particles, 1, 1))
        along = (arm @ axis)[:, None] * axis
        turned = np.cos(angle) * (arm - along) + np.sin(angle) * np.cross(axis, arm) + along
        moved[:, inside] = turned - arm
    weight = smoothing(position)
    moved = (1 - leak) * moved + leak * np.einsum("ij,pjk->pik", weight, moved)
    return (moved + noise * rng.normal(size=moved.shape)).astype(np.float32)
