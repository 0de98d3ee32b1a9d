"""Regions of a Gaussian run: their files, the classes of particles in each, and the page that shows them."""
