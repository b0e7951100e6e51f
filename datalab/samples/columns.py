"""Columns for the tables of the samples that come out the same everywhere."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


# pyarrow.array() would do the same, and import pandas for it: a second at each start.
def text_column(values: Iterable[str]) -> pa.Array:
    """Make a text column."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def whole_column(values: npt.NDArray[np.integer[Any]]) -> pa.Array:
    """Make a column of whole numbers."""
    whole = np.ascontiguousarray(values, dtype=np.int32)
    return pa.Array.from_buffers(pa.int32(), len(whole), [None, pa.py_buffer(whole)])


def tenths_column(values: Floats | Ints, shown: npt.NDArray[np.bool_]) -> pa.Array:
    """Make a column of numbers given in tenths; null where not `shown`.

    One division of a whole number by ten gives the double nearest to the decimal
    number, so it is written with one decimal.
    """
    tenths = np.rint(values) / 10.0
    buffers = [pa.py_buffer(np.packbits(shown, bitorder="little")), pa.py_buffer(tenths)]
    return pa.Array.from_buffers(pa.float64(), len(tenths), buffers)


def coded_column(positions: npt.NDArray[np.integer[Any]], values: Iterable[str]) -> pa.Array:
    """Make a text column that points into a list of values: no string per row."""
    return pa.DictionaryArray.from_arrays(whole_column(positions), text_column(values))
