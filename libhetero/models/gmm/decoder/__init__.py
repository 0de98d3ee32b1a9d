"""From a latent to the change of every Gaussian: Point Transformer, as revised or as published, or MLP."""
