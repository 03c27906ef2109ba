"""The CRC-32 of much data, on all threads: that of a whole is worked out from those of its pieces.

A CRC is the remainder of a polynomial over the two-element field, by

    P = x^32 + x^26 + x^23 + x^22 + x^16 + x^12 + x^11 + x^10 + x^8 + x^7 + x^5 + x^4 + x^2 + x + 1,

so that of A followed by n bytes B is crc(A) x^(8 n) + crc(B), modulo P. The highest power of x is
in the lowest bit. Source: M. Adler, zlib, `crc32_combine`.
"""

import zlib
from functools import lru_cache

from ...call import threads

# Bytes that a thread takes at a time. To join two pieces takes as long as 70 KiB of them.
PIECE = 2**21
_P = 0xEDB88320  # without x^32
_ONE = 1 << 31


def crc32(data: memoryview, value: int = 0) -> int:
    """The CRC of what `value` is the CRC of, followed by `data`: as `zlib.crc32(data, value)`.

    >>> crc32(memoryview(b"6789"), zlib.crc32(b"12345")) == zlib.crc32(b"123456789")
    True
    """
    pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
    found = [0] * len(pieces)

    def task(i: int) -> None:
        found[i] = zlib.crc32(pieces[i])

    threads.run(task, len(pieces))
    for piece, crc in zip(pieces, found, strict=True):
        value = _product(value, _power(8 * len(piece))) ^ crc
    return value


def _product(a: int, b: int) -> int:
    """a b modulo P."""
    product = 0
    for _ in range(32):
        product ^= b if a & _ONE else 0
        a = a << 1 & 0xFFFFFFFF
        b = b >> 1 ^ _P if b & 1 else b >> 1
    return product


@lru_cache
def _power(n: int) -> int:
    """x^n modulo P."""
    if n == 0:
        return _ONE
    root = _power(n // 2)
    square = _product(root, root)
    return _product(square, _ONE >> 1) if n % 2 else square
