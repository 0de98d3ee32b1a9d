"""From a map or an atomic model to the Gaussians that a training starts from: what is fitted, how, and files."""
