"""The options of e2hype_refine.py, by group, and which field of which configuration each one sets."""

from __future__ import annotations

import argparse

from libhetero.cli.parser import batch_size, pas_letters

TRAINING = (
    "epochs",
    "batch_size",
    "accumulate",
    "optimiser",
    "learning_rate",
    "warmup_epochs",
    "schedule",
    "gradient_clip",
    "ema_decay",
    "seed",
    "checkpoint_every",
    "keep",
    "report_every",
    "test_fraction",
)
MODEL = ("decoder", "encoder", "conditioning", "latent_size", "vary", "stiffness", "symmetry", "precision", "remat")
DATA = ("datadir", "pixel_size", "poses", "ctf", "indices", "no_ctf", "reference", "mask", "cache", "max_bad")


def add_refine_options(parser: argparse.ArgumentParser) -> None:
    """Add every option but the common ones."""
    add = parser.add_argument_group("run").add_argument
    add("--path", metavar="FOLDER", help="run folder to make (default: the next hype_NN)")
    add("--resume", metavar="FOLDER", help="go on with this run, on any number of devices")
    add("--dry-run", action="store_true", help="tell parameters, work, memory and time after a few steps; make no run")
    add("--tensorboard", action="store_true", help="also write events for TensorBoard, into FOLDER/tensorboard")
    add("--requeue", action="store_true", help="with --path: begin the run there, or go on where it holds one")
    _add_processes(parser.add_argument_group("several processes (found by themselves in a Slurm step)"))
    _add_data(parser.add_argument_group("particles"))
    _add_feeding(parser.add_argument_group("feeding"))
    _add_model(parser.add_argument_group("model"))
    _add_training(parser.add_argument_group("training"))


def _add_processes(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--coordinator",
        metavar="HOST:PORT",
        help="where process 0 listens, the same for all; auto: JAX finds it (TPU slice, Slurm, Open MPI)",
    )
    add("--nprocs", type=int, metavar="N", help="processes in all")
    add("--procid", type=int, metavar="I", help="number of this process, 0 to N - 1; 0 writes the files")


