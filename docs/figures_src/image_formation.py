"""Draw docs/images/concept_image_formation.png: one particle without CTF, with it, and with noise.

    python docs/figures_src/image_formation.py

Simulates the same particles three times from one seed (`e2hype_simulate.py`): without CTF and noise, without noise, and
with noise of twice the standard deviation of the signal (SNR 0.25).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import mrcfile
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

OUT = Path(__file__).resolve().parent.parent / "images" / "concept_image_formation.png"
PANELS = {
    "projection  P V": ["--snr", "0", "--noctf"],
    "with the CTF  T · P V": ["--snr", "0"],
    "image  T · P V + n": ["--snr", "0.25"],
}
SET = ["--n", "8", "--box", "96", "--apix", "3", "--probability", "1", "--defocus", "1.5", "1.5", "--seed", "3"]
PARTICLE = 0


def main() -> int:
    """Simulate, draw, write."""
    figure = Figure(figsize=(9, 3.3))
    FigureCanvasAgg(figure)
    with tempfile.TemporaryDirectory() as folder:
        for place, (title, options) in enumerate(PANELS.items()):
            out = Path(folder) / str(place)
            program = Path(sys.executable).parent / "e2hype_simulate.py"
            subprocess.run([program, "assembly", out, *SET, *options, "-v", "0"], check=True)
            image = mrcfile.read(out / "particles.mrcs")[PARTICLE]
            axes = figure.add_subplot(1, len(PANELS), place + 1)
            low, high = np.percentile(image, (0.5, 99.5))
            axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            axes.set_title(title)
            axes.set_axis_off()
    figure.tight_layout()
    figure.savefig(OUT, dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
