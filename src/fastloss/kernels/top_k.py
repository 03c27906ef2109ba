"""The k largest numbers of each row."""

from typing import Any

import numpy as np

from ..compiler.bits import larger, smaller, window
from .form import Function
from .storage import decoder

# So many numbers are passed over together if none is larger than the smallest that is kept.
STRETCH = 1 << 7


def top_k(dtype: str, arithmetic: str, masked: bool) -> Function:
    """A function that writes the k largest numbers of rows, and where they are, in order.

    Of equal ones the first comes first. NaN is passed over. If a row has fewer than k classes that
    are in, its last places get -inf and -1.
    """
    decode = decoder(dtype, arithmetic)
    number = np.dtype(arithmetic).type
    lowest = number(-np.inf)

    def largest_of(x: Any) -> Any:
        largest = lowest
        for j in range(x.size):
            largest = larger(decode(x[j]), largest)
        return largest

    def insert(x_j: Any, j: Any, places: Any, values: Any) -> None:
        i = values.size - 1
        while i > 0 and x_j > values[i - 1]:
            values[i] = values[i - 1]
            places[i] = places[i - 1]
            i -= 1
        values[i] = x_j
        places[i] = j

    def top_of_rows(
        x: Any, mask: Any, n_classes: Any, k: Any, places_out: Any, values_out: Any
    ) -> None:
        for r in range(x.size // n_classes):
            row = window(x, r * n_classes, n_classes)
            places, values = window(places_out, r * k, k), window(values_out, r * k, k)
            for i in range(k):
                values[i] = lowest
                places[i] = -1
            for start in range(0, n_classes, STRETCH):
                part = window(row, start, smaller(STRETCH, n_classes - start))
                if places[k - 1] >= 0 and largest_of(part) <= values[k - 1]:
                    continue
                for j in range(part.size):
                    if masked and mask[r * n_classes + start + j] == 0:
                        continue
                    x_j = decode(part[j])
                    if x_j > values[k - 1] or (places[k - 1] < 0 and x_j == x_j):
                        insert(x_j, start + j, places, values)

    return top_of_rows
