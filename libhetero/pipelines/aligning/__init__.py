"""Poses of the pieces of a molecule in every particle."""
