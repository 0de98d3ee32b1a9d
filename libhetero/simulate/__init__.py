"""Simulated particle sets with their truth: assembly, motion and mixtures.

The chain: structures (`complex` from a seed, `atoms` from models, maps) become rigid `bodies`;
`states` says which are present and how they are turned; `imaging` adds pose, CTF and noise;
`simulation` renders blocks of particles; `writer` streams them to a folder.
"""
