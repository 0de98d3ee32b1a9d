"""Image formation, one example at a time: X = CTF · P(R, t) V.

Pure functions of one particle in JAX; callers `vmap` and `jit`. A Fourier image is the half
plane `rfft2` of an image whose origin is the box centre n // 2: shape (n, n // 2 + 1), DC at
[0, 0], unnormalised. Submodules follow the chain: `fourier`, `rotations`, `gaussians`, `slices`,
`ctf`, `observation`, which joins them, then `correlation` and `masks`.
"""

from libhetero.physics import pytrees as _pytrees  # noqa: F401  (records become pytrees)
