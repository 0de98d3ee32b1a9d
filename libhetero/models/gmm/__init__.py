"""A Gaussian mixture that changes from particle to particle.

`topology` chooses the decoder's points and neighbours once; `encoder` turns a particle into the
gradient of its Fourier ring correlation and then into a latent; `point_transformer` and
`mlp` decode a latent into a change of every Gaussian; `model` joins them.
"""
