"""Draw the pictures of docs/concepts/figures.md, one of every figure that the programs write.

    python docs/figures_src/every_figure.py FOLDER

Everything is computed in FOLDER, which is made where there is none; a command whose result is there is not run again.
Two sets are simulated: a complex whose pieces come and go, with some images that hold noise alone, and a mixture of
two molecules whose listed poses are off. All of it takes about ten minutes of one core.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image

from libhetero.cli.stages import run_stage
from libhetero.errors import UserError
from libhetero.files import replacing

OUT = Path(__file__).resolve().parent.parent / "images" / "figures"
WIDEST = 900  # pixels of a picture
COLOURS = 128  # of its palette
FRAME = 260  # pixels of the moving picture
GAUSSIANS = "--decoder mlp --model gmm.txt"
# What is run, in this order, each with a file that is there when it is done.
COMMANDS = {
    "pieces/particles.star": "e2hype_simulate.py assembly pieces --n 800 --box 32 --apix 6 --snr 1 --junk 0.08",
    "consensus_fsc.png": "e2hype_make3d.py pieces/particles.star consensus.mrc",
    "gmm_fsc.png": "e2hype_guess_n.py consensus.mrc gmm.txt --ngauss 200",
    "run/mid_00.txt": f"e2hype_refine.py pieces/particles.star --path run {GAUSSIANS} --niter 12 --usetest 0.1",
    "run/index.html": "e2hype_segment.py run",
    "run/embed_gaussians.png": "e2hype_embed.py run --gaussians",
    "run/analysis/index.html": "e2hype_analyze.py run",
    "run/volumes/way/volumes.gif": "e2hype_eval.py run --pc 1 --steps 8 --movie --name way",
    "run/validation/index.html": "e2hype_validate.py run --nulls 4",
    "run/validation/half1/classes_particles.txt": "e2hype_embed.py run/validation/half1 --method pca --classes 8",
    "run/validation/half1/volumes/classes/volumes.png": "e2hype_eval.py run/validation/half1 --name classes "
    "--classes run/validation/half1/classes_particles.txt",
    "run/epoch_03/classes_particles.txt": "e2hype_embed.py run --epoch 3 --method pca --classes 8",
    "comparison/index.html": "e2hype_compare.py run run/validation/half1 run/epoch_03 --path comparison",
    "mixture/particles.star": "e2hype_simulate.py mixture mixture --n 300 --box 32 --apix 6 --snr 1 --structures 2 "
    "--pose_error 3 --shift_error 2",
    "classes/index.html": "e2hype_classify.py mixture/particles.star classes --refine_poses --classes 2",
}
# The pictures of the page, each with the file that it shows; the name says in which way a figure is called.
PICTURES = {
    "loss.png": "run/loss.png",
    "samples.png": "run/samples.png",
    "evidence.png": "run/evidence.png",
    "poses.png": "classes/poses.png",
    "OUT_fsc.png": "consensus_fsc.png",
    "fsc.png": "classes/fsc.png",
    "volumes.png": "classes/volumes.png",
    "volumes.gif": "run/volumes/way/volumes.gif",
    "volumes_plane.png": "run/volumes/way/volumes_plane.png",
    "embed_particles.png": "run/embed_particles.png",
    "embed_gaussians.png": "run/embed_gaussians.png",
    "components.png": "run/analysis/components.png",
    "columns.png": "run/analysis/columns.png",
    "density.png": "run/analysis/density.png",
    "regions.png": "run/regions.png",
    "regions_embedding.png": "run/regions_embedding.png",
    "regions_eps.png": "run/regions_eps.png",
    "regions_presence.png": "run/regions_presence.png",
    "region_NN.png": "run/region_01.png",
    "nulls.png": "run/validation/nulls.png",
    "half_sets.png": "run/validation/half_sets.png",
    "imaging.png": "run/validation/imaging.png",
    "class_volumes.png": "run/validation/class_volumes.png",
    "classes_I_J.png": "comparison/classes_1_2.png",
    "latents_I_J.png": "comparison/latents_1_2.png",
    "volumes_I_J.png": "comparison/volumes_1_2.png",
    "all_pairs.png": "comparison/all_pairs.png",
}


def main(argv: list[str] | None = None) -> int:
    """Run what is not there yet, and write all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is computed")
    folder = parser.parse_args(argv).folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for number, (result, command) in enumerate(COMMANDS.items(), 1):
            if not (folder / result).exists():
                run_stage(f"{number}/{len(COMMANDS)}", command, folder)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    OUT.mkdir(parents=True, exist_ok=True)
    for name, source in PICTURES.items():
        (write_moving if name.endswith(".gif") else write_picture)(folder / source, OUT / name)
    print(f"{OUT}: {sum(path.stat().st_size for path in OUT.iterdir()) / 1e6:.2f} MB")
    return 0


def write_picture(source: Path, path: Path) -> None:
    """Write a figure smaller, in few colours."""
    with Image.open(source) as image:
        picture = image.convert("RGB")
    picture.thumbnail((WIDEST, 2 * WIDEST), Image.Resampling.LANCZOS)
    with replacing(path) as beside:
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(beside, format="png", optimize=True)


def write_moving(source: Path, path: Path) -> None:
    """Write a moving picture smaller, in few colours."""
    with Image.open(source) as image:
        frames = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            frame = image.convert("RGB")
            frame.thumbnail((FRAME, 2 * FRAME), Image.Resampling.LANCZOS)
            frames.append(frame.quantize(COLOURS, dither=Image.Dither.NONE))
        pause = image.info.get("duration", 100)
    with replacing(path) as beside:
        frames[0].save(beside, format="gif", save_all=True, append_images=frames[1:], duration=pause, loop=0)


if __name__ == "__main__":
    sys.exit(main())
