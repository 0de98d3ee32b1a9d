"""How images are prepared and how a model is trained: the options of both, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from libhetero.configuration import check_options, internal, option, whole_number
from libhetero.configuration.limits import MOST_BATCH, MOST_BOX, MOST_DENSITY, MOST_EPOCHS, MOST_SEED, MOST_STEPS

PREPARATION, TRAINING = "particles", "training"  # headings of the help
KEPT_EPOCHS = 5  # whose parameters are kept, at most, where nothing else is asked for
AUTOMATIC = "auto"  # batch: as many particles as fit the devices


def batch_size(text: str) -> int | str:
    """Return a number of particles, or "auto".

    Raises
    ------
    ValueError : saying what was expected.
    """
    if text == AUTOMATIC:
        return text
    try:
        return whole_number(text)
    except ValueError:
        raise ValueError(f"expected a whole number or {AUTOMATIC}") from None


@dataclass(frozen=True)
class PreprocessConfig:
    """How images are prepared; `libhetero.training.preprocess` says in which order.

    Parameters
    ----------
    contrast : sign that the stored pixels are multiplied by, +1 or -1.
    normalise : "set", "image" or "none".
    box_size : box after the Fourier crop, pixels; None keeps the stored box.
    deviation : divisor of "set", in units of the stored pixels; from `estimate_deviation`.
    """

    contrast: int = option(
        1,
        constants={
            "--invert": (-1, "invert the images, protein is dark (default: estimated from the images)"),
            "--noinvert": (1, "leave the contrast, protein is white"),
        },
        exclusive="contrast",
        check=lambda sign: None if sign in (-1, 1) else "1 or -1",
        group=PREPARATION,
        help="sign that the stored pixels are multiplied by",
    )
    normalise: str = option(
        "set",
        "--normalise",
        choices=("set", "image", "none"),
        group=PREPARATION,
        help="divide by the deviation of all or each",
    )
    box_size: int | None = option(
        None,
        "--box",
        least=4,
        most=MOST_BOX,
        metavar="N",
        group=PREPARATION,
        help="Fourier crop to N pixels",
        shown_default="the stack's",
    )
    deviation: float = internal(
        1.0, "divisor of the whole set, in units of the stored pixels; measured", above=0, most=MOST_DENSITY
    )

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def grey_scale(self) -> float:
        """What prepared images are multiplied by to have the stack's grey scale; 1 if each has a divisor of its own."""
        return self.deviation if self.normalise == "set" else 1.0


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Parameters
    ----------
    epochs : passes over the particles.
    batch_size : particles a step, over all devices.
    accumulate : parts in which a batch is worked through, for less memory (`accumulation`).
    optimiser : "adam", or "muon" for matrices and Adam for the rest (`muon`).
    learning_rate : highest value, reached after the warm-up.
    warmup_epochs : may be a fraction; at most half of the run is used.
    schedule : after the warm-up, "cosine" (to 1 %) or "constant".
    gradient_clip : largest global norm of the gradient; 0 for none.
    ema_decay : of the running average of the parameters; 0 for none.
    test_fraction : of the particles, held out to tell when to stop (`held_out`); 0 for none.
    seed : of the initial parameters, the order of the particles and every random draw.
    checkpoint_every : epochs between checkpoints; 0 to go by the clock (`clock`). There is always one at the end.
    keep : checkpoints kept, the last ones.
    keep_epochs : epochs between those whose parameters are kept to look at; 0 for a fifth of all, more than `epochs`
        for none.
    extended : (epochs, step) for each time that the run was given more epochs: how many it had until which step.
    report_every : steps between lines of the log; 0 for ten lines an epoch.
    """

    RETIRED: ClassVar[dict[str, Any]] = {"weight_decay": 0.0}

    epochs: int = option(
        20,
        "--niter",
        least=1,
        most=MOST_EPOCHS,
        metavar="N",
        group=TRAINING,
        changeable=True,
        help="epochs; with --resume more than before train the run further",
    )
    batch_size: int = option(
        64,
        "--batchsz",
        parse=batch_size,
        least=1,
        most=MOST_BATCH,
        metavar="N",
        group=TRAINING,
        help="particles a step, over all devices, or auto for as many as fit; Gaussians of tilt series take as many as "
        "have 160 images",
    )
    accumulate: int = option(
        1,
        "--accum",
        least=1,
        most=MOST_BATCH,
        metavar="N",
        group=TRAINING,
        changeable=True,
        help="work through a batch in N parts, for less memory",
    )
    optimiser: str = option(
        "adam", "--optimiser", choices=("adam", "muon"), group=TRAINING, help="muon: orthogonal steps of matrices"
    )
    learning_rate: float = option(
        1e-4,
        "--learnrate",
        above=0,
        below=1,
        metavar="X",
        group=TRAINING,
        help="highest, Adam's; Muon's is ten times it",
    )
    warmup_epochs: float = option(
        1.0, "--warmup", least=0, most=MOST_EPOCHS, metavar="X", group=TRAINING, help="epochs of rising learning rate"
    )
    schedule: str = option(
        "cosine", "--schedule", choices=("cosine", "constant"), group=TRAINING, help="after the warm-up"
    )
    gradient_clip: float = option(
        1.0, "--clip", least=0, most=1e9, metavar="X", group=TRAINING, help="largest norm of the gradient, 0 for none"
    )
    ema_decay: float = option(
        0.999, "--ema", least=0, below=1, metavar="X", group=TRAINING, help="running average of the weights, 0 for none"
    )
    test_fraction: float = option(
        0.0,
        "--usetest",
        least=0,
        below=1,
        metavar="X",
        group=TRAINING,
        help="hold out this fraction of the particles, say 0.1: keep the parameters that fit them best, stop after "
        "3 epochs without gain",
    )
    seed: int = option(0, "--seed", least=0, most=MOST_SEED, metavar="N", group=TRAINING, help="of every random draw")
    checkpoint_every: int = option(
        0,
        "--checkpoint",
        least=0,
        most=MOST_EPOCHS,
        metavar="N",
        group=TRAINING,
        changeable=True,
        help="epochs between two checkpoints",
        shown_default="one a minute, or fewer where they would take more than 5 % of the time",
    )
    keep: int = option(
        2, "--keep", least=1, most=MOST_EPOCHS, metavar="N", group=TRAINING, changeable=True, help="checkpoints kept"
    )
    keep_epochs: int = option(
        0,
        "--keep_epochs",
        least=0,
        most=MOST_EPOCHS,
        metavar="N",
        group=TRAINING,
        changeable=True,
        help="keep the parameters of every N-th epoch, which other programs show with --epoch; more than --niter keeps "
        "none",
        shown_default="a fifth of --niter",
    )
    report_every: int = option(
        0,
        "--report",
        least=0,
        most=MOST_STEPS,
        metavar="N",
        group=TRAINING,
        changeable=True,
        help="steps between two lines of the log",
        shown_default="ten an epoch",
    )
    extended: tuple[tuple[int, int], ...] = internal(
        (), "epochs that the run had until a step, for each extension", changeable=True
    )

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def epochs_between_kept(self) -> int:
        """Every how many epochs the parameters are kept."""
        return self.keep_epochs or max(-(-self.epochs // KEPT_EPOCHS), 1)
