"""Options that make e2hype_refine.py train small models for a moment."""

_SMALL_HYPE = (
    "--preset small --set dim=16 --set depth=1 --set heads=2 --set head_dim=8 --set feed_forward=16 "
    "--set weight_tokens=2 --set inr_width=16 --set inr_layers=1 --set inr_frequencies=8"
)
_SMALL_GMM = "--preset small --set encoder_width=16 --set mlp_width=16 --nmid 3 --pas 010 --model gmm.txt"
# Classes of a mixture are searched where a test is about them.
HYPE_FROM_CLASSES, HYPE = _SMALL_HYPE.split(), f"{_SMALL_HYPE} --start none".split()
GMM = _SMALL_GMM.split()
FAMILIES = {"hype": HYPE, "mlp": [*GMM, "--decoder", "mlp"]}
# The same decoder without a search for directions of change, which takes longer than the training.
NETWORK = [*FAMILIES["mlp"], "--encoder", "network"]
_BRIEFLY = "--niter 3 --batchsz 12 --learnrate 1e-3 --seed 5 --report 1 --checkpoint 1"
TRAINING = _BRIEFLY.split()
