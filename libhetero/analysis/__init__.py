"""What the decoded particles say: latents embedded, Gaussians grouped, particles classified.

Everything here takes arrays, never a model. `latent` reduces latents too wide to hold,
`gaussian_features` accumulates how Gaussians change together, `constant` tells the core from what
changes, `density` and `regions` group the rest, `region_masks` draws them, `classes` sorts
particles, `embedding` gives the 2-D views. UMAP, HDBSCAN and scikit-learn load when used.
"""
