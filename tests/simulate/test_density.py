"""Structure factors and form factors against sums written out."""

import gemmi
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io.atoms import Atoms
from libhetero.simulate.atoms import density_of_atoms, form_factor, scattering_weights
from libhetero.simulate.density import cut_or_pad, real_density, resample_map, structure_factor


def _frequencies(n: int, pixel_size: float) -> np.ndarray:
    full, half = np.fft.fftfreq(n, pixel_size), np.fft.rfftfreq(n, pixel_size)
    kz, ky, kx = np.meshgrid(full, full, half, indexing="ij")
    return np.stack([kx, ky, kz], axis=-1)


def _inside(n: int) -> tuple[slice, ...]:
    """Leave out the Nyquist planes, where +n/2 and -n/2 share a voxel."""
    keep = np.r_[0 : n // 2, n // 2 + 1 : n]
    return np.ix_(keep, keep, np.arange(n // 2))


@pytest.mark.parametrize("least", [0.0, 4.0])
def test_structure_factor_is_the_direct_sum(least: float) -> None:
    rng = np.random.default_rng(0)
    n, pixel_size, count = 20, 2.0, 30
    position, weight = rng.uniform(-11, 11, (count, 3)), rng.uniform(0.5, 2, count)
    variance = least + rng.uniform(0, 2, count)
    k = _frequencies(n, pixel_size)
    square = np.sum(k**2, axis=-1)
    direct = sum(
        w * np.exp(-2 * np.pi**2 * v * square - 2j * np.pi * (k @ x))
        for x, w, v in zip(position, weight, variance, strict=True)
    )
    fast = structure_factor(position, weight, variance, n, pixel_size)
    error = np.abs(fast - direct)[_inside(n)].max()
    assert error < 1e-5 * np.abs(direct).max()


def test_form_factors_are_those_of_gemmi() -> None:
    frequency = np.linspace(0, 0.5, 6)
    for element in ("C", "N", "O", "P", "S", "MG", "ZN"):
        table = gemmi.Element(element).c4322
        expected = [table.calculate_sf(stol2=s**2 / 4) for s in frequency]
        np.testing.assert_allclose(form_factor(element, frequency), expected, rtol=1e-5)


def test_unknown_element_is_refused() -> None:
    with pytest.raises(DataError, match="element 'X' has no electron form factor"):
        form_factor(np.array(["X"])[0], np.zeros(1))


def _atoms() -> Atoms:
    rng = np.random.default_rng(1)
    count = 12
    return Atoms(
        position=rng.uniform(-8, 8, (count, 3)).astype(np.float32),
        element=rng.choice(["C", "N", "O", "S"], count),
        b_factor=rng.uniform(10, 80, count).astype(np.float32),
        chain=np.full(count, "A"),
        residue=np.arange(count, dtype=np.int32),
    )


def test_density_of_atoms_is_the_direct_evaluation() -> None:
    atoms, n, pixel_size = _atoms(), 24, 1.5
    k = _frequencies(n, pixel_size)
    square = np.sum(k**2, axis=-1)
    direct = np.zeros(square.shape, complex)
    for x, element, b_factor in zip(atoms.position, atoms.element, atoms.b_factor, strict=True):
        table = gemmi.Element(str(element)).c4322
        factor = np.vectorize(lambda s2, t=table: t.calculate_sf(stol2=s2 / 4))(square)
        direct += factor * np.exp(-b_factor * square / 4 - 2j * np.pi * (k @ x))
    volume = density_of_atoms(atoms, n, pixel_size)
    assert np.isclose(volume.sum(), scattering_weights(atoms).sum(), rtol=1e-5)
    fast = np.fft.rfftn(np.fft.ifftshift(volume))
    error = np.abs(fast - direct)[_inside(n)].max()
    assert error < 1e-4 * np.abs(direct).max()


def test_an_atom_lies_where_it_should() -> None:
    volume = real_density(structure_factor(np.array([[6.0, -4.0, 2.0]]), np.ones(1), np.ones(1), 16, 2.0))
    assert np.unravel_index(volume.argmax(), volume.shape) == (8 + 1, 8 - 2, 8 + 3)


def test_resampling_keeps_density_and_place() -> None:
    points = np.array([[8.0, 0.0, -8.0]]), np.ones(1), np.full(1, 30.0)
    fine = real_density(structure_factor(*points, 32, 2.0))
    coarse = resample_map(fine, 2.0, 16, 4.0)
    np.testing.assert_allclose(coarse, real_density(structure_factor(*points, 16, 4.0)), atol=1e-5)
    np.testing.assert_array_equal(resample_map(fine, 2.0, 32, 2.0), fine)
    assert np.isclose(resample_map(fine, 2.0, 24, 4.0).sum(), fine.sum(), rtol=1e-4)


def test_cut_or_pad_keeps_the_origin() -> None:
    volume = np.zeros((6, 6, 6), np.float32)
    volume[3, 3, 3] = 1
    for n in (4, 6, 10):
        assert np.argwhere(cut_or_pad(volume, n)).tolist() == [[n // 2] * 3]
