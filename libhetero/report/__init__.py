"""Figures as PNG, drawn off screen from plain arrays; one kind of figure per file.

`style` makes and saves them, so that all look alike; `embedding`, `regions`, `eps`, `maps`,
`presence` and `training` draw. No figure needs a display, and none touches matplotlib's globals.
"""
