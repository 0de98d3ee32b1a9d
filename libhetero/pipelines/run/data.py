"""Which particles: the options of every program that reads a list of them, each declared once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from libhetero.configuration import check_options, declared_options, internal, option
from libhetero.configuration.limits import MOST_DOSE, MOST_PARTICLES, MOST_TILTS
from libhetero.files import absolute_path
from libhetero.training.configuration import PreprocessConfig

PARTICLES, FEEDING, MODEL = "particles", "feeding", "model"  # headings of the help


@dataclass(frozen=True)
class ParticleListConfig:
    """A list of particles and the files beside it.

    Parameters
    ----------
    particles : list or stack; absolute once it is in a run folder.
    datadir : folder that the list's relative paths start from; None for the usual places.
    pixel_size : Å, in place of the files' own; None to use theirs.
    poses, ctf : cryoDRGN .pkl files; None where the list holds them.
    indices : .pkl or .txt that says which particles; None for all.
    passthrough : other .cs tables of the job that wrote the list, with the columns it lacks.
    tilts : "together": images of one particle are told to be so; "apart": every image is a particle of its own.
    least_exposed : images of each tilt series that are used, those of least exposure; None for all.
    most_tilted : degrees, images beyond which are left out; None for all.
    dose : e⁻/Å² that each image of a tilt series adds, for lists that do not say; None for what they say.
    dose_weighting : what images of a tilt series fade by (`libhetero.io.tilt_series.weighted_by`).
    """

    particles: str = option(
        positional="particles", path=True, group="", help=".star, .cs, .lst, .hdf, .mrcs, .mrc or .txt"
    )
    datadir: str | None = option(
        None,
        "--datadir",
        metavar="FOLDER",
        path=True,
        group=PARTICLES,
        help="where the list's relative paths start",
        shown_default="the list's folder, the current one, those above the list",
    )
    pixel_size: float | None = option(
        None,
        "--apix",
        least=0.01,
        most=1000,
        metavar="Å",
        group=PARTICLES,
        help="pixel size, in place of the files' own",
    )
    poses: str | None = option(
        None, "--poses", metavar="PKL", path=True, group=PARTICLES, help="cryoDRGN poses", shown_default="the list's"
    )
    ctf: str | None = option(
        None,
        "--ctf",
        metavar="PKL",
        path=True,
        group=PARTICLES,
        help="cryoDRGN CTF parameters",
        shown_default="the list's",
    )
    indices: str | None = option(
        None,
        "--ind",
        metavar="FILE",
        path=True,
        group=PARTICLES,
        help="particles to use, by number from 0: .txt, or cryoDRGN's .pkl of numbers or truth values",
        shown_default="all",
    )
    passthrough: tuple[str, ...] = option(
        (),
        "--passthrough",
        repeated=True,
        metavar="CS",
        path=True,
        group=PARTICLES,
        help="another .cs of the same cryoSPARC job, joined by uid; repeatable",
        shown_default="",
    )

    tilts: str = option(
        "together",
        "--tilts",
        choices=("together", "apart"),
        group=PARTICLES,
        help="images of a tilt series as one particle, or each as its own",
    )
    least_exposed: int | None = option(
        None,
        "--ntilts",
        metavar="N",
        least=1,
        most=MOST_TILTS,
        group=PARTICLES,
        help="of each tilt series the N images of least exposure",
        shown_default="all",
    )
    most_tilted: float | None = option(
        None,
        "--notilts_above",
        metavar="DEGREES",
        least=0,
        most=90,
        group=PARTICLES,
        help="leave out images of a tilt series that are tilted by more",
    )
    dose: float | None = option(
        None,
        "--dose",
        metavar="E",
        above=0,
        most=MOST_DOSE,
        group=PARTICLES,
        help="electrons per Å² that each image of a tilt series adds, in its order, for lists that do not say",
    )
    dose_weighting: str = option(
        "list",
        "--dose_weighting",
        choices=("list", "curve", "none"),
        group=PARTICLES,
        help="what images of a tilt series fade by: the list's B-factors and exposures; the curve of exposure, also in "
        "place of Warp's B-factors; nothing",
    )

    def __post_init__(self) -> None:
        check_options(self)

    def listed(self) -> dict[str, Any]:
        """Return the fields of the list by name, without those of a configuration that is of more."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(ParticleListConfig)}


@dataclass(frozen=True)
class DataConfig(ParticleListConfig):
    """Which particles, and how their images are prepared.

    Parameters
    ----------
    no_ctf : True takes the CTF as 1 everywhere (images without one).
    absent_poses : True takes a list without poses, whose particles are unturned.
    reference : starting Gaussians (.txt) or a map; None without.
    mask : map that is above 0.5 where Gaussians may change; None for everywhere.
    classes : folder of a classification that CryoHype begins with; None to search for classes, where it begins so.
    count : particles in the list, to notice that it has changed; 0 before it is read.
    max_bad : images that are not finite and are left out, before the next one is an error.
    cache : folder for prepared images; None to prepare them in every epoch.
    preprocess : contrast, normalisation and Fourier crop.
    """

    no_ctf: bool = option(False, "--noctf", group=PARTICLES, help="the images carry no CTF")
    absent_poses: bool = internal(False, "whether a list may have no poses: they are searched for")
    reference: str | None = option(
        None,
        "--model",
        metavar="FILE",
        path=True,
        group=MODEL,
        help="starting Gaussians (.txt), or a map to tell the contrast by",
    )
    mask: str | None = option(
        None, "--mask", metavar="MAP", path=True, group=MODEL, help="only Gaussians where this map is above 0.5 change"
    )
    classes: str | None = option(
        None,
        "--classes",
        metavar="FOLDER",
        path=True,
        group=MODEL,
        help="CryoHype: begin with the classes that e2hype_classify.py has written there, in place of a search; of the "
        "list that was classified, or of particles of it",
        shown_default="they are searched for",
    )
    count: int = internal(0, "particles in the list, 0 before it is read", least=0, most=MOST_PARTICLES)
    max_bad: int = option(
        100,
        "--maxbad",
        least=0,
        most=MOST_PARTICLES,
        metavar="N",
        group=FEEDING,
        changeable=True,
        help="leave out up to N images that are not finite, then stop",
    )
    cache: str | None = option(
        None,
        "--cache",
        metavar="FOLDER",
        path=True,
        group=FEEDING,
        changeable=True,
        help="keep prepared images in this folder, for slow disks and large boxes cropped",
    )
    preprocess: PreprocessConfig = internal(PreprocessConfig, "contrast, normalisation and Fourier crop")

    def seen(self, preprocess: PreprocessConfig, count: int) -> DataConfig:
        """Return what reads the same particles again from any folder, prepared as they were."""
        return dataclasses.replace(self.absolute(), preprocess=preprocess, count=count)

    def absolute(self) -> DataConfig:
        """Return the same with absolute paths, to be read from any folder."""
        paths = {field.name: getattr(self, field.name) for field, said in declared_options(self) if said.path}
        return dataclasses.replace(self, **{name: _absolute(path) for name, path in paths.items()})


def _absolute(path: Any) -> Any:
    if isinstance(path, tuple):
        return tuple(map(absolute_path, path))
    return None if path is None else absolute_path(path)
