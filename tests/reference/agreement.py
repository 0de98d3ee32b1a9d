"""Records that went through a file are what they were, to the digits that it holds."""

import numpy as np


def assert_same_pose(first, second):
    """Equal to what the digits of a text format hold."""
    np.testing.assert_allclose(first.rotation, second.rotation, atol=2e-6)
    np.testing.assert_allclose(first.shift, second.shift, atol=2e-5)


def assert_same_ctf(first, second):
    """Equal to what the digits of a text format hold."""
    assert first.columns().keys() == second.columns().keys()
    for name in first.columns():
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=2e-6, atol=2e-6, err_msg=name)
