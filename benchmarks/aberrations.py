"""What optics beyond the CTF are worth: maps of aberrated images, with the aberrations applied, ignored or turned.

Images of one molecule are made with a magnification matrix, beam tilt, even and odd Zernike polynomials, each
by itself and all together, and white noise. Each set is reconstructed by `libhetero.reconstruction` and, where it is
installed, by relion_reconstruct, from the list as it is and from lists that state other optics: none, or for the
magnification the inverse and the transposed matrix, for the odd part the opposite sign. The figure is the mean
FSC to the true map over the shells from 30 Å on, both maps masked by the true one.

    python benchmarks/aberrations.py                    # 2000 images of 64², some minutes
    python benchmarks/aberrations.py --particles 300 --only all
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from libhetero.configuration import write_json
from libhetero.io import ImageReader, MrcsWriter, read_particles, read_volume, write_particles
from libhetero.metrics.fsc import masked_fsc
from libhetero.physics.fourier import half_plane, real_image
from libhetero.physics.gaussians import gaussians_to_volume
from libhetero.physics.observation import recorded, seen_through
from libhetero.physics.rotations import random_rotations
from libhetero.physics.slices import prepare_volume, project_volume
from libhetero.reconstruction.backproject import reconstruct
from libhetero.records import Batch, CTFParams, Gaussians, Observation, ParticleSet, Pose
from libhetero.training.configuration import PreprocessConfig
from libhetero.training.feed import ParticleFeed, ordered_indices

BOX, PIXEL = 64, 3.0
FROM_SHELL = int(np.ceil(BOX * PIXEL / 30))
AT_ONCE = 100  # images
OPTICS = {
    "magnification": [[1.05, 0.03], [-0.02, 0.96]],
    "beam_tilt": [4e-3, -3e-3],
    "even_zernike": [0.2, 30, -20, 15, 200, -300, 250, 120, -90],
    "odd_zernike": [1, -2, 300, 40, -60, 250],
}
EXPECTED = {  # where another program must be found to agree: name of the set, what its list states
    "magnification": ("stated", "none", "inverse", "transposed"),
    "beam_tilt": ("stated", "none", "opposite"),
    "even_zernike": ("stated", "none", "opposite"),
    "odd_zernike": ("stated", "none", "opposite"),
    "all": ("stated", "none"),
}


def molecule() -> Gaussians:
    """Return 250 Gaussians of no symmetry, off the centre, up to 75 Å from it."""
    random = np.random.default_rng(3)
    place = random.normal(size=(250, 3)).clip(-2, 2) * [28, 18, 12] + [7, -5, 3]
    return Gaussians(place.astype(np.float32), np.ones(250, np.float32), np.full(250, 1.8, np.float32))


def optics(name: str, stated: str = "stated") -> dict[str, np.ndarray]:
    """Return the aberrations of one image of a set, or what else a list may state of them."""
    names = OPTICS if name == "all" else (name,)
    values = {one: np.array(OPTICS[one], np.float32) for one in names}
    changed = {
        "stated": lambda value: value,
        "opposite": np.negative,
        "inverse": np.linalg.inv,
        "transposed": np.transpose,
    }
    if name == "all":
        values["odd_zernike"][3:5] = 0  # where there is a beam tilt RELION takes these terms from it
    return {} if stated == "none" else {one: changed[stated](value) for one, value in values.items()}


def list_of(folder: Path, count: int, aberrations: dict[str, np.ndarray]) -> ParticleSet:
    """Return particles with random poses and defocus, and one set of aberrations."""
    random = np.random.default_rng(0)
    defocus = random.uniform(8000, 20000, count).astype(np.float32)
    same = {"voltage": 300.0, "spherical_aberration": 2.7, "amplitude_contrast": 0.1}
    same |= {"phase_shift": 0.0, "b_factor": 0.0, "scale": 1.0}
    ctf = CTFParams(
        defocus_u=defocus,
        defocus_v=defocus - 400,
        defocus_angle=random.uniform(0, np.pi, count).astype(np.float32),
        **{field: np.full(count, value, np.float32) for field, value in same.items()},
        **{field: np.broadcast_to(value, (count, *value.shape)) for field, value in aberrations.items()},
    )
    rotation = np.asarray(random_rotations(jax.random.key(1), (count,)))
    shift = random.normal(size=(count, 2)).astype(np.float32) * PIXEL
    return ParticleSet(
        files=(str(folder / "particles.mrcs"),),
        file_id=np.zeros(count, int),
        image_index=np.arange(count),
        box_size=np.full(count, BOX),
        pixel_size=np.full(count, PIXEL),
        pose=Pose(rotation=rotation, shift=shift),
        ctf=ctf,
        contrast=1,
    )


def write_images(particles: ParticleSet, volume: np.ndarray, noise: float) -> None:
    """Write the stack of a list, with white noise of `noise` times the deviation of the images."""
    transform, random = prepare_volume(jnp.asarray(volume)), np.random.default_rng(2)

    @jax.jit
    @jax.vmap
    def image(pose: Pose, ctf: CTFParams) -> jax.Array:
        central = project_volume(transform, seen_through(pose, ctf)[0], BOX, PIXEL)
        return real_image(recorded(central, Observation(pose=pose, ctf=ctf), half_plane(BOX, PIXEL)), BOX)

    count, deviation = len(particles), 0.0
    with MrcsWriter(particles.files[0], BOX, count, PIXEL) as writer:
        for index in ordered_indices(count, AT_ONCE):
            pose, ctf = particles.take(index).poses_and_ctfs()
            images = np.asarray(image(*jax.tree.map(jnp.asarray, (pose, ctf))))
            deviation = deviation or noise * float(images.std())
            writer.write((images + deviation * random.normal(size=images.shape)).astype(np.float32))


def ours(path: Path) -> np.ndarray:
    """Return our map of a list."""
    particles = read_particles(path)
    with ImageReader(particles) as reader:
        feed = ParticleFeed(reader, particles, PreprocessConfig(normalise="none"))

        def batches() -> Iterator[Batch]:
            for index in ordered_indices(len(feed), AT_ONCE):
                yield feed.batch(index, AT_ONCE)

        return reconstruct(batches(), BOX, PIXEL).volume


def relion(path: Path) -> np.ndarray:
    """Return the map that relion_reconstruct makes of a list."""
    output = path.with_suffix(".mrc")
    command = ["relion_reconstruct", "--i", path.name, "--o", output.name, "--ctf", "--angpix", str(PIXEL)]
    subprocess.run(command, cwd=path.parent, check=True, capture_output=True)
    return read_volume(output)[0]


def measure(folder: Path, name: str, count: int, noise: float) -> dict[str, dict[str, float]]:
    """Return the mean FSC to the truth by what the list states, then by program."""
    truth = np.asarray(jax.jit(lambda one: gaussians_to_volume(one, BOX, PIXEL))(molecule()))
    blurred = dataclasses.replace(molecule(), sigma=np.full(250, 8.0, np.float32))
    shape = np.asarray(jax.jit(lambda one: gaussians_to_volume(one, BOX, PIXEL))(blurred))
    mask = np.clip(shape / (0.05 * shape.max()), 0, 1)
    write_images(list_of(folder, count, optics(name)), truth, noise)
    makers = {"ours": ours} | ({"relion": relion} if shutil.which("relion_reconstruct") else {})
    found: dict[str, dict[str, float]] = {}
    for stated in EXPECTED[name]:
        path = folder / f"{name}_{stated}.star"
        write_particles(path, list_of(folder, count, optics(name, stated)))
        curves = {maker: masked_fsc(make(path), truth, mask) for maker, make in makers.items()}
        found[stated] = {maker: float(curve[FROM_SHELL:].mean()) for maker, curve in curves.items()}
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, default=2000, help="images (default: 2000)")
    parser.add_argument("--noise", type=float, default=3.0, help="deviation of noise ÷ signal (default: 3)")
    parser.add_argument("--only", nargs="+", choices=tuple(EXPECTED), default=tuple(EXPECTED), help="these sets")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args(argv)
    found = {}
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measure(Path(folder), name, options.particles, options.noise)
        for stated, by_program in found[name].items():
            figures = "   ".join(f"{program} {figure:.4f}" for program, figure in by_program.items())
            print(f"{name:14s} {stated:11s} {figures}", flush=True)
    if options.json:
        write_json(Path(options.json), found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
