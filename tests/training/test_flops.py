"""Operations of products, scans and convolutions, against counts by hand."""

import jax
import jax.numpy as jnp

from libhetero.training.flops import product_flops


def test_work_of_a_product_and_of_a_scan():
    left, right = jnp.ones((3, 4)), jnp.ones((4, 4))
    assert product_flops(lambda a, b: a @ b, left, right) == 2 * 3 * 4 * 4

    def repeated(a, b):
        return jax.lax.scan(lambda c, _: (jax.jit(jnp.matmul)(c, b), None), a, length=7)[0]

    assert product_flops(repeated, left, right) == 7 * 2 * 3 * 4 * 4
    forward_and_backward = product_flops(jax.value_and_grad(lambda a, b: jnp.sum(a @ b), (0, 1)), left, right)
    assert forward_and_backward == 3 * 2 * 3 * 4 * 4


def test_work_of_a_convolution():
    image, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((5, 5, 3, 7))

    def convolve(image, kernel):
        return jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    forward = 2 * (5 * 5 * 3) * (2 * 8 * 8 * 7)
    assert product_flops(convolve, image, kernel) == forward
    gradient = jax.grad(lambda image, kernel: jnp.sum(convolve(image, kernel)), (0, 1))
    assert 2 * forward <= product_flops(gradient, image, kernel) <= 3 * forward
