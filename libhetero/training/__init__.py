"""Training: batches, one loop, sharding over devices, checkpoints, log.

`loop.train(model, params, feed, TrainingConfig, folder)` is the only training loop; it knows of a
model only `loss(params, batch, key)` and of the particles only their number and `batch(index)`.
"""
