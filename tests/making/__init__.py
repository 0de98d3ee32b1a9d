"""What tests are made of, in one place: optics, mixtures, poses, particles, models, sets on disk and runs.

`optics` · `mixtures` · `poses` → `particles` → `images` (a batch) and `sets` (files) → `models`, `toys` and `runs`.
A record is built here alone, so that a new field of it changes one module. What a test compares with lies in
`tests/reference` instead.
"""
