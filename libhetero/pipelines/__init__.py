"""Pipelines: one module per program, the only place where io, models, training and analysis meet.

Each offers a frozen configuration, validated when made, and `run(config)`; programs call
nothing else. `run` is what they share: the folder that a training run leaves behind.
"""
