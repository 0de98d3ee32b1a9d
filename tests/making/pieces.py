"""Complexes of Gaussians whose pieces come and go, or turn, with the truth known."""

import numpy as np


def complex_of_pieces(rng, gaussians, pieces, core_fraction=0.4, shares=None):
    """Return positions (N, 3) in Å and the piece (N,) of each Gaussian; 0 is the core.

    Pieces of one density and random sizes, or of `shares` of all Gaussians, the core's first.
    """
    core = int(core_fraction * gaussians)
    counts = rng.multinomial(gaussians - core, rng.dirichlet(np.full(pieces, 8.0)))
    counts = [core, *np.maximum(counts, 12)]
    if shares is not None:
        counts = [round(share * gaussians) for share in shares]
    directions = []
    while len(directions) < pieces:
        direction = unit(rng.normal(size=3))
        if all(direction @ other < np.cos(0.85) for other in directions):
            directions.append(direction)
    position, piece = [], []
    for number, count in enumerate(counts):
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


def imperfect_amplitudes(
    rng, position, piece, particles, leak=0.3, noise=0.1, error=0.15, correlated=0.3, core=0.08, scale=0.05, small=1.0
):
    """Return relative amplitudes (particles, N) as an imperfectly trained decoder gives them.

    States are guessed through a sigmoid with an `error` that grows as pieces shrink and that is
    `correlated` between pieces; pieces below 6% of the Gaussians change by a fraction `small`;
    presence leaks over 10 Å; the whole, and the core most visibly, fluctuates in smooth modes that
    the states drive too; every Gaussian has a gain, every particle a scale, both a noise.
    """
    pieces = piece.max()
    share = np.array([(piece == one).mean() for one in range(1, pieces + 1)])
    states = (rng.random((particles, pieces)) < 0.5).astype(float)
    common = rng.normal(size=(particles, 1)) * rng.choice([-1, 1], pieces)
    fault = np.sqrt(correlated) * common
    fault = fault + np.sqrt(1 - correlated) * rng.normal(size=states.shape)
    fault = fault * np.clip(error * np.sqrt(np.median(share) / share), 0, 0.6)
    presence = 1 / (1 + np.exp(-5 * (states + fault - 0.5)))
    presence = 1 - np.where(share < 0.06, small, 1.0) * (1 - presence)
    amplitude = np.concatenate([np.ones((particles, 1)), presence], axis=1)[:, piece]
    amplitude = (1 - leak) * amplitude + leak * amplitude @ smoothing(position, 10.0).T
    modes = rng.normal(size=(4, len(piece))) @ smoothing(position, 25.0).T
    modes /= modes.std(axis=1, keepdims=True)
    drive = rng.normal(size=(particles, 4)) + (states - 0.5) @ rng.normal(size=(pieces, 4))
    amplitude = amplitude + core / 3 * drive @ modes
    amplitude = amplitude * np.clip(rng.normal(1, 0.2, len(piece)), 0.4, 1.6)
    amplitude = amplitude * (1 + scale * rng.normal(size=(particles, 1)))
    return (amplitude + noise * rng.normal(size=amplitude.shape)).astype(np.float32)


def imperfect_motions(
    rng,
    position,
    piece,
    particles,
    leak=0.3,
    noise=0.3,
    error=0.15,
    correlated=0.3,
    crosstalk=0.1,
    drift=0.2,
    extent=1.0,
):
    """Return displacements (particles, N, 3) in Å as an imperfectly trained decoder gives them.

    Pieces tilt about hinges, by about 2.2 Å times `extent` of each, so that motion fades to zero
    there; angles have an `error`, `correlated` between pieces; motion leaks over 10 Å; each angle
    drives everything else a little (`crosstalk`) through a smooth field; smooth fields of `drift` Å
    follow no angle.
    """
    angle = rng.uniform(-1, 1, (particles, piece.max())) * np.asarray(extent)
    common = rng.normal(size=(particles, 1)) * rng.choice([-1, 1], piece.max())
    fault = np.sqrt(correlated) * common
    fault = fault + np.sqrt(1 - correlated) * rng.normal(size=angle.shape)
    angle = angle + error * fault
    moved = tilted(rng, position, piece, 0.25 * angle)
    size = 2.2 / np.sqrt((moved**2).sum(-1).mean())
    moved = (1 - leak) * moved + leak * np.einsum("ij,pjk->pik", smoothing(position, 10.0), moved)
    moved *= size
    far = smoothing(position, 25.0)
    fields = np.einsum("ij,fjk->fik", far, rng.normal(size=(angle.shape[1] + 3, *position.shape)))
    fields /= np.sqrt((fields**2).sum(-1).mean(-1))[:, None, None]
    drive = [2.2 * crosstalk * angle, drift * rng.normal(size=(particles, 3))]
    moved += np.einsum("pf,fik->pik", np.concatenate(drive, axis=1), fields)
    return (moved + noise * rng.normal(size=moved.shape)).astype(np.float32)


def tilted(rng, position, piece, angle):
    """Return displacements (particles, N, 3) of pieces turned by `angle` (particles, pieces).

    Each turns about a hinge at the core and its own random axis, square to the piece.
    """
    moved = np.zeros((len(angle), len(piece), 3))
    for number in range(1, piece.max() + 1):
        inside = piece == number
        centre = position[inside].mean(0)
        hinge = centre * (30 / np.linalg.norm(centre))
        axis = unit(np.cross(centre, rng.normal(size=3)))
        arm = position[inside] - hinge
        turn = angle[:, number - 1, None, None]
        along = (arm @ axis)[:, None] * axis
        turned = np.cos(turn) * (arm - along) + np.sin(turn) * np.cross(axis, arm) + along
        moved[:, inside] = turned - arm
    return moved


def displacements(rng, position, piece, particles, noise, leak, largest=0.35):
    """Return displacements (particles, N, 3) in Å of pieces that turn about hinges at the core.

    Each piece turns about its own random axis by an independent uniform angle up to `largest`
    radians; leak and noise (Å) as for amplitudes.
    """
    angle = rng.uniform(-largest, largest, (particles, piece.max()))
    moved = tilted(rng, position, piece, angle)
    weight = smoothing(position)
    moved = (1 - leak) * moved + leak * np.einsum("ij,pjk->pik", weight, moved)
    return (moved + noise * rng.normal(size=moved.shape)).astype(np.float32)
