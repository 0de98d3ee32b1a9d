"""Runs of the same particles side by side: classes, latents, regions and volumes, pair by pair, and a page."""
