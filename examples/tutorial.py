"""Run a tutorial: the commands that its page in docs/tutorials shows, in their order, each with what it took.

The commands are read from the page itself, so that page and script cannot differ: all those of its bash blocks above
the heading "Go on". Everything lands in one folder, which is made anew:

    python examples/tutorial.py mixture

With --figures the pictures of the page are made again from the run. With --short the sets are tiny: that shows in a
minute that every command works, and nothing about molecules.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageSequence

from libhetero.cli.stages import StageResult, run_stage
from libhetero.errors import ConfigurationError, UserError
from libhetero.files import replacing

PAGES = Path(__file__).resolve().parent.parent / "docs" / "tutorials"
AFTER = "\n## Go on\n"  # commands from here on are left out: they train, wait for a browser, or take data of one's own
WIDEST, WIDEST_FILM = 1400, 220  # pixels of a picture, and of one that moves


@dataclass(frozen=True)
class Tutorial:
    """What is known of a tutorial besides its page.

    Parameters
    ----------
    short : what stands on the page, and what the short form says in its place.
    figures : the page's pictures, each with the file of the run that it shows.
    """

    short: dict[str, str]
    figures: dict[str, str]


TUTORIALS = {
    "gaussians": Tutorial(
        short={
            "--n 1000 --box 32 --apix 6 --snr 1": "--n 160 --box 16 --apix 10 --snr 4",
            "consensus.mrc gmm.txt": "consensus.mrc gmm.txt --ngauss 32",
            "--pointtransformer": "--decoder mlp --niter 3 --pas 010 --nmid 3",
            "e2hype_segment.py hype_00": "e2hype_segment.py hype_00 --pvalue 1 --classes 2",
            "--json": "--images 0 --json",
        },
        figures={
            "gaussians_evidence.png": "hype_00/evidence.png",
            "gaussians_regions.png": "hype_00/regions.png",
            "gaussians_embedding.png": "hype_00/regions_embedding.png",
            "gaussians_volumes.png": "hype_00/volumes/region_01/volumes.png",
        },
    ),
    "mixture": Tutorial(
        short={
            "--n 1200 --box 32 --apix 6 --snr 1 --structures 4": "--n 120 --box 16 --apix 8 --snr 2 --structures 2",
            "--preset small": "--preset small --niter 1 --set dim=16 --set inr_width=16 --set inr_frequencies=8",
            "--components 0": "--novolumes --method pca",
            "--json": "--images 2 --json",
        },
        figures={
            "mixture_classes.png": "classes/volumes.png",
            "mixture_fsc.png": "classes/fsc.png",
            "mixture_plane.png": "hype_00/embed_particles.png",
            "mixture_seven.png": "hype_00/volumes/seven/volumes.png",
        },
    ),
    "motion": Tutorial(
        short={
            "--n 800 --box 32 --apix 5 --snr 1": "--n 160 --box 16 --apix 10 --snr 4",
            "consensus.mrc gmm.txt": "consensus.mrc gmm.txt --ngauss 32",
            "--pointtransformer": "--decoder mlp --encoder network --niter 2 --pas 100 --nmid 1",
            "e2hype_segment.py hype_00": "e2hype_segment.py hype_00 --pvalue 1",
            "--steps 12": "--steps 3",
            "--json": "--images 0 --json",
        },
        figures={
            "motion_regions.png": "hype_00/regions.png",
            "motion_region.png": "hype_00/region_01.png",
            "motion_film.gif": "hype_00/volumes/film/volumes.gif",
        },
    ),
}


def commands_of(page: str) -> list[str]:
    """Return the commands of a page's bash blocks above `AFTER`, continued lines joined, comments left out."""
    blocks = re.findall(r"```bash\n(.*?)```", page.partition(AFTER)[0], re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [" ".join(line.split()) for line in lines if line and not line.startswith("#")]


def shortened(commands: list[str], short: dict[str, str]) -> list[str]:
    """Return the commands with tiny sizes in place of the page's.

    Raises
    ------
    ConfigurationError : if the page no longer says what is to be replaced.
    """
    for said, instead in short.items():
        if not any(said in command for command in commands):
            raise ConfigurationError(
                f"examples/tutorial.py: the page has no command with '{said}'; mend `short` of its Tutorial."
            )
        commands = [command.replace(said, instead) for command in commands]
    return commands


def main(argv: list[str] | None = None) -> int:
    """Run the commands of one tutorial and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=TUTORIALS, help="the tutorial")
    parser.add_argument("--folder", help="made anew (default: tutorial_NAME)")
    parser.add_argument("--short", action="store_true", help="tiny sets, to see that every command works")
    parser.add_argument("--figures", metavar="FOLDER", help="also write the page's pictures there")
    options = parser.parse_args(argv)
    tutorial = TUTORIALS[options.name]
    folder = Path(options.folder or f"tutorial_{options.name}").resolve()
    commands = commands_of((PAGES / f"{options.name}.md").read_text(encoding="utf-8"))
    try:
        if options.short:
            commands = shortened(commands, tutorial.short)
        results = run_in(folder, commands)
        if options.figures:
            write_figures(folder, Path(options.figures), tutorial.figures)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print_times(results)
    return 0


def run_in(folder: Path, commands: list[str]) -> list[StageResult]:
    """Run the commands in `folder`, emptied first."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return [run_stage(f"step {number}", command, folder) for number, command in enumerate(commands, 1)]


def write_figures(run: Path, folder: Path, figures: dict[str, str]) -> None:
    """Write the page's pictures into `folder`: at most `WIDEST` wide, in 256 colours; films smaller, in fewer."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in figures.items():
        widest, colours = (WIDEST_FILM, 32) if name.endswith(".gif") else (WIDEST, 256)
        with Image.open(run / source) as image:
            times = [frame.info.get("duration", 0) for frame in ImageSequence.Iterator(image)]
            pictures = [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]
        for picture in pictures:
            picture.thumbnail((widest, 4 * widest))
        first, *others = [picture.quantize(colours, dither=Image.Dither.NONE) for picture in pictures]
        film = {"save_all": True, "append_images": others, "duration": times, "loop": 0} if others else {}
        with replacing(folder / name) as path:
            first.save(path, optimize=True, **film)


def print_times(results: list[StageResult]) -> None:
    """Print the table of times, in Markdown, as the page has it."""
    print("\n| command | processor time, s | on the clock, s |\n|---|---|---|")
    for result in results:
        print(f"| `{result.command}` | {result.processor_seconds:.0f} | {result.seconds:.0f} |")
    processor = sum(result.processor_seconds or 0 for result in results)
    print(f"| all | {processor:.0f} | {sum(result.seconds for result in results):.0f} |")


if __name__ == "__main__":
    sys.exit(main())
