"""Pipelines: one module per program, the only place where io, models, training and analysis meet.

Each declares a frozen configuration, checked when made, and offers `run(config)`, a recipe of the steps in order;
programs call nothing else. These modules are light: what they need is imported inside `run`, from the folders, so that
`--help` is answered from the declarations alone. `run` is what they share: the folder that a training run leaves
behind; `decoding` latents and volumes of one; `embedding`, `regions` and `maps` what is made of particles and
Gaussians; `scoring` the truth; `guessing`, `listing` and `simulating` the parts of a single program.
"""
