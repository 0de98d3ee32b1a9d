"""libhetero: molecules that move, assemble and mix, from cryo-EM images.

Two families of model share one image-formation chain and one training loop:

- `libhetero.models.hype`: CryoHype, a transformer hypernetwork that gives every
  particle image its own implicit neural representation of a volume;
- `libhetero.models.gmm`: a Gaussian mixture whose decoder (Point Transformer or
  MLP) moves, fades and widens the Gaussians of one complex for every particle.

Importing this package is light: neither JAX nor any reader is loaded until used.
Units inside are Å, radians, kV, mm (spherical aberration) and 1/Å; underfocus is
positive; arrays are (z, y, x). See docs/conventions.md.
"""

__version__ = "0.2.0"
