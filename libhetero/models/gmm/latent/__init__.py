"""From a particle to its latent: the set's subspace and the posterior in it, or the published encoder."""
