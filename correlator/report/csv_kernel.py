"""The inner loop that writes rows of a table as text."""

from __future__ import annotations

import numpy as np

from correlator.decode.compiled import allocating


@allocating
def write(values, words, begins, text, out):  # type: ignore[no-untyped-def]
    """Write the rows of ``values`` int64 (columns, n) to ``out`` uint8, separated as CSV is;
    returns the bytes written.

    Columns with ``words`` (columns,) of at least 0 hold codes (-1: none) of words, of which the
    first is so many words behind the first of all: ``text[begins[it] : begins[it + 1]]``. Others
    hold numbers."""
    digits = np.empty(20, dtype=np.uint8)
    at = 0
    for row in range(values.shape[1]):
        for column in range(values.shape[0]):
            value = values[column, row]
            if words[column] >= 0:
                if value >= 0:
                    for place in range(
                        begins[words[column] + value], begins[words[column] + value + 1]
                    ):
                        out[at] = text[place]
                        at += 1
            else:
                if value < 0:
                    out[at] = 45
                    at += 1
                    value = -value
                count = 0
                while value >= 10:
                    digits[count] = 48 + value % 10
                    value //= 10
                    count += 1
                out[at] = 48 + value
                at += 1
                while count:
                    count -= 1
                    out[at] = digits[count]
                    at += 1
            out[at] = 44
            at += 1
        out[at - 1] = 10
    return at
