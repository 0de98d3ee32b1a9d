"""The demo's stories: the commands of each, the figures that it promises, and what to look at. They need nothing of
each other, and run at the same time.

1. assembly: a complex with three optional pieces. Consensus map, starting Gaussians, the Point Transformer trained,
   regions found, particles sorted, everything scored against the simulated truth;
2. mixture: four different molecules in one set, a CryoHype volume for every image.

The quick demo is the first story with fewer images and fewer Gaussians, and is told that pieces come and go
(`--pas 010`) in place of asking the images what changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from libhetero.cli.side_by_side import Row

ASSEMBLY = "--n 800 --box 32 --apix 5 --snr 0.5 --pieces 3 --seed 1"
FEWER = "--n 500 --box 32 --apix 5 --snr 1 --pieces 3 --seed 1"
MIXTURE = "--n 700 --box 32 --apix 5 --snr 1 --structures 4 --seed 2"
GAUSSIAN_TRAINING = "--model gmm.txt --preset small --niter 2"
BRIEF_TRAINING = "--model gmm.txt --preset small --niter 2 --pas 010"
HYPE_TRAINING = "--preset small --niter 3"


@dataclass(frozen=True)
class Promise:
    """One figure that the demo promises.

    Parameters
    ----------
    meaning : what it is.
    file : score it is read from, in the demo's folder.
    keys : where it stands in that file.
    least : the figure promised; None only reports it.
    """

    meaning: str
    file: str
    keys: tuple[str, ...]
    least: float | None = None


@dataclass(frozen=True)
class Story:
    """Commands that belong together, and what they show.

    Parameters
    ----------
    rows : programs that run one after the other; rows need nothing of each other.
    promises : figures of the scores.
    figures, files : to look at, in the demo's folder.
    runs : run folders, for the dashboard.
    made : all that the programs write at the top of the demo's folder.
    """

    rows: tuple[Row, ...]
    promises: tuple[Promise, ...]
    figures: tuple[str, ...]
    files: tuple[str, ...]
    runs: tuple[str, ...]
    made: tuple[str, ...]

    @property
    def stages(self) -> tuple[tuple[str, str], ...]:
        """Name and command of each stage, row by row."""
        return tuple(stage for row in self.rows for stage in row.stages)

    def __add__(self, other: Story) -> Story:
        """Return this story and another beside it."""
        return Story(
            self.rows + other.rows,
            self.promises + other.promises,
            self.figures + other.figures,
            self.files + other.files,
            self.runs + other.runs,
            self.made + other.made,
        )


def _begun(images: str, gaussians: int, training: str) -> tuple[tuple[str, str], ...]:
    """Return the stages from images with known truth to a trained Point Transformer."""
    training = f"--path pt_00 --pointtransformer {training}"
    return (
        ("simulate assembly", f"e2hype_simulate.py assembly assembly {images}"),
        ("consensus map", "e2hype_make3d.py assembly/particles.star consensus.mrc"),
        ("starting Gaussians", f"e2hype_guess_n.py consensus.mrc gmm.txt --ngauss {gaussians}"),
        ("train Point Transformer", f"e2hype_refine.py assembly/particles.star {training}"),
    )


REGIONS = ("regions", "e2hype_segment.py pt_00")
EMBEDDING = ("embed Gaussians' particles", "e2hype_embed.py pt_00 --method pca")
SCORE = ("score Point Transformer", "e2hype_score.py pt_00 --json pt_score.json --images 0")
AMPLITUDE = ("gaussians", "amplitude", "percentile")
FOUND = ("gaussians", "regions")
ASSEMBLY_FIGURES = (
    "pt_00/loss.png",
    "pt_00/regions.png",
    "pt_00/regions_embedding.png",
    "pt_00/regions_presence.png",
    "pt_00/embed_particles.png",
)
MAP_MADE = ("consensus.mrc", "consensus_half1.mrc", "consensus_half2.mrc", "consensus_fsc.txt", "consensus_fsc.png")
GAUSSIANS_MADE = ("gmm.txt", "gmm.pdb", "gmm_fsc.txt", "gmm_fsc.png")
BEGUN_MADE = ("assembly", *MAP_MADE, *GAUSSIANS_MADE, "pt_00", "pt_score.json")
ASSEMBLY_FILES = (
    "consensus.mrc",
    "gmm.txt",
    "pt_00/regions.txt",
    "pt_00/regions.cxc",
    "pt_00/masks/region_01.mrc",
    "pt_00/region_01_class_00.star",
    "pt_score.json",
)


def _point_transformer(accuracy: float) -> tuple[Promise, ...]:
    """Return the figures of the Point Transformer's run, with the accuracy that is promised of its amplitudes."""
    name, file = "Point Transformer", "pt_score.json"
    return (
        Promise(f"{name}, amplitude accuracy", file, (*AMPLITUDE, "all"), accuracy),
        Promise(f"{name}, accuracy in the optional pieces", file, (*AMPLITUDE, "optional")),
        Promise(f"{name}, pieces recovered of 3", file, (*FOUND, "recovered"), 3),
        Promise(f"{name}, regions against pieces (ARI)", file, (*FOUND, "ari")),
    )


def _assembly(images: str, gaussians: int, training: str) -> Story:
    """Return the first story of some images, Gaussians and training."""
    return Story(
        rows=(Row("assembly", (*_begun(images, gaussians, training), REGIONS, EMBEDDING, SCORE)),),
        promises=_point_transformer(0.90),
        figures=ASSEMBLY_FIGURES,
        files=ASSEMBLY_FILES,
        runs=("pt_00",),
        made=BEGUN_MADE,
    )


MIXTURE_STORY = Story(
    rows=(
        Row(
            "mixture",
            (
                ("simulate mixture", f"e2hype_simulate.py mixture mixture {MIXTURE}"),
                ("train CryoHype", f"e2hype_refine.py mixture/particles.star --path hype_00 {HYPE_TRAINING}"),
                ("embed mixture", "e2hype_embed.py hype_00 --method pca"),
                ("volumes of classes", "e2hype_eval.py hype_00 --all_classes 4"),
                ("score CryoHype", "e2hype_score.py hype_00 --json hype_score.json --images 24"),
            ),
        ),
    ),
    promises=(
        Promise("CryoHype, four molecules separated (ARI)", "hype_score.json", ("labels", "kmeans", "ari"), 0.95),
        Promise("CryoHype, floor-to-bound gap in FSC_AUC closed", "hype_score.json", ("volumes", "gap_closed"), 0.75),
    ),
    figures=("hype_00/embed_particles.png", "hype_00/volumes/kmeans_4/volumes.png"),
    files=("hype_00/classes_04.txt", "hype_00/volumes/kmeans_4", "hype_score.json"),
    runs=("hype_00",),
    made=("mixture", "hype_00", "hype_score.json"),
)
WHOLE = _assembly(ASSEMBLY, 128, GAUSSIAN_TRAINING) + MIXTURE_STORY
QUICK = _assembly(FEWER, 128, BRIEF_TRAINING)
