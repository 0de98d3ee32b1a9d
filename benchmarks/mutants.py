"""Small wrong changes, a line each, that the tests must find: read by `mutations.py`.

Each is the kind of fault that leaves a program running: a sign, an axis, a factor, a comparison, an index off by one,
a check or a lock left out. The old text must be in its file exactly once; code that has moved is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One wrong change.

    Parameters
    ----------
    name : part and what is wrong, unique.
    file : of the package, from the folder `libhetero`.
    old, new : text before and after; `old` is in the file exactly once.
    tests : files that should find it, from the folder `tests`.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def _of(part: str, file: str, tests: str, *changes: tuple[str, str, str]) -> list[Mutant]:
    """Return the wrong changes (what, old, new) of one file, looked for by the same tests."""
    return [Mutant(f"{part}: {what}", file, old, new, tuple(tests.split())) for what, old, new in changes]


PHYSICS = [
    *_of(
        "ctf",
        "physics/ctf.py",
        "physics/test_ctf.py",
        (
            "spherical aberration of the other sign",
            "(2 * x * y) - aberration * s2**2",
            "(2 * x * y) + aberration * s2**2",
        ),
        ("astigmatism turned the other way", "across * (2 * x * y)", "across * (-2 * x * y)"),
        ("envelope twice as steep", "-0.25 * params.b_factor", "-0.5 * params.b_factor"),
        ("phase shift subtracted", ") + params.phase_shift", ") - params.phase_shift"),
    ),
    *_of(
        "observation",
        "physics/observation.py",
        "physics/test_observation.py",
        (
            "shifted the other way",
            "phase_ramp(frequencies, pose.shift) * central",
            "phase_ramp(frequencies, -pose.shift) * central",
        ),
        (
            "shifted back twice",
            "phase_ramp(frequencies, -pose.shift) * image",
            "phase_ramp(frequencies, pose.shift) * image",
        ),
        ("signs of a negative scale", "odd != (params.scale < 0)", "odd"),
        (
            "image added, not subtracted",
            "observed(projection, observation, frequencies) - image",
            "observed(projection, observation, frequencies) + image",
        ),
    ),
    *_of(
        "fourier",
        "physics/fourier.py",
        "physics/test_fourier.py",
        ("shift of the other sign", "angle = -2 * jnp.pi * turns", "angle = 2 * jnp.pi * turns"),
        ("Nyquist column counted twice", "weight[-1] = 1.0", "weight[-1] = 2.0"),
        ("rings begin half a pixel later", "np.floor(radius + 0.5)", "np.floor(radius)"),
        ("crop keeps the sum, not the mean", "return kept * (m / n) ** 2", "return kept * (m / n)"),
        ("x and y swapped in frequencies", "np.stack([kx, ky], axis=-1)", "np.stack([ky, kx], axis=-1)"),
    ),
    *_of(
        "gaussians",
        "physics/gaussians.py",
        "physics/test_gaussians.py",
        ("x and y of a projection swapped", "for axis in (1, 0))", "for axis in (0, 1))"),
        ("Gaussians too narrow by a root of two", "-2 * jnp.pi**2 * frequency**2", "-1 * jnp.pi**2 * frequency**2"),
        ("shift left out of the placed points", "[:, :2] + pose.shift", "[:, :2]"),
    ),
    *_of(
        "rotations",
        "physics/rotations.py",
        "physics/test_rotations.py physics/test_gaussians.py",
        ("the inverse rotation of points", "points, rotation.T,", "points, rotation,"),
        ("a sign of the Euler matrix", "[sb * ca, sb * sa, cb]", "[sb * ca, -sb * sa, cb]"),
        ("axis and angle the other way", "jnp.sin(angle) * cross + (1", "jnp.sin(-angle) * cross + (1"),
    ),
    *_of(
        "slices",
        "physics/slices.py",
        "physics/test_slices.py",
        ("the inverse rotation of a slice", "frequencies, rotation[:2],", "frequencies, rotation.T[:2],"),
        ("nearest grid point for the lower one", "low = jnp.floor(point)", "low = jnp.round(point)"),
        (
            "conjugate of the turned half forgotten",
            "values = jnp.where(turned, jnp.conj(values), values)\n    kept",
            "kept",
        ),
    ),
    *_of(
        "point groups",
        "point_groups.py",
        "physics/test_symmetry.py",
        ("i3 for i4", '"i3": ((Z, 5), ((-SHORT', '"i3": ((Z, 5), ((SHORT'),
        ("icos is i3", '"icos": "i4"', '"icos": "i3"'),
    ),
    *_of(
        "symmetry",
        "physics/symmetry.py",
        "physics/test_symmetry.py",
        (
            "amplitudes of other Gaussians",
            "jnp.tile(gaussians.amplitude, count)",
            "jnp.repeat(gaussians.amplitude, count)",
        ),
        ("another asymmetric unit", "reach[:, 0] >= reach.max(axis=1)", "reach[:, 0] <= reach.min(axis=1)"),
    ),
    *_of(
        "correlation",
        "physics/correlation.py",
        "physics/test_correlation.py metrics/test_fsc.py",
        ("shells shifted by one", "np.floor(radius).astype(np.int32) + 1", "np.floor(radius).astype(np.int32)"),
        ("conjugate forgotten", "jnp.real(first * jnp.conj(second))", "jnp.real(first * second)"),
    ),
    *_of(
        "masks",
        "physics/masks.py",
        "physics/test_masks.py",
        ("edge rises instead of falling", "0.5 * (1 + jnp.cos", "0.5 * (1 - jnp.cos"),
        (
            "disc about the corner of the middle pixel",
            "axis = np.arange(n) - n // 2",
            "axis = np.arange(n) - n / 2 + 0.5",
        ),
    ),
    *_of(
        "filters",
        "physics/filters.py",
        "physics/test_filters.py",
        ("cut at half the resolution", "cutoff = 1 / resolution", "cutoff = 0.5 / resolution"),
    ),
    *_of(
        "quadrants",
        "physics/quadrants.py",
        "physics/test_quadrants.py",
        ("a sign", "-jnp.imag(upper)]", "jnp.imag(upper)]"),
    ),
]

FORMATS = [
    *_of(
        "cryoSPARC",
        "io/cs.py",
        "io/test_cs.py io/test_contract.py",
        ("rotation not inverted", "from_rotvec(vector).inv()", "from_rotvec(vector)"),
        ("shift of the other sign", 'rotation, -rows["alignments3D/shift"]', 'rotation, rows["alignments3D/shift"]'),
        ("pickles allowed", "np.load(path, allow_pickle=False)", "np.load(path, allow_pickle=True)"),
        ("half-set left out of what is written", 'rows["alignments3D/split"] = particles.half_set', "pass"),
    ),
    *_of(
        "star reader",
        "io/star.py",
        "io/test_star.py io/test_contract.py",
        ("image numbers from 0", "np.int64) - 1\n", "np.int64)\n"),
        ("shift of the other sign", "return -np.stack([x, y], axis=1)", "return np.stack([x, y], axis=1)"),
        ("pixel size of an old file off by 10", "return 1e4 * detector", "return 1e5 * detector"),
        ("half-sets not counted from 0", "else half.astype(int) - 1", "else half.astype(int)"),
    ),
    *_of(
        "star writer",
        "io/star_writer.py",
        "io/test_star.py io/test_contract.py",
        ("image numbers from 0", 'f"{index + 1:06d}@', 'f"{index:06d}@'),
        (
            "half-set not counted from 1",
            "subset = np.asarray(particles.half_set) + 1",
            "subset = np.asarray(particles.half_set)",
        ),
    ),
    *_of(
        "columns of the CTF",
        "io/ctf_columns.py",
        "io/test_star.py io/test_cryodrgn.py io/test_contract.py",
        ("angles read as radians", "np.radians(found) if degrees", "np.asarray(found) if degrees"),
        ("angles written as radians", "return np.degrees(values) if", "return np.asarray(values) if"),
        ("u and v swapped", '"rlnDefocusV", "ctf/df2_A", 3', '"rlnDefocusV", "ctf/df2_A", 2'),
        ("an absent scale is 0", '"hetero_scale", absent=1.0', '"hetero_scale", absent=0.0'),
    ),
    *_of(
        "Euler angles of files",
        "io/euler.py",
        "io/test_star.py io/test_contract.py",
        ("psi of the other sign", "np.arctan2(r[:, 1, 2], -r[:, 0, 2])", "np.arctan2(-r[:, 1, 2], -r[:, 0, 2])"),
    ),
    *_of(
        "EMAN2's CTF",
        "io/eman.py",
        "io/test_lst.py io/test_hdf.py io/test_contract.py",
        (
            "astigmatism of the other sign",
            '1e4 * (columns["defocus"] + columns["dfdiff"] / 2)',
            '1e4 * (columns["defocus"] - columns["dfdiff"])',
        ),
        (
            "amplitude contrast in per mille",
            "np.asarray(ampcont, np.float64) / 100",
            "np.asarray(ampcont, np.float64) / 1000",
        ),
        ("poses that are no rotation pass", "initial=0.0) < 1e-3", "initial=0.0) < 1e3"),
        ("shifts not in pixels", "np.asarray(pixel_size)[:, None]\n    return matrices", "1.0\n    return matrices"),
    ),
    *_of(
        "EMAN2's list",
        "io/lst.py",
        "io/test_lst.py io/test_contract.py",
        ("a pickle passes", 'if "__pickle__" in text:', 'if "__never__" in text:'),
        ("lines not of one length", "record.ljust(length - 1)", "record"),
        ("mixed phase flips pass", "if len(flipped) > 1:", "if len(flipped) > 2:"),
    ),
    *_of(
        "EMAN2's HDF",
        "io/hdf.py",
        "io/test_hdf.py io/test_contract.py",
        ("compressed pixels off by a step", "(2.0**bits - 1)", "(2.0**bits)"),
        ("one image too many in the header", "[self._count - 1]", "[self._count]"),
    ),
    *_of(
        "MRC",
        "io/mrc.py",
        "io/test_mrc.py io/test_images.py io/test_small_files.py io/test_contract.py",
        ("a stack that says it is a map", 'header["ispg"] = 1 if volume else 0', 'header["ispg"] = 1'),
        ("too few images pass", "if self._written != self._shape[0]:", "if self._written > self._shape[0]:"),
        ("axes in the opposite order", "for axis in (3, 2, 1)]", "for axis in (1, 2, 3)]"),
        ("extended header not skipped", "HEADER_SIZE + int(header.nsymbt)", "HEADER_SIZE"),
        ("a truncated read passes", "if count < len(buffers) * self._bytes_each:", "if count < 0:"),
    ),
    *_of(
        "stack in places",
        "io/placed_stack.py",
        "io/test_placed_stack.py",
        ("not on the disk before it is told done", "            flush_to_disk(self.path)\n", ""),
        ("written over the header", "HEADER_SIZE + int(place) * image.nbytes", "int(place) * image.nbytes"),
    ),
    *_of(
        "statistics of pixels",
        "io/pixel_statistics.py",
        "io/test_placed_stack.py io/test_mrc.py",
        ("the mean left in the deviation", "self.count - mean**2", "self.count"),
    ),
    *_of(
        "reading by runs",
        "io/positional.py",
        "io/test_images.py io/test_mrc.py",
        ("a short read begins again", "left[:MOST_BUFFERS], offset + total", "left[:MOST_BUFFERS], offset"),
    ),
    *_of(
        "images",
        "io/images.py",
        "io/test_images.py",
        ("runs across stacks", " & (np.diff(file_id[rows]) == 0)", ""),
        ("stacks never closed", "max(len(self._open) - OPEN_STACKS, 0)", "0"),
    ),
    *_of(
        "cryoDRGN",
        "io/cryodrgn.py",
        "io/test_cryodrgn.py",
        ("any class of a pickle passes", "if (module, name) not in ALLOWED:", "if not ALLOWED:"),
        ("shift of the other sign", "return rotation, -translation", "return rotation, translation"),
    ),
    *_of(
        "check of particles",
        "io/check.py",
        "io/test_check.py",
        ("a pose that is no rotation passes", "(error < 1e-3) &", "(error < 1e3) &"),
        ("one image beyond the stack passes", "if highest >= stack.count:", "if highest > stack.count:"),
    ),
    *_of(
        "Gaussians' text",
        "io/gaussians.py",
        "io/test_small_files.py",
        ("amplitude not squared", "amplitude = table[:, 3] ** 2", "amplitude = table[:, 3]"),
        ("width twice as large", "0.001 / (2 * np.pi**2)", "0.001 / (np.pi**2)"),
        ("atoms off by the origin", "np.float64) + np.asarray(origin)", "np.float64)"),
    ),
    *_of(
        "latents' text",
        "io/latent.py",
        "io/test_small_files.py",
        ("repeated numbers taken for an index", " and len(np.unique(first)) == len(first)", ""),
    ),
    *_of(
        "FSC's text",
        "io/fsc.py",
        "io/test_small_files.py",
        ("frequencies twice as high", "(2 * shells * pixel_size)", "(shells * pixel_size)"),
    ),
    *_of(
        "paths",
        "io/paths.py",
        "io/test_small_files.py io/test_contract.py",
        ("a Git LFS pointer passes", 'b"version https://git-lfs"', 'b"version https://nothing"'),
        (
            "--datadir comes last",
            "return [*candidates, os.path.join(_folder(source), name), os.path.join(os.getcwd(), name)]",
            "return [os.path.join(_folder(source), name), os.path.join(os.getcwd(), name), *candidates]",
        ),
    ),
    *_of(
        "atomic writing",
        "files/atomic.py",
        "files/test_atomic.py io/test_contract.py",
        (
            "half a file stays beside",
            "beside.is_dir() else beside.unlink(missing_ok=True)",
            "beside.is_dir() else None",
        ),
        ("the old file written over", "yield beside\n", "yield path\n            return\n"),
        ("a file that is not flushed", "os.fsync(descriptor)", "os.fstat(descriptor)"),
    ),
    *_of(
        "locks of files",
        "files/lock.py",
        "simulate/test_part.py pipelines/run/test_lock.py",
        ("every lock shared", "fcntl.LOCK_SH if shared else fcntl.LOCK_EX", "fcntl.LOCK_SH"),
    ),
]

MEASURES = [
    *_of(
        "chamfer",
        "metrics/chamfer.py",
        "metrics/test_real_space.py",
        ("one way only", "0.5 * (to_second + to_first)", "to_second"),
    ),
    *_of(
        "FSC",
        "metrics/fsc.py",
        "metrics/test_fsc.py",
        ("resolution between the wrong shells", "shell = max(last - 1 + step, 1e-9)", "shell = max(last + step, 1e-9)"),
        ("area without its width", "dx=1.0 / (2 * len(fsc))", "dx=1.0"),
    ),
    *_of(
        "labels",
        "metrics/labels.py",
        "metrics/test_labels.py",
        (
            "particles of no class left out of the accuracy",
            "share * matched_accuracy(truth, found)",
            "matched_accuracy(truth, found)",
        ),
    ),
    *_of(
        "regions' overlap",
        "metrics/regions.py",
        "metrics/test_gaussian_metrics.py",
        ("union of the piece alone", "np.count_nonzero(inside | found)", "np.count_nonzero(inside)"),
        ("a region in the core counts", "overlap[np.ix_(optional, names == constant)] = 0.0", "pass"),
    ),
    *_of(
        "threshold",
        "metrics/threshold.py",
        "metrics/test_real_space.py",
        ("one voxel too many", "place = volume.size - count", "place = volume.size - count - 1"),
        ("slope the wrong way round", "truth.mean() - slope * volume.mean()", "truth.mean() + slope * volume.mean()"),
    ),
    *_of(
        "presence",
        "metrics/presence.py",
        "metrics/test_gaussian_metrics.py",
        ("absent for present", ".mean() >= midpoint", ".mean() < midpoint"),
    ),
    *_of(
        "amplitude",
        "metrics/amplitude.py",
        "metrics/test_gaussian_metrics.py",
        ("optional pieces are the others", "optional = ~np.asarray", "optional = np.asarray"),
    ),
]

ANALYSIS = [
    *_of(
        "classes",
        "analysis/classes.py",
        "analysis/test_classes.py",
        ("the farthest particle for the medoid", "distance.argmin()", "distance.argmax()"),
        ("classes unordered", "place[order] = np.arange(classes)", "place[:] = np.arange(classes)"),
    ),
    *_of(
        "embedding",
        "analysis/embedding.py",
        "analysis/test_embedding.py",
        ("signs left to chance", "return vectors * np.where(sign == 0, 1, sign)", "return vectors"),
    ),
    *_of(
        "features of Gaussians",
        "analysis/gaussian_features.py",
        "analysis/test_gaussian_features.py",
        ("one axis only", "covariance[row::3, column::3]", "covariance[row::3, row::3]"),
        ("the mean left in the covariance", " - np.outer(mean, mean)", ""),
        ("a faint Gaussian moves as much", "return presence[..., None] * change", "return change"),
    ),
    *_of(
        "paths between latents",
        "analysis/paths.py",
        "analysis/test_paths.py",
        ("backwards between anchors", "(1 - part) * anchors[first] + part *", "part * anchors[first] + (1 - part) *"),
        ("the last cell overflows", ".astype(int), side - 1)", ".astype(int), side)"),
    ),
    *_of(
        "density clusters",
        "analysis/density.py",
        "analysis/test_regions.py analysis/test_classes.py",
        ("smallest cluster first", "np.lexsort((first, -count))", "np.lexsort((first, count))"),
    ),
    *_of(
        "streaming PCA",
        "analysis/streaming_pca.py",
        "analysis/test_streaming_pca.py",
        ("blocks not centred", "        block -= centre\n", ""),
        ("basis without its mean", "@ self.directions + self.mean", "@ self.directions"),
    ),
]

TRAINING = [
    *_of(
        "order",
        "training/order.py",
        "training/test_order.py",
        ("every epoch alike", "[self.seed, epoch, STREAM]", "[self.seed, STREAM]"),
        (
            "one step too few an epoch",
            "return -(-len(self.stored) // self.batch_size)",
            "return len(self.stored) // self.batch_size",
        ),
        ("a segment one step late", "epoch * self.steps + int(place)", "epoch * self.steps + int(place) + 1"),
    ),
    *_of(
        "feed",
        "training/feed.py",
        "training/test_feed.py",
        ("padding counts", "np.concatenate([finite, np.zeros(missing)])", "np.concatenate([finite, np.ones(missing)])"),
        ("pixel size the wrong way round", "* stored / self.box_size", "* self.box_size / stored"),
        ("every epoch alike", "np.random.default_rng([seed, epoch])", "np.random.default_rng([seed])"),
        ("flipped images left so", "if self.particles.phase_flipped:", "if not self.particles:"),
    ),
    *_of(
        "guard",
        "training/guard.py",
        "training/test_loop.py",
        ("a step too patient", "return self.in_a_row >= PATIENCE", "return self.in_a_row > PATIENCE"),
        ("the rate not cut", "self.rate_scale * RATE_CUT", "self.rate_scale * 1.0"),
    ),
    *_of(
        "checkpoints",
        "training/checkpoint.py",
        "training/test_checkpoint.py",
        ("the oldest taken", "sorted(self._open().all_steps(), reverse=True)", "sorted(self._open().all_steps())"),
        ("any format read", "if version not in READABLE:", "if version is READABLE:"),
        ("damaged ones left in the way", "(self.folder / str(step)).rename(self._aside(step))", "pass"),
    ),
    *_of(
        "held-out particles",
        "training/held_out.py",
        "training/test_held_out.py",
        ("the worst parameters kept", "if value < float(state.held().loss):", "if value > float(state.held().loss):"),
        ("an epoch too patient", "return epoch - best >= PATIENCE", "return epoch - best > PATIENCE"),
    ),
    *_of(
        "loop",
        "training/loop.py",
        "training/test_loop.py",
        ("the next step's rate reported", "self.plan.schedule(self.done - 1)", "self.plan.schedule(self.done + 8)"),
        (
            "a run overwritten",
            "if checkpoints is not None and checkpoints.latest() is not None:",
            "if checkpoints is False:",
        ),
        ("begins the epoch anew", "self.batches.after(self.done)", "self.batches.after(0)"),
    ),
    *_of(
        "optimiser",
        "training/optimiser.py",
        "training/test_optimiser.py training/test_loop.py",
        ("average warms up too slowly", "(1.0 + step) / (10.0 + step)", "(1.0 + step) / (100.0 + step)"),
        ("warm-up in steps", "round(config.warmup_epochs * per_epoch)", "round(config.warmup_epochs)"),
        ("a step that is not finite counts", "partial(jnp.where, finite)", "partial(jnp.where, True)"),
    ),
    *_of(
        "Muon",
        "training/muon.py",
        "training/test_muon.py",
        ("axes of a weight swapped", '"kernel": (-2, -1)', '"kernel": (-1, -2)'),
        ("Adam's rate", "RATE * schedule(step)", "schedule(step)"),
    ),
    *_of(
        "accumulation",
        "training/accumulation.py",
        "training/test_accumulation.py",
        ("parts weigh alike", "jnp.where(weight > 0, weight * mean, 0)", "jnp.where(weight > 0, mean, 0)"),
    ),
    *_of(
        "meter",
        "training/meter.py",
        "training/test_loop.py training/test_log.py",
        ("batches weigh alike", "+ particles * value", "+ value"),
    ),
    *_of(
        "bad images",
        "training/bad_images.py",
        "training/test_feed.py",
        ("one more than allowed", "if len(self._places) >= self._most:", "if len(self._places) > self._most:"),
    ),
    *_of(
        "preparation of images",
        "training/preprocess.py",
        "training/test_preprocess.py",
        ("background from the corner pixels' rest", "axis[None, :]) > n / 2", "axis[None, :]) < n / 2"),
        ("a crop that scales", "* (m / n) ** 2", "* (m / n)"),
        ("the same particles drawn twice", ".choice(count, sample, replace=False)", ".choice(count, sample)"),
    ),
    *_of(
        "contrast",
        "training/contrast.py",
        "training/test_contrast.py",
        ("padding counts", "[np.asarray(batch.weight) > 0]", ""),
    ),
    *_of(
        "log",
        "training/log.py",
        "training/test_log.py training/test_loop.py",
        ("the last line lost on resuming", 'if line["step"] <= last_step]', 'if line["step"] < last_step]'),
    ),
]

MODELS = [
    *_of(
        "Gaussians' changes",
        "models/gmm/changes.py",
        "models/gmm/test_changes.py models/gmm/test_model.py models/gmm/latent/test_subspace.py",
        ("slope without its scale", "(1 + value / root) / scale", "(1 + value / root)"),
        ("strain of positions, not of distances", "jnp.mean((after - before) ** 2)", "jnp.mean((after + before) ** 2)"),
    ),
    *_of(
        "topology",
        "models/gmm/decoder/topology.py",
        "models/gmm/decoder/test_topology.py models/gmm/decoder/test_published.py",
        ("weights not of sum 1", "    weight /= weight.sum(axis=1, keepdims=True)\n", ""),
        ("a point chosen twice", "free[chosen[-1]] = False", "free[0] = False"),
    ),
    *_of(
        "neighbours",
        "models/gmm/decoder/neighbours.py",
        "models/gmm/decoder/test_attention.py",
        ("gradient of the softmax", "gradient - sum_over_neighbours(", "gradient + sum_over_neighbours("),
    ),
    *_of(
        "vector attention",
        "models/gmm/decoder/vector_attention.py",
        "models/gmm/decoder/test_attention.py models/gmm/decoder/test_published.py",
        ("gradient of the keys", "-neighbourhood.transpose(d_relation)", "neighbourhood.transpose(d_relation)"),
    ),
    *_of(
        "noise of the rings",
        "models/gmm/noise.py",
        "models/gmm/test_model.py",
        ("conjugate pixels count twice", "plane[n // 2 :, 0] = 0", "plane[n // 2 :, 0] *= 1"),
    ),
    *_of(
        "neural field",
        "models/hype/inr.py",
        "models/hype/test_networks.py",
        ("sine and cosine swapped", "jnp.concatenate([sine, cosine]", "jnp.concatenate([cosine, sine]"),
        ("no residual", "result if number == 0 else result + hidden", "result"),
    ),
    *_of(
        "CryoHype's model",
        "models/hype/model.py",
        "models/hype/test_model.py models/test_contract.py",
        ("conjugate of the other half forgotten", "raw[:, 1] * sign", "raw[:, 1]"),
        ("sampled pixels weigh alike", "1 / (probability[chosen] * len(disc))", "1 / len(disc)"),
    ),
    *_of(
        "sampling of pixels",
        "models/hype/sampling.py",
        "models/hype/test_sampling.py",
        ("certain pixels counted twice", "share * rest / share", "share * count / share"),
    ),
    *_of(
        "what the encoder sees",
        "models/hype/seen.py",
        "models/hype/test_seen.py",
        ("shifted away", "moved_back(dft_image(image)", "moved(dft_image(image)"),
        ("turned the other way", "matrix_to_euler(rotation)[2]", "-matrix_to_euler(rotation)[2]"),
        ("lifted with x and y swapped", "[across[1], across[0]]", "[across[0], across[1]]"),
    ),
    *_of(
        "transformer",
        "models/hype/transformer.py",
        "models/hype/test_networks.py",
        ("attention not scaled", " / config.head_dim**0.5", ""),
    ),
]

REST = [
    *_of(
        "backprojection",
        "reconstruction/backproject.py",
        "reconstruction/test_backproject.py",
        (
            "CTF not squared in the weight",
            "share * transfer(observation, frequencies) ** 2",
            "share * transfer(observation, frequencies)",
        ),
        ("the kernel not corrected", " * kernel_correction(n, padded)", ""),
        (
            "half-sets by place in the batch",
            "np.asarray(half_set)[np.asarray(batch.index)]",
            "np.asarray(half_set)[: len(weight)]",
        ),
    ),
    *_of(
        "simulated imaging",
        "simulate/imaging.py",
        "simulate/test_simulation.py simulate/test_writer.py",
        ("tilts crowd at the poles", "jnp.arccos(1 - 2 * deviates[1])", "jnp.pi * deviates[1]"),
        ("noise of the larger box", "deviation * (config.final_box / config.box_size)", "deviation"),
    ),
    *_of(
        "simulated states",
        "simulate/states.py",
        "simulate/test_simulation.py simulate/test_bodies.py simulate/test_writer.py",
        ("the core may be absent", "present = first | (", "present = ("),
        ("angles of one sign", "(2 * deviates[1] - 1) * config.max_angle", "deviates[1] * config.max_angle"),
    ),
    *_of(
        "swing",
        "simulate/swing.py",
        "simulate/test_swing.py",
        ("distance along the axis counts", "(np.sum(arm**2) - np.sum(along**2))", "(np.sum(arm**2))"),
    ),
    *_of(
        "densities of atoms",
        "simulate/density.py",
        "simulate/test_density.py",
        ("gridding not undone", "rate = -2 * np.pi**2 * (least - narrow)", "rate = -2 * np.pi**2 * least"),
    ),
    *_of(
        "a set in the making",
        "simulate/part.py",
        "simulate/test_part.py",
        (
            "goes on with another configuration",
            "if found.get(key) != begun_with.get(key)\n    ]",
            "if found is begun_with\n    ]",
        ),
        ("not on the disk before it is told done", "        flush_to_disk(self._record)\n", ""),
        ("the target overwritten", "if target.exists() and (not", "if not target.exists() and (not"),
    ),
    *_of(
        "tables of a set",
        "simulate/tables.py",
        "simulate/test_writer.py",
        ("a list of one structure more", "structure[index] < k))", "structure[index] <= k))"),
    ),
    *_of(
        "EMAN2's log",
        "cli/eman2_log.py",
        "cli/test_eman2_log.py",
        ("status over the next field", "end - len(data) + STATUS_OFFSET", "end - len(data) + STATUS_OFFSET + 1"),
        ("line breaks of a command kept", '" ".join(command.split())', "command"),
    ),
    *_of(
        "run folders",
        "cli/run_folders.py",
        "cli/test_run_folders.py",
        ("the last folder again", "default=-1) + 1", "default=-1) + 2"),
        ("folders of other programs count", "re.escape(prefix)", "'.*'"),
    ),
    *_of(
        "running a program",
        "cli/run.py",
        "cli/test_run_program.py",
        (
            "a failure ends with 0",
            '{voice.place}{message}")\n        return 1',
            '{voice.place}{message}")\n        return 0',
        ),
        ("threads not limited", "if threads > 0:", "if threads > 99:"),
    ),
    *_of(
        "configuration files",
        "configuration/files.py",
        "configuration/test_files.py",
        ("unknown keys pass", "unknown = sorted(set(values) - names)", "unknown = sorted(set(names) - names)"),
    ),
    *_of(
        "class files",
        "pipelines/decoding/class_files.py",
        "pipelines/decoding/test_class_files.py",
        ("a particle twice passes", "if times.max() > 1:", "if times.max() > 2:"),
    ),
    *_of(
        "mixtures of classes",
        "pipelines/regions/mixtures.py",
        "pipelines/test_segment.py",
        ("differences of the other sign", "density - before", "before - density"),
    ),
    *_of(
        "page",
        "report/page.py",
        "report/test_page.py",
        ("an escape dropped", "<h1>{escape(self.title)}</h1>", "<h1>{self.title}</h1>"),
    ),
]

GAUSSIANS = [
    *_of(
        "Gaussian model",
        "models/gmm/model.py",
        "models/gmm/test_model.py models/test_contract.py pipelines/test_recorded_losses.py",
        ("gradients pass through latents", "= jax.lax.stop_gradient((params, unmoved))", "= (params, unmoved)"),
        ("the network's reach forgotten", "latent / LATENT_REACH, key", "latent, key"),
        ("what may not change does", "(change * mobile)", "(change)"),
        ("scale of the images left out", "self.image_scale * projection, seen", "projection, seen"),
    ),
    *_of(
        "layout",
        "models/gmm/layout.py",
        "models/gmm/test_layout.py",
        ("amplitude before position", "slice(0, first), slice(first, second)", "slice(first, second), slice(0, first)"),
        ("widths solved for", "Layout(self.position, self.amplitude, False)", "Layout(True, self.amplitude, False)"),
    ),
    *_of(
        "posterior",
        "models/gmm/latent/posterior.py",
        "models/gmm/latent/test_subspace.py",
        ("spread by the wrong triangle", 'trans="T"', 'trans="N"'),
    ),
    *_of(
        "subspace",
        "models/gmm/latent/subspace_fit.py",
        "models/gmm/latent/test_subspace.py",
        ("spread of the changes left out", "bias=True) + np.sum(spreads, axis=0) / len(changes)", "bias=True)"),
        ("mean not moved", "mean + (spread @ slope", "(spread @ slope"),
    ),
    *_of(
        "modes",
        "models/gmm/changes.py",
        "models/gmm/test_model.py models/gmm/latent/test_subspace.py pipelines/test_recorded_losses.py",
        ("not in the decoder's unit", "[position / config.displacement_scale]", "[position]"),
    ),
    *_of(
        "starting mixture",
        "models/gmm/start/fit.py",
        "models/gmm/start/test_fit.py pipelines/test_guess.py",
        ("grows while it gains nothing", "best.explained < WORTH", "best.explained > WORTH"),
    ),
    *_of(
        "mean over a batch",
        "models/batch_mean.py",
        "models/test_batch_mean.py",
        ("padding counts", "jnp.sum(batch.weight)", "len(batch.weight)"),
    ),
]

ONCE_UNNOTICED = [  # each survived the tests of its time
    *_of(
        "page",
        "report/page.py",
        "report/test_page.py",
        ("a fact not escaped", "<p>{escape(fact)}</p>", "<p>{fact}</p>"),
        ("a heading of the table not escaped", "<th>{escape(text)}</th>", "<th>{text}</th>"),
        ("a cell not escaped", "        return escape(cell)", "        return cell"),
        ("the text of a link not escaped", ">{escape(link.text)}</a>", ">{link.text}</a>"),
        ("the target of a link not escaped", '"{escape(link.target)}"', '"{link.target}"'),
        ("a figure not escaped", "escape(figure.target), escape(figure.text)", "figure.target, figure.text"),
        ("a command not escaped", 'escape(f"# {what}\\n{command}\\n")', 'f"# {what}\\n{command}\\n"'),
    ),
    *_of(
        "page of regions",
        "pipelines/regions/page.py",
        "pipelines/test_segment.py",
        ("a folder not quoted for the shell", "name = shlex.quote(str(folder))", "name = str(folder)"),
    ),
    *_of(
        "check of particles",
        "io/check.py",
        "io/test_check.py",
        ("poses hundreds of times too rough pass", "(error < 1e-3) &", "(error < 0.3) &"),
    ),
    *_of(
        "origin of an imported list",
        "io/origin.py",
        "io/test_origin.py",
        ("a row beyond the last", "rows.max() >= count", "rows.max() > count"),
    ),
    *_of(
        "indices of particles",
        "pipelines/decoding/latents.py",
        "pipelines/decoding/test_latents.py",
        ("one beyond the last", "(indices >= count)", "(indices > count)"),
    ),
    *_of(
        "point groups",
        "point_groups.py",
        "physics/test_symmetry.py",
        ("the 2-fold axis of t", "(0.0, 2**0.5, 1.0), 2", "(0.0, -(2**0.5), 1.0), 2"),
        ("the 2-fold axis of d", "[(X, 2)] if", "[((0.0, 1.0, 0.0), 2)] if"),
        ("the 5-fold axis of i1", "((LONG, 0.0, -SHORT), 5)", "((SHORT, 0.0, -LONG), 5)"),
        ("the 5-fold axis of i2", "((SHORT, 0.0, LONG), 5)", "((LONG, 0.0, SHORT), 5)"),
    ),
    *_of(
        "Gaussian model",
        "models/gmm/model.py",
        "models/gmm/test_model.py",
        ("strain rewarded", "penalty + self.config.stiffness * strain", "penalty - self.config.stiffness * strain"),
    ),
    *_of(
        "optimiser",
        "training/optimiser.py",
        "training/test_optimiser.py training/test_loop.py",
        ("one key for all steps", "jax.random.key(config.seed), state.step)", "jax.random.key(config.seed), 0)"),
        ("the gradient may be anything", "jnp.isfinite(value) & jnp.isfinite(norm)", "jnp.isfinite(value)"),
    ),
    *_of(
        "order",
        "training/order.py",
        "training/test_order.py",
        ("chunks begin alike in every epoch", " + random.integers(self.chunk)) //", ") //"),
    ),
    *_of(
        "guard",
        "training/guard.py",
        "training/test_loop.py",
        ("the rate as before after going back", "rate_scale=counts[0], skipped", "skipped"),
    ),
    *_of(
        "preparation of images",
        "training/preprocess.py",
        "training/test_preprocess.py",
        (
            "the background is the whole image",
            "np.take(images.reshape(len(images), -1), outside, axis=1)",
            "images.reshape(len(images), -1)",
        ),
    ),
    *_of(
        "room on the disk",
        "files/space.py",
        "files/test_space.py",
        ("never too little", "if needed > free:", "if needed < 0:"),
        ("just enough is too little", "if needed > free:", "if needed >= free:"),
    ),
    *_of(
        "streaming PCA",
        "analysis/streaming_pca.py",
        "analysis/test_streaming_pca.py",
        ("the mean of all left in", "coordinates - mean.astype(np.float32)", "coordinates"),
        ("the mean of all left out of the basis", "centre + mean.astype(np.float32) @ directions, ", "centre, "),
        ("the mean left in the variance", "power -= len(coordinates) * float(mean @ mean)", "power += 0.0"),
    ),
    *_of(
        "presence",
        "metrics/presence.py",
        "metrics/test_gaussian_metrics.py",
        ("just half is absent", ".mean() >= midpoint", ".mean() > midpoint"),
        ("the median for the highest", "RANGE = (5.0, 95.0)", "RANGE = (5.0, 50.0)"),
    ),
    *_of(
        "amplitude",
        "metrics/amplitude.py",
        "metrics/test_gaussian_metrics.py",
        ("just half is absent", "amplitude >= PRESENT * reference", "amplitude > PRESENT * reference"),
        ("the median for the 95th percentile", "PERCENTILE = 95.0", "PERCENTILE = 50.0"),
    ),
    *_of(
        "features of Gaussians",
        "analysis/gaussian_features.py",
        "analysis/test_gaussian_features.py",
        ("the median for the strongest", "np.percentile(amplitude, 95)", "np.percentile(amplitude, 50)"),
    ),
    *_of(
        "paths between latents",
        "analysis/paths.py",
        "analysis/test_paths.py",
        ("a grid over all there is", "OUTER = (5, 95)", "OUTER = (0, 100)"),
    ),
    *_of(
        "refinement of regions",
        "analysis/region_refinement.py",
        "analysis/test_region_refinement.py",
        ("only what is wholly alike is one", "SAME = 0.8", "SAME = 0.99"),
        ("what is hardly alike is one", "SAME = 0.8", "SAME = 0.3"),
        ("sums not added in a merge", "            total[first] += total[second]\n", ""),
        ("sizes not added in a merge", "        number[first] += number[second]\n", ""),
        ("names not moved in a merge", "name - (name > second)", "name"),
    ),
    *_of(
        "constant Gaussians",
        "analysis/constant.py",
        "analysis/test_regions.py analysis/test_constant.py",
        ("no floor", "NEGLIGIBLE = 0.02", "NEGLIGIBLE = 0.0"),
        ("a tenth is a half", "FLOOR = 0.1", "FLOOR = 0.5"),
        ("itself among its neighbours", "np.fill_diagonal(others, -np.inf)", "np.fill_diagonal(others, np.inf)"),
    ),
    *_of(
        "running a program",
        "cli/run.py",
        "cli/test_run_program.py",
        ("a stopped run is a success", "        return TERMINATED", "        return 0"),
        ("an interrupted run is a success", "        return INTERRUPTED", "        return 0"),
    ),
]

FURTHER = [
    *_of(
        "columns of the CTF",
        "io/ctf_columns.py",
        "io/test_ctf_columns.py io/test_cs.py",
        ("keys that say nothing are written", "if values[i] != absent", "if values[i] == values[i]"),
        ("voltage and aberration swapped", '"ctf/accel_kv", 5,', '"ctf/accel_kv", 6,'),
        ("scale from the column of the B-factor", '"ctf/scale", 9,', '"ctf/scale", 10,'),
    ),
    *_of(
        "density clusters",
        "analysis/density.py",
        "analysis/test_density.py",
        ("the first of the longest run", "longest[(len(longest) - 1) // 2]", "longest[0]"),
        ("itself among the others of its cluster", "np.maximum(count[own] - 1, 1)", "count[own]"),
        (
            "tight clusters without a floor",
            "np.maximum(np.maximum(within, beyond), LEAST_DISTANCE)",
            "np.maximum(within, beyond)",
        ),
        ("noise left out of the silhouette", "score.sum() / len(labels)", "score.sum() / len(kept)"),
        (
            "the smallest that counts dropped",
            "(labels == label).sum() < min_size",
            "(labels == label).sum() <= min_size",
        ),
        ("single linkage", 'method="average"', 'method="single"'),
    ),
    *_of(
        "classes",
        "analysis/classes.py",
        "analysis/test_classes.py",
        ("more classes than distinct particles", "min(classes, len(np.unique(points, axis=0)))", "classes"),
        ("of equals the most classes", "(round(scores[classes], 3), -classes)", "(round(scores[classes], 3), classes)"),
        ("faint components count", "SIGNIFICANT = 0.25", "SIGNIFICANT = 0.0"),
    ),
    *_of(
        "regions",
        "analysis/regions.py",
        "analysis/test_regions.py",
        ("what changes a lot is core", "np.where(large, UNASSIGNED, CORE)", "np.where(large, CORE, UNASSIGNED)"),
        (
            "the core counts as a region",
            "return int(max(self.label.max(initial=0), 0))",
            "return int(max(self.label.max(initial=0), 0)) + 1",
        ),
    ),
    *_of(
        "masks of regions",
        "analysis/region_masks.py",
        "analysis/test_region_masks.py",
        ("centred between voxels", "- box_size // 2) * pixel_size", "- box_size / 2 + 0.5) * pixel_size"),
        (
            "axes in the opposite order",
            "np.stack([x.ravel(), y.ravel(), z.ravel()]",
            "np.stack([z.ravel(), y.ravel(), x.ravel()]",
        ),
    ),
    *_of(
        "paths between latents",
        "analysis/paths.py",
        "analysis/test_paths.py",
        ("the far corner of a cell", "- cell - 0.5)", "- cell)"),
        ("the second component fastest", 'indexing="ij"', 'indexing="xy"'),
    ),
    *_of(
        "threshold",
        "metrics/threshold.py",
        "metrics/test_real_space.py",
        (
            "a negative is a fit",
            "    if slope <= 0:\n        return np.full",
            "    if slope == 0:\n        return np.full",
        ),
        ("offset in the other's scale", "+ offset / slope)", "+ offset)"),
        ("at the level is outside", "np.asarray(volume) >= level", "np.asarray(volume) > level"),
        ("volume of a dalton", "VOLUME_PER_DALTON = 1.21", "VOLUME_PER_DALTON = 1.35"),
    ),
    *_of(
        "motion",
        "metrics/motion.py",
        "metrics/test_gaussian_metrics.py",
        ("summed over Gaussians", "np.sqrt(square.mean(axis=-1))", "np.sqrt(square.sum(axis=-1))"),
        (
            "about the mean of each particle",
            "displacement.mean(axis=0, keepdims=True)",
            "displacement.mean(axis=1, keepdims=True)",
        ),
        ("a sign of the correlation", "return abs(float(", "return (float("),
    ),
    *_of(
        "labels",
        "metrics/labels.py",
        "metrics/test_labels.py",
        ("particles of no class agree", "truth, found = truth[inside], found[inside]", "pass"),
        ("the worst matching", "linear_sum_assignment(table, maximize=True)", "linear_sum_assignment(table)"),
    ),
    *_of(
        "overlap of volumes",
        "metrics/viou.py",
        "metrics/test_real_space.py",
        ("two empty ones agree", "/ union if union else 0.0", "/ union if union else 1.0"),
    ),
    *_of(
        "optimiser",
        "training/optimiser.py",
        "training/test_optimiser.py",
        ("the end of the cosine", "COSINE_END = 0.01", "COSINE_END = 0.0"),
        ("a warm-up that begins high", "WARMUP_START = 0.1", "WARMUP_START = 0.5"),
        ("a constant rate without warm-up begins low", "start if warmup else peak, peak", "start, peak"),
    ),
    *_of(
        "held-out particles",
        "training/held_out.py",
        "training/test_held_out.py",
        ("the same for every seed", "[config.seed, 0, STREAM]", "[0, STREAM]"),
        (
            "batches weigh alike",
            "total + float(value) * float(count), weight + float(count)",
            "total + float(value), weight + 1.0",
        ),
    ),
    *_of(
        "guard",
        "training/guard.py",
        "training/test_loop.py",
        ("an eighth of the rate is too low", "if scale < LEAST_RATE:", "if scale <= LEAST_RATE:"),
    ),
    *_of(
        "options",
        "configuration/options.py",
        "configuration/test_options.py configuration/test_declarations.py",
        ("infinity passes", "isinstance(value, int) or math.isfinite(value)", "True"),
        ("digits of every script pass", "[+-]?[0-9]{1,1000}", "[+-]?\\d{1,1000}"),
        ("odd numbers pass", "not (said.even and value % 2)", "not (said.even and value % 1)"),
        ("the limit itself is refused", "value <= said.most", "value < said.most"),
    ),
    *_of(
        "options of a program",
        "cli/options.py",
        "cli/test_options.py configuration/test_declarations.py",
        (
            "limits left to the work",
            "expected = None if value is None else refusal(limits, value)[0]",
            "expected = None",
        ),
    ),
    *_of(
        "terminal",
        "cli/terminal.py",
        "cli/test_terminal.py",
        ("closed descriptors stay closed", "        _open(descriptor)\n", "        pass\n"),
        ("names lose their bytes", "bytes([ord(character) - 0xDC00])", 'b"?"'),
        ("a gone reader is met again", "os.dup2(nowhere, stream.fileno())", "stream.fileno()"),
    ),
    *_of(
        "cache of compiled programs",
        "cli/compilation_cache.py",
        "cli/test_run_program.py",
        ("damaged entries stay", "entry.unlink(missing_ok=True)", "pass"),
        ("told for every entry", "        if not told:\n", "        if True:\n"),
    ),
    *_of(
        "memory",
        "files/memory.py",
        "files/test_memory.py",
        ("never too little", "needed > free", "needed < 0"),
        (
            "the group's limit forgotten",
            'return free if limit.strip() == "max" else min(free, int(limit) - int(used))',
            "return free",
        ),
    ),
]

MUTANTS = (*PHYSICS, *FORMATS, *MEASURES, *ANALYSIS, *TRAINING, *MODELS, *GAUSSIANS, *REST, *ONCE_UNNOTICED, *FURTHER)
