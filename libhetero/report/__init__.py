"""Figures, drawn off screen from plain arrays: PNG, and PDF or SVG beside it where asked for; one kind per file.

`style` makes and saves them, so that all look alike; `embedding`, `regions`, `eps`, `maps`,
`presence` and `training` draw. No figure needs a display, and none touches matplotlib's globals.
"""
