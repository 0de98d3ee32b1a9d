"""A Gaussian mixture that changes from particle to particle.

`start` fits and refines the mixture that a run begins with. `latent` goes from a particle to its latent: solved
for in the subspace of the set, or read off by the published encoder. `decoder` goes from a latent to the columns
of change of every Gaussian, which `layout` names and `changes` applies. `noise` measures the images; `model`
joins them, and `storage` says what of it a run folder keeps.
"""