def _add_data(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--datadir", metavar="FOLDER", help="where the list's relative paths start")
    add("--apix", type=float, metavar="Å", dest="pixel_size", help="in place of the files' own")
    add("--poses", metavar="PKL", help="cryoDRGN poses")
    add("--ctf", metavar="PKL", help="cryoDRGN CTF parameters")
    add("--ind", metavar="PKL", dest="indices", help="cryoDRGN indices of the particles to use")
    add("--noctf", action="store_true", dest="no_ctf", help="the images carry no CTF")
    add(
        "--invert",
        action="store_const",
        const=-1,
        dest="contrast",
        help="invert the images, protein is dark (default: estimated from the images)",
    )
    add("--noinvert", action="store_const", const=1, dest="contrast", help="leave the contrast, protein is white")
    add("--box", type=int, metavar="N", dest="box_size", help="Fourier crop to N pixels")
    add("--normalise", choices=("set", "image", "none"), help="divide by the deviation of all or each (default: set)")


def _add_feeding(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--cache", metavar="FOLDER", help="keep prepared images in this folder, for slow disks and large boxes cropped")
    add(
        "--maxbad",
        type=int,
        metavar="N",
        dest="max_bad",
        help="leave out up to N images that are not finite, then stop (default: 100)",
    )


def _add_model(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--model", metavar="FILE", dest="reference", help="starting Gaussians (.txt), or a map to tell the contrast by")
    add(
        "--pointtransformer",
        action="store_const",
        const="pointtransformer",
        dest="decoder",
        help="Gaussians with the Point Transformer decoder",
    )
    add("--decoder", choices=("pointtransformer", "mlp"), help="Gaussians with this decoder")
    add(
        "--preset",
        "--hype_preset",
        "--pt_preset",
        choices=("small", "default", "paper"),
        help="sizes of the model; paper: encoder and loss, CryoHype also warm-up, no clipping and no average, "
        "as published (default: default)",
    )
    add(
        "--nmid",
        type=int,
        metavar="N",
        dest="latent_size",
        help="latent numbers a particle, Gaussians (default: as many as the set shows)",
    )
    add(
        "--encoder",
        choices=("posterior", "network", "transformer", "mlp", "unet"),
        help="Gaussians: solve for each particle's latent, or a network as published (default: "
        "posterior); CryoHype: the last three (default: transformer)",
    )
    add(
        "--conditioning",
        choices=("hypernetwork", "concat"),
        help="CryoHype: of weights (default), of inputs as cryoDRGN",
    )
    add(
        "--stiffness",
        type=float,
        metavar="X",
        help="against strain between Gaussians that move, Gaussians (default: 0.05)",
    )
    add(
        "--pas",
        type=pas_letters,
        metavar="110",
        dest="vary",
        help="vary position, amplitude, sigma: 1 or 0 each, Gaussians (default: 111)",
    )
    add("--mask", metavar="MAP", help="only Gaussians where this map is above 0.5 change")
    add(
        "--sym",
        metavar="GROUP",
        dest="symmetry",
        help="c4, d2, o …: the Gaussians are one unit, and all units change alike (default: c1)",
    )
    add("--minres", type=float, metavar="Å", help="coarsest ring compared, Gaussians")
    add("--maxres", type=float, metavar="Å", help="finest ring compared, Gaussians")
    add(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        help="of products; auto is bfloat16 on GPU and TPU (default)",
    )
    add(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        dest="settings",
        help="any other field of the model's configuration; repeatable",
    )


def _add_training(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--niter", type=int, metavar="N", dest="epochs", help="epochs (default: 20)")
    add(
        "--batchsz",
        type=batch_size,
        metavar="N",
        dest="batch_size",
        help="particles a step, over all devices, or auto for as many as fit (default: 64, preset small 16, "
        "Gaussians 16)",
    )
    add(
        "--accum",
        type=int,
        metavar="N",
        dest="accumulate",
        help="work through a batch in N parts, for less memory (default: 1)",
    )
    add(
        "--remat",
        action="store_const",
        const=True,
        help="CryoHype: compute parts again for the gradient instead of keeping them, for less memory",
    )
    add(
        "--optimiser",
        choices=("adam", "muon"),
        help="muon: orthogonal steps of matrices (default; paper, Gaussians: adam)",
    )
    add(
        "--learnrate",
        type=float,
        metavar="X",
        dest="learning_rate",
        help="highest, Adam's; Muon's is ten times it (default: 1e-3, CryoHype small 2e-3, paper 1e-4)",
    )
    add("--warmup", type=float, metavar="X", dest="warmup_epochs", help="epochs of rising learning rate (default: 1)")
    add("--schedule", choices=("cosine", "constant"), help="after the warm-up (default: cosine)")
    add(
        "--clip",
        type=float,
        metavar="X",
        dest="gradient_clip",
        help="largest norm of the gradient, 0 for none (default: 1)",
    )
    add(
        "--ema",
        type=float,
        metavar="X",
        dest="ema_decay",
        help="running average of the weights, 0 for none (default: 0.999, small 0.998, Gaussians 0.99)",
    )
    add(
        "--usetest",
        type=float,
        metavar="X",
        dest="test_fraction",
        help="hold out this fraction of the particles, say 0.1: keep the parameters that fit them "
        "best, stop after 3 epochs without gain (default: 0)",
    )
    add("--seed", type=int, metavar="N", help="of every random draw (default: 0)")
    add(
        "--checkpoint",
        type=int,
        metavar="N",
        dest="checkpoint_every",
        help="epochs between two (default: a minute; of several processes: 1)",
    )
    add("--keep", type=int, metavar="N", help="checkpoints kept (default: 2)")
    add("--report", type=int, metavar="N", dest="report_every", help="steps between two (default: ten an epoch)")
