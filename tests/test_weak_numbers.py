"""Numbers written in a scalar function: compiled code types them as NumPy has it."""

import math
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from plain import partly_long

import fastloss as fl
from fastloss.compiler import jit
from fastloss.compiler.snapshot import snapshot
from fastloss.scalar import exp, log1p, sigmoid

# What the expressions below use besides the names of this file.
SCOPE = {"math": math, "exp": exp, "log1p": log1p, "sigmoid": sigmoid}

TABLE = (0.5, 1.5, 2.5, 0.1)
WHOLE = (1, 2, 3)
MIXED = (1, 2.5)
DOUBLES = np.array([0.1, 0.2, 0.3])
SINGLES = np.array([0.1, 0.2, 0.3], np.float32)
COUNT, SHARE, TINY, HUGE = 3, 0.999, 1e-12, 10**20
NAMED = namedtuple("Named", "factor limit count")(0.1, 3.5, 2)


def weighed(a: Any, b: Any) -> Any:
    return a * 0.1 + b * (1 - 0.999)


def half(k: Any) -> Any:
    return k / 2


def doubled(numbers: Any) -> Any:
    return 2 * numbers[0]


def constant() -> Any:
    return 0.1


def weighed_sum(x: Any, n: Any) -> Any:
    total = 0
    for i in range(n):
        total += x * i
    return total


def sum_of_table(x: Any) -> Any:
    i, total = 0, 0.0
    while i < 3:
        total += TABLE[i] * x
        i += 1
    return total


def count_below(x: Any) -> Any:
    n = 0
    for limit in TABLE:
        if x > limit:
            n += 1
    return n


def swapped(x: Any, y: Any) -> Any:
    a, b = 0.1, 2
    if x > y:
        a, b = b, a
    return a * x


# What each gives is a number of the data, a whole number or a truth. `y` is whole.
EXPRESSIONS = """
x * (int(y) * 16777217 - 16777216)
x * (int(y) * 16777217.0 - 16777216.0)
x * (int(y) / 3 - 0.333333333)
TABLE[int(y) + 1] * x
TABLE[len(TABLE) - 1] * x
WHOLE[int(y)]
WHOLE[int(y)] * x
[0.5, 1.5][int(y) % 2] * x
MIXED[0] * x + MIXED[1]
NAMED.factor * x
NAMED.count // 2 * x
int(y) // 2
int(y) % 2 * x
int(y) & 1
(int(y) << 2) + x
-int(y) // 2 * x
~int(y)
max(int(y), 1)
max(int(y), 1) * x
max(x, 0)
max(0, x)
max(x, 0.1)
min(x, y, 0.5) * x
abs(-0.1) * x
abs(int(y) - 3) * x
divmod(int(y), 2)[0] * x
x ** 2
x ** int(y)
x ** 0.5
x ** -1
2 ** x
2 ** int(y) * x
int(y) ** 2
x // 1
1 // x
x % 0.3
(1 - SHARE) * x
(1 - SHARE) / TINY * x
COUNT * x + SHARE
COUNT / 7 * x
HUGE * x
1e200 * TINY * 1e-190 * x
1 / 3 * x
1 / (1 + x)
-x
x if x < math.inf else 0
math.pi * x
x > 0.1
x == 0.3
x < 16777217
x in (0.1, 0.2, 1.5)
int(x)
int(x) / 2 * y
float(int(y)) / 3 * x
float(x) * 0.1 + x
np.float64(x) * 0.1
np.float64(x) * y
np.float64(x) - np.float64(y)
np.float32(0.1) * 3
np.float32(0.1) * x
DOUBLES[int(y)] * x
SINGLES[int(y)] * x
SINGLES[int(y)] * 0.5
math.sqrt(2) * x
math.exp(0.5) * x
math.floor(x) * y
round(x)
np.exp(x)
np.log(1 + x * x)
np.maximum(x, 0)
np.minimum(0.5, x)
np.power(x, 2)
exp(-0.1 * x)
log1p(0.1) * x
sigmoid(2) * x
weighed(0.1, x)
weighed(x, 2)
weighed(1, 3) * x
half(int(y)) * x
half(0.1) * x
half(half(1)) * x
doubled(NAMED) * x
doubled((x, y))
constant() * x
weighed_sum(x, 4)
sum_of_table(x)
count_below(x)
swapped(x, y)
(x > 0) * x
x * x * 0.1 + 0.2 * x - 0.3
""".strip().splitlines()

