"""Flags that users have typed keep working, whatever a program is built of."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from libhetero.cli.options import values_given
from libhetero.models.hype.config import HypeConfig
from libhetero.training.configuration import PreprocessConfig

COMMON = "-h --help -v --verbose --threads --ppid --version"
KEPT = {
    "e2hype_align.py": "--batchsz --epoch --output --refine --region --segmentation --subtract",
    "e2hype_analyze.py": """
        --batchsz --classes --columns --components --figure --method --name --novolumes --seed --steps
    """,
    "e2hype_classify.py": """
        --apix --batchsz --box --classes --ctf --datadir --dose --dose_weighting --figure --ind --invert --noctf
        --noinvert --nomaps --notilts_above --ntilts --passthrough --poses --reference --refine_poses --search_poses
        --seed --tilts
    """,
    "e2hype_compare.py": "--batchsz --embedding --figure --novolumes --path --seed --segmentation --volumes",
    "e2hype_dashboard.py": "--host --name --nobrowser --port --readonly --repeat",
    "e2hype_demo.py": "--quick",
    "e2hype_embed.py": """
        --batchsz --class_method --classes --epoch --feature --figure --gaussians --labels --lists --memory
        --method --min_dist --min_size --name --neighbours --seed --truth
    """,
    "e2hype_eval.py": """
        --all-classes --all_classes --apix --batchsz --box --centre --classes --crop --embedding --epoch --figure
        --format --grid --latent --lowpass --movie --name --output --over --particles --path --pc --regions --route
        --seed --steps
    """,
    "e2hype_guess_n.py": """
        --apix --box --figure --halfmaps --maxres --ngauss --niter --particles --seed --sym --threshold
        --trainmodel
    """,
    "e2hype_import.py": """
        --apix --ctf --datadir --dose --dose_weighting --ind --lst2cs --lst2star --notilts_above --ntilts --output
        --passthrough --poses --tilts
    """,
    "e2hype_list.py": """
        --booleans --class_from --classes --columns --complement --datadir --difference --equal --half --ind
        --intersection --max --min --of --output --particles3d --passthrough --random --seed --split --table --union
    """,
    "e2hype_make3d.py": """
        --apix --batchsz --bfactor --box --centre --classes --ctf --datadir --deform --dose --dose_weighting --figure
        --ind --invert --local_resolution --mask --noctf --noinvert --notilts_above --ntilts --poses --probabilities
        --sym --tilts
    """,
    "e2hype_refine.py": """
        --accum --apix --batchsz --box --cache --checkpoint --classes --clip --conditioning --contrast --coordinator
        --ctf --datadir --decoder --dose --dose_weighting --dry-run --ema --encoder --figure --hype_preset --ind
        --invert --keep
        --keep_epochs --learnrate --mask --maxbad --maxres --minres --model --niter --nmid --noctf --noinvert
        --normalise --notilts_above --nprocs --ntilts --optimiser --pas --path --pointtransformer
        --poses --precision --preset --procid
        --pt_preset --refine_poses --remat --report --requeue --resume --schedule --seed --set --stiffness --sym
        --tensorboard --tilts --usetest --warmup
    """,
    "e2hype_score.py": """
        --batchsz --embedding --images --json --level --limit --mask --mass --seed --segmentation --truth
    """,
    "e2hype_segment.py": """
        --auto --batchsz --class_method --classes --components --constant --epoch --eps --feature --figure
        --ind --memory --method --min_size --name --neighbours --regions --seed
    """,
    "e2hype_simulate.py": """
        --angle --apix --bfactor --box --complex-seed --crop --ctf-from --dark --defocus --diameter
        --domains --map --n --noctf --pdb --pieces --probability --processes --resume --rmsd --seed
        --dose --segments --share --shift --snr --structures --subsets --tilts
    """,
    "e2hype_validate.py": "--batchsz --embedding --figure --nulls --seed --segmentation --skip_halves",
    "e2hype_version.py": "--report",
}


@pytest.mark.parametrize("program", KEPT)
def test_flags_that_exist_keep_working(program: str, load_program: Callable[[str], ModuleType]) -> None:
    known = {flag for action in load_program(program).build_parser()._actions for flag in action.option_strings}
    assert set(f"{COMMON} {KEPT[program]}".split()) <= known


def test_the_contrast_of_particles_and_the_sign_of_the_stack_are_two_options(load_program) -> None:
    parser = load_program("e2hype_refine.py").build_parser()
    options = parser.parse_args(["a.star", "--contrast", "none", "--invert"])
    assert values_given(options, HypeConfig) == {"particle_contrast": "none"}
    assert values_given(options, PreprocessConfig)["contrast"] == -1
    assert "contrast" not in values_given(parser.parse_args(["a.star", "--contrast", "none"]), PreprocessConfig)
