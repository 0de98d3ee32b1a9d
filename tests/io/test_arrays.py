"""Arrays in files, by what is declared of them."""

import numpy as np

from libhetero.configuration import ArraySchema
from libhetero.io.arrays import read_array, read_arrays


def test_arrays_come_in_this_machines_order_of_bytes(tmp_path) -> None:
    values = np.arange(6.0).reshape(2, 3)
    schema = {"values": ArraySchema("float", ("rows", 3))}
    np.savez(tmp_path / "a.npz", values=values.astype(">f8", order="F"))
    np.save(tmp_path / "a.npy", values.astype(">f4"))
    many = read_arrays(tmp_path / "a.npz", schema, "write it again")["values"]
    for array in (many, read_array(tmp_path / "a.npy", schema["values"], "write it again")):
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, values)