_KINDS = {"float32": np.float32, "float64": np.float64, "int64": (int, np.integer)}
_KINDS |= {"bool": (bool, np.bool_)}


@pytest.mark.parametrize(
    ("dtype", "expressions"),
    [(np.float32, EXPRESSIONS), (np.float64, EXPRESSIONS[::3])],
    ids=["float32", "float64"],
)
@pytest.mark.long
def test_types_are_those_of_plain_python(dtype, expressions):
    """All in one function, of which each calls another: that is compiled as a loss's is."""
    names = [f"e{i}" for i in range(len(expressions))]
    source = [f"def {n}(x, y): return {e}" for n, e in zip(names, expressions, strict=True)]
    source.append(f"def call(x, y): return {', '.join(f'{n}(x, y)' for n in names)}")
    scope = globals() | SCOPE
    exec("\n".join(source), scope)
    call = scope["call"]
    compiled = jit.dispatcher(snapshot(call))
    for x, y in ((1.5, 1), (0.3, 2), (2.7, 0)):
        with np.errstate(over="ignore"):
            plain = call(dtype(x), dtype(y))
        found = compiled(dtype(x), dtype(y))
        kinds = compiled.nopython_signatures[-1].return_type.types
        for text, kind, expected, value in zip(expressions, kinds, plain, found, strict=True):
            assert isinstance(expected, _KINDS[str(kind)]), (text, kind, type(expected))
            error = 4 * np.finfo(expected.dtype).eps if isinstance(expected, np.floating) else 0
            assert abs(float(value) - float(expected)) <= error * abs(float(expected)), text


@dataclass(frozen=True)
class Binned(fl.ElementwiseLoss):
    """Everything that failed to compile, or lost digits, in float32."""

    sharpness: float = 2.5
    most: int = 2
    step: "int" = 1  # a constant of the code
    none: int | None = None

    derived = ("ends",)

    @property
    def ends(self) -> int:
        return self.most + self.step

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        i = 0
        for _ in range(self.ends):
            if i < self.most and y_true > i:
                i += self.step
        place = max(int(y_true), 1)
        weight = TABLE[int(y_true) + 1] + TABLE[self.ends] + (place & 1) + int(y_true) // self.most
        weight = weight * (place * 16777217 - 16777216 * place) + i / 3
        r = y_pred * self.sharpness
        return weight * r * r, 2 * weight * r * self.sharpness, 0 if place > 5 else 1


@partly_long(1, "dtype", [np.float32, np.float16, np.float64])
def test_whole_numbers_in_a_loss(dtype):
    y_true, y_pred = np.array([0, 1, 2]), np.array([1.5, -0.5, 2.0])
    place, i = np.maximum(y_true, 1), np.minimum(y_true, 2)
    weight = np.array(TABLE)[y_true + 1] + 0.1 + (place & 1) + y_true // 2
    weight = weight * place + i / 3
    r = 2.5 * y_pred
    grad, hess = Binned(reduction="sum").grad_hess(y_true.astype(dtype), y_pred.astype(dtype))
    error = {np.float16: 1e-3, np.float32: 1e-6, np.float64: 1e-15}[dtype]
    np.testing.assert_allclose(grad, 5 * weight * r, rtol=error)
    np.testing.assert_array_equal(hess, 1)
    losses = Binned(reduction="none")(y_true.astype(dtype), y_pred.astype(dtype))
    np.testing.assert_allclose(losses, weight * r * r, rtol=max(error / 1000, 1e-15, 2e-6))
