"""Flags of RELION, cryoSPARC, cryoDRGN and EMAN2 that users type out of habit, and what ours are called."""

from __future__ import annotations

from collections.abc import Mapping

INPUT = ("-i", "--i", "--in", "--input", "--ptclsin", "--particles")
OUTPUT = ("-o", "--o", "--out", "--outdir", "--ptclsout")
OUTPUT_FLAGS = ("--output", "--path")
NO_NEED = {
    "--gpu": "GPUs are found by themselves; CUDA_VISIBLE_DEVICES=0,1 chooses some",
    "--relion31": "the version of a .star is told from the file",
    "--ctf_corrected": "whether images are phase-flipped is told from their list",
    "--no-amp": "--precision float32 is what it is called",
    "--lazy": "images are always read when they are needed",
    "--preload": "images are read ahead by themselves",
    "--pool": "images are read ahead by themselves",
}
ELSEWHERE = {  # ours, where a program does not have them
    "--noctf": "it is an option of training and of maps; lists without a CTF are read as they are",
    "--box": "it is an option of training and of maps; images stay as they are",
}
TAKES = {"--classes": "K"}  # ours that mean the peer's only where this is what they take, and not a file
PEERS: dict[str, tuple[str, ...]] = {  # by what is typed: ours, of which the first that a program has is meant
    "--zdim": ("--nmid", "--components"),
    "--nmodel": ("--nmid",),
    "-n": ("--niter", "--n"),
    "--num-epochs": ("--niter",),
    "--epochs": ("--niter",),
    "--iter": ("--niter",),
    "--nptcl": ("--n",),
    "--angpix": ("--apix",),
    "--psize": ("--apix",),
    "--Apix": ("--apix",),
    "--pixel_size": ("--apix",),
    "-D": ("--box",),
    "--downsample": ("--box",),
    "--new_box": ("--box",),
    "--boxsize": ("--box",),
    "--K": ("--all_classes", "--classes"),
    "--k": ("--all_classes", "--classes"),
    "--ksample": ("--all_classes", "--classes"),
    "--nclass": ("--all_classes", "--classes"),
    "--ncls": ("--all_classes", "--classes"),
    "--lr": ("--learnrate",),
    "--learning-rate": ("--learnrate",),
    "-b": ("--batchsz",),
    "--batch-size": ("--batchsz",),
    "--batch": ("--batchsz",),
    "--load": ("--resume",),
    "--continue": ("--resume",),
    "--ref": ("--model",),
    "--gmm": ("--model",),
    "--solvent_mask": ("--mask",),
    "--window": ("--mask",),
    "--sym_group": ("--sym",),
    "--symmetry": ("--sym",),
    "--j": ("--threads",),
    "--parallel": ("--threads",),
    "--max-threads": ("--threads",),
    "--num-workers": ("--threads",),
    "--random_seed": ("--seed",),
    "--uninvert-data": ("--invert",),  # cryoDRGN's CTF is negative at low frequencies, and it inverts white protein
    "--invert-data": ("--noinvert",),
    "--no-ctf": ("--noctf",),
    "--npts": ("--ngauss",),
    "--ngaussian": ("--ngauss",),
    "--passthrough_path": ("--passthrough",),
    "--combine": ("--union",),
    "--merge": ("--union",),
    "--exclude": ("--difference",),
    "--select": ("--min", "--equal"),
    "--minval": ("--min",),
    "--maxval": ("--max",),
    "--ind-file": ("--ind",),
    "--adhoc_bfac": ("--bfactor",),
    "--auto_bfac": ("--bfactor",),
    "--lowres": ("--minres",),
    "--highres": ("--maxres",),
}


def peer_hint(typed: str, flags: Mapping[str, object], takes_input: bool, takes_output: bool) -> str:
    """Return what a flag of another program is called here; "" where nothing is known of it.

    Parameters
    ----------
    typed : the flag.
    flags : of this program, with what each takes as its help shows it.
    takes_input, takes_output : whether it has arguments by their place for what is read and for what is written.
    """
    reason = NO_NEED.get(typed) or ELSEWHERE.get(typed)
    if reason is not None:
        return f" (leave it out: {reason})"
    if typed in INPUT and takes_input:
        return f" (leave {typed} out: what is read is named without a flag)"
    if typed in OUTPUT and takes_output:
        return f" (leave {typed} out: what is written is named last, without a flag)"
    ours = OUTPUT_FLAGS if typed in OUTPUT else PEERS.get(typed, ())
    found = next((flag for flag in ours if flag in flags and TAKES.get(flag, flags[flag]) == flags[flag]), None)
    return "" if found is None else f" (here it is {found})"
