"""Planes of a run: its particles by latent, sorted into classes and labelled, or its Gaussians by how they change."""
