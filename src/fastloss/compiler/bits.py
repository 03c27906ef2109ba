"""What one line of a loop does to the machine, bits of floats, and primitives in two precisions.

`intrinsics.py` and `moves.py` hold LLVM twins of some of these functions. When a kernel is
compiled, a twin replaces the plain function of the same name; the others are compiled as they
stand.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np


class ByPrecision:
    """A scalar primitive, as one function for float32 and one for float64, the documented one."""

    def __init__(
        self, name: str, float32: Callable[[Any], Any], float64: Callable[[Any], Any]
    ) -> None:
        self.name = self.__name__ = name
        self.float32 = float32
        self.float64 = float64
        self.__doc__ = float64.__doc__

    def __call__(self, x: Any) -> Any:
        if isinstance(x, np.float32):
            return self.float32(x)
        result = self.float64(np.float64(x))
        # A Python number stays one, which takes the precision of the numbers beside it.
        return result if isinstance(x, np.generic) else float(result)

    def __repr__(self) -> str:
        return f"<fastloss.scalar.{self.name}>"


# Functions that make a number of a type: adding it to zero (-0 leaves 0 and -0 as they are) takes a
# fifth of the time of `np.int32(i)`. With them, structures that read the bytes of one type as the
# other, for which NumPy's `view` takes three times as long.
_INT32, _INT64, _FLOAT32 = np.int32(0).__add__, np.int64(0).__add__, np.float32(-0.0).__add__
_FROM_FLOAT: Any = {
    np.float32: (struct.Struct("=i"), _INT32),
    np.float64: (struct.Struct("=q"), _INT64),
}
_FROM_INT: Any = {
    np.int32: (struct.Struct("=f"), _FLOAT32),
    np.int64: (struct.Struct("=d"), np.float64),
}


def float_as_int(x: Any) -> Any:
    """The bits of a float32 as an int32, those of a float64 as an int64."""
    read, make = _FROM_FLOAT[type(x)]
    return make(*read.unpack(x))


def int_as_float(i: Any) -> Any:
    """The float32 whose bits are the int32 `i`, the float64 whose bits are the int64 `i`."""
    read, make = _FROM_INT[type(i)]
    return make(*read.unpack(i))


def int_like(i: Any, x: Any) -> Any:
    """The low bits of the integer `i` in the integer type that is as wide as the float `x`.

    Numba widens int32 arithmetic to int64; when a result is brought back, LLVM does all of it in
    32 bits.
    """
    if not isinstance(x, np.float32):
        return _INT64(i)
    return i if isinstance(i, np.int32) else _INT32(((int(i) + 2**31) & 0xFFFFFFFF) - 2**31)


def next_larger(x: Any) -> Any:
    """The next larger number of the same type; after -inf the lowest, after inf and NaN NaN."""
    bits = np.int64(float_as_int(x))
    up = bits + 1 if x > 0 else bits - 1
    # After both zeros comes the smallest denormal number, whose bits are 1.
    return int_as_float(int_like(1 if x == 0 else up, x))


def half_as_float(h: Any) -> Any:
    """The float32 equal to the IEEE half whose bits are the uint16 `h`."""
    bits = np.int64(h)
    size = bits & 0x7FFF
    # The exponents differ by 112, and a product carries that over to denormal numbers too; infinity
    # and NaN have the largest exponent of either format.
    number = int_as_float(np.int32(size << 13)) * np.float32(2.0**112)
    shifted = np.int64(float_as_int(number))
    shifted = (size << 13) | 0x7F800000 if size >= 0x7C00 else shifted
    return int_as_float(np.int32((shifted | ((bits & 0x8000) << 16)) & 0xFFFFFFFF))


def float_as_half(x: Any) -> Any:
    """The uint16 bits of the IEEE half nearest to the float32 `x`, ties to even."""
    bits = np.int64(float_as_int(x)) & 0xFFFFFFFF
    size = bits & 0x7FFFFFFF
    # Rounding as in `float_as_bfloat`, with the exponent brought from bias 127 to 15.
    half: Any = (size - (112 << 23) + 0xFFF + ((size >> 13) & 1)) >> 13
    # The last place of 0.5 is the step of denormal halves: adding it rounds to that step.
    denormal = np.int64(float_as_int(int_as_float(np.int32(size)) + np.float32(0.5))) - 0x3F000000
    half = denormal if size < 0x38800000 else half
    half = 0x7C00 if size >= 0x477FF000 else half  # 65520 and more are nearest to infinity
    half = 0x7E00 if size > 0x7F800000 else half
    return np.uint16(half | ((bits >> 16) & 0x8000))


def bfloat_as_float(h: Any) -> Any:
    """The float32 equal to the bfloat16 whose bits are the uint16 `h`: its upper half."""
    return int_as_float(np.int32(np.int64(h) << 16))


def float_as_bfloat(x: Any) -> Any:
    """The uint16 bits of the bfloat16 nearest to the float32 `x`, ties to even; NaN stays NaN."""
    # Adding 0x7FFF carries into the upper half when the lower is past the middle; one more makes a
    # tie carry exactly when the upper half is odd. A NaN could carry into the sign or lose all of
    # its payload: its quiet bit is set instead.
    bits = np.int64(float_as_int(x))
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.uint16((rounded if x == x else (bits >> 16) | 0x40) & 0xFFFF)


def larger(a: Any, b: Any) -> Any:
    """The larger of two numbers of one type, neither of them NaN."""
    return a if a > b else b


def smaller(a: Any, b: Any) -> Any:
    """The smaller of two whole numbers.

    `min` and `max` are functions that Numba compiles for each kernel, at 30 ms each.
    """
    return a if a < b else b


def select(condition: Any, a: Any, b: Any) -> Any:
    """`a` where the condition holds, else `b`, both computed: a choice without a branch."""
    return a if condition else b


def accumulate(total: Any, term: Any) -> Any:
    """`total + term`, where the terms of a sum may be added in any order; both of one type.

    SIMD adds up every eighth or sixteenth number, and the sums of those at the end. This addition
    alone may be reordered: were all the arithmetic of a function free, LLVM could write
    `rest + (1 - 1)` as `(rest + 1) - 1`, in which a small rest is lost. Plain Python has one sum
    of all terms, so it has to be more exact than each of many.
    """
    return np.float64(total) + term


def add_product(total: Any, a: Any, b: Any) -> Any:
    """`total + a * b` for sums as of `accumulate`, rounded once where the processor can do that.

    LLVM fuses a product with a sum if nothing else needs the product. Said so, it always does, and
    a loss has the same bits with its gradient and without.
    """
    return np.float64(total) + a * b


def less_product(x: Any, n: Any, whole: Any, high: Any, low: Any) -> Any:
    """`x - n * whole`, as if the product were not rounded: `high + low` is the `whole` of it.

    In one instruction if the processor fuses products and sums; else in two steps, the first of
    which is exact: `high` has zeros at its end, for an `n` that is whole.
    """
    return (x - n * high) - n * low


def held(x: Any) -> Any:
    """A float, of which LLVM does not know that it is a constant.

    LLVM makes one value of a constant that several loops of a kernel need. No register is free for
    so long, and each turn of each loop then fetches it from memory: in the loop over exponentials
    25 instead of 21 instructions, and a twelfth of its time. If a function is called with what it
    holds, its loop keeps it in registers.
    """
    return x


def count(total: Any, condition: Any) -> Any:
    """An int32, and one more if the condition holds: one instruction for a vector of conditions."""
    return _INT32(int(total) + 1) if condition else total


def wide_vectors() -> None:
    """Let LLVM use 512-bit vectors in the function that calls this, the one that holds the loop.

    LLVM keeps to 256 bits in code for Intel's AVX-512 processors, the first of which lowered their
    clock for wider vectors: exp-and-sum then takes 0.22 instead of 0.14 ns a number. For Zen 4 and
    5 LLVM takes them untold, and without AVX-512 the attribute does nothing.
    """


def aligned_stack() -> None:
    """Let the stack of the function that calls this begin at a line of the caches.

    LLVM keeps constants there for which no registers are left, and otherwise every second vector
    of them reaches over the end of a line: 5 to 11% for losses of few classes (Zen 3).
    """


def disjoint() -> None:
    """Promise that the arrays given to the function that calls this share no memory.

    Else LLVM compares their addresses before each loop: for a loop over 64 numbers that costs more
    than its arithmetic (10.9 against 12.5 ns for a row of 10 classes).
    """


# Vectors that `interleaved` loops compute at a time. Eight take 8 to 15% less for focal and for
# log-cosh in the cache, and 10% more for squared errors and binary cross-entropy from memory.
INTERLEAVED = 4


def interleaved() -> None:
    """Have the loops of the function that calls this compute several vectors at a time, abreast.

    A long formula is a chain of steps that wait for each other, and a processor looks only so far
    ahead for others. LLVM fears that it runs out of registers, and computes one vector after the
    other: binary cross-entropy with logits then takes 0.51 instead of 0.42 ns a number.
    """


def prefetch(array: Any, start: Any, size: Any) -> None:
    """Ask memory for `size` elements from `start` on, and do not wait; they need not be there.

    A loop that computes reads slowly, and the hardware then does not fetch far ahead. To ask for
    the next row while this one is computed hides the trip to memory: 0.15 against 0.21 ns a number
    for the loss of rows of 32,768 float32 logits on one thread.
    """


def stream(source: Any, out: Any) -> None:
    """Copy the first numbers of `source` to `out`, past the caches; end with `settle`.

    An ordinary store first reads the line of memory that it is about to overwrite. That is a third
    of the traffic of a large gradient which nobody will find in the caches anyway.
    """
    out[:] = source[: out.size]


def prange(n: Any) -> Any:
    """The numbers below n, each of which may be computed on any thread, in any order."""
    return range(n)


def settle() -> None:
    """Wait until streamed numbers can be seen by other threads."""


def transpose(
    source: Any, start: Any, step: Any, target: Any, first: Any, stride: Any, side: int
) -> None:
    """Write `side` rows of so many numbers as columns; `side` is a constant, a power of two.

    `target[first + j * stride + i] = source[start + i * step + j]`, row by row of the target, so
    that where targets overlap the last one is whole. Squares reach past the edges of what is
    wanted; what is read there goes where nobody looks, and is NaN here.
    """
    square = np.full((side, side), np.nan, source.dtype)
    for i in range(side):
        row = source[start + i * step :][:side]
        square[i, : row.size] = row
    for j in range(side):
        target[first + j * stride :][:side] = square[:, j]


# What `split_pairs` and `join_pairs` take at a time.
PAIRS = 16


def split_pairs(source: Any, target: Any, n: Any) -> None:
    """Write the first numbers of `n` pairs, and behind them the second; `n` is a multiple of PAIRS.

    For two classes, where squares are mostly empty: the loss takes 10% less, its gradient 28%. As
    loops of its own they would add 5% to the time that a kernel takes to compile.
    """
    target[: 2 * n] = source[: 2 * n].reshape(n, 2).T.ravel()


def join_pairs(source: Any, target: Any, n: Any) -> None:
    """Write pairs of the first `n` numbers and those behind them; `n` is a multiple of PAIRS."""
    target[: 2 * n] = source[: 2 * n].reshape(2, n).T.ravel()


def window(array: Any, start: Any, size: Any) -> Any:
    """`array[start : start + size]` of a one-dimensional contiguous array, unchecked.

    Every window of an array that is absent, which is (), is (), too. A window does not keep its
    array alive: use the array once more behind the last use of the window.
    """
    return array[start : start + size]


def windows(array: Any, size: Any, count: int) -> Any:
    """The first `count` windows of `size` elements, one behind the other; `count` is a constant.

    As calls of `window`, the sums of a group of rows take twice as long to compile.
    """
    return tuple(window(array, k * size, size) for k in range(count))


def elements(array: Any, start: Any, count: int) -> Any:
    """The `count` elements from `start` on, as a tuple; `count` is a constant."""
    return tuple(array[start + k] for k in range(count))


# Bytes in a line of the caches; where lines are longer, this is a part of one.
LINE_BYTES = 64


def scratch(number: Any, size: Any) -> Any:
    """An array of `size` numbers of a type, not written yet, that starts a line of the caches.

    A vector that reaches over the end of a line takes two trips, and `np.empty` starts in the
    middle of one as often as not: that cost rows of 100 classes a third.
    """
    return np.empty(size, number)


def part_of(array: Any, number: Any, size: Any) -> Any:
    """Part `number` of an array that is cut into parts of `size`; the last may be shorter.

    Every part of an array that is absent, which is (), is (), too.
    """
    return array[number * size : (number + 1) * size]


def overlaps(result: Any, read: Any, free: Any) -> Any:
    """Whether `result` shares memory with any of the arrays `read`, or with a part of `free`.

    It may be `free` as a whole, number for number. Each of them may be absent, which is ().
    """
    if isinstance(result, tuple):
        return False
    ends = np.lib.array_utils.byte_bounds
    shares = [
        not isinstance(array, tuple) and np.may_share_memory(result, array)
        for array in (*read, free)
    ]
    in_place = shares[-1] and result.dtype == free.dtype and ends(result) == ends(free)
    return any(shares[:-1]) or (shares[-1] and not in_place)


def writeable(value: Any) -> Any:
    """`value` for a kernel, whose arrays may be written even where it only reads.

    Numba takes arrays that are constants of a function for read-only ones.
    """
    return value
