"""What a file is by its beginning, whatever its name says."""

import pytest

from libhetero.io.kinds import kind_of, kind_of_start


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"#LSX\n# This", "EMAN2"),
        (b"\n# version 30001\n\ndata_optics\n\nloop_\n", ".star"),
        (b"ATOM      1  N   ALA A   1", "atomic model"),
        (b"data_1ABC\nloop_\n_atom_site.id\n", "atomic model"),
        (b"# x y z\n0.1 -2e-3 .5 1 20\n", "Gaussians"),
        (b"0\n17\n", "--ind"),
        (b"0 1\n1 0\n", "classes or latents"),
        (b"\x93NUMPY\x01", "NumPy"),
        (b"\x80\x04\x95", "pickle"),
        (b"\x89HDF\r\n", "HDF"),
        (208 * b"\0" + b"MAP D" + 10 * b"\0", "MRC"),
    ],
)
def test_kinds_are_told(start, kind):
    assert kind in kind_of_start(start)


@pytest.mark.parametrize("start", [b"", b"a.mrcs\nb.mrcs\n", b"1 stack.mrcs\n", b"\0\1\2"])
def test_others_are_not(start, tmp_path):
    assert kind_of_start(start) is None
    assert kind_of(tmp_path / "absent") is None
