"""exp, log, log1p, sigmoid and softplus against mpmath, libm and IEEE 754; the 16-bit formats."""

import math
import platform
import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import mpmath
import numpy as np
import pytest

from fastloss.compiler.bits import (
    float_as_bfloat,
    next_larger,
)
from fastloss.kernels import scalar
from fastloss.kernels.scalar import exp
from fastloss.kernels.storage import DECODED, STORED, bits_type, dtype_of
from trust.kinds import fuses
from trust.ulp import apply, arguments, around, errors_of, float64_errors, loop_of, worst

NAMES = ("exp", "log", "log1p", "sigmoid", "softplus")
# Primitives of the kernels that serve a part of all numbers, and that part.
PARTS = {"exp_of_gap": (-0.0, -math.inf), "log1p_of_share": (0.0, 1.0)}
# With products that are fused with sums, and without.
ALLOWED = {"exp_of_gap": (1.0, 1.2), "log1p_of_share": (1.25, 1.52)}
INF, NAN = math.inf, math.nan


# -------------------------------------------------------------------------------------------------
# float32: every number there is


def libm_exp(x):
    return math.exp(x)


def libm_log(x):
    return math.log(x)


def libm_log1p(x):
    return math.log1p(x)


def libm_sigmoid(x):
    e = math.exp(-abs(x))
    return (e if x < 0.0 else 1.0) / (1.0 + e)


def libm_softplus(x):
    return (0.0 if x < 0.0 else x) + math.log1p(math.exp(-abs(x)))


def bits_of(numbers):
    return [int(np.float32(number).view(np.uint32)) for number in numbers]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.long
def test_every_float32_against_the_float64_version(name):
    # The float64 version errs by 2**-28 float32 ulp, as is tested below, and is 10 times as fast as
    # libm: 7 s for all numbers. Of the two that are made of others, every 7th number, but all for
    # the page of docs/trust/.
    primitive = getattr(scalar, name)
    step = 7 if name in ("sigmoid", "softplus") else 1
    error, x = worst(errors_of(primitive, primitive), step)
    assert error <= 1.5, f"{name} errs by {error} ulp at {x!r}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.long
def test_many_float32_against_libm(name):
    errors = errors_of(getattr(scalar, name), globals()[f"libm_{name}"])
    error, x = worst(errors, step=61)
    assert error <= 1.5, f"{name} errs by {error} ulp at {x!r}"


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.long
def test_every_third_float32_of_a_part_against_libm(name):
    first, last = bits_of(PARTS[name])
    reference = libm_exp if name == "exp_of_gap" else libm_log1p
    error, x = worst(errors_of(getattr(scalar, name), reference), 3, first, last)
    fused, not_fused = ALLOWED[name]
    assert error <= (fused if fuses() else not_fused), f"{name} errs by {error} ulp at {x!r}"


constants_of_gaps, in_reach, factors_of_gap = scalar.gap_exponential(np.float32)


def exp_by_factors(x):
    c = constants_of_gaps()
    factor, power = factors_of_gap(in_reach(x, c), c)
    return np.float64(factor) * np.float64(power)


@pytest.mark.each_processor
def test_float32_exponentials_of_gaps_err_less_than_their_gaps_are_rounded():
    # From -2**-30 to -2**7, every 1009th number.
    x = -np.arange(*bits_of((2.0**-30, 2.0**7)), 1009, dtype=np.uint32).view(np.float32)
    found = np.empty(x.shape)
    loop_of(exp_by_factors)(x, found)
    found *= scalar.lift_unit(np.float32)
    exact = np.exp(x.astype(np.float64))
    allowed = (3.3 - x / 20.0) * 2.0**-24 * exact
    np.testing.assert_array_less(abs(found - exact), np.where(x > -104.0, allowed, 2.0**-149))


def test_exponentials_of_gaps_at_their_ends():
    odd = np.array([0.0, -0.0, -1e30, -INF, NAN])
    for number in (np.float32, np.float64):
        constants, reach, factors = scalar.gap_exponential(number)
        c = constants()
        found = [math.prod(factors(reach(x, c), c)) for x in odd.astype(number)]
        one = 1.0 / scalar.lift_unit(number)
        np.testing.assert_array_equal(found, [one, one, 0.0, 0.0, NAN])


def exceeds_one(x):
    return exp(x) > np.float32(1.0)


@pytest.mark.long
def test_exp_of_nonpositive_float32_is_at_most_one():
    found = loop_of(exceeds_one)

    def count(start):
        x = np.arange(start, start + (1 << 24), dtype=np.uint32).view(np.float32)
        out = np.empty(x.shape, np.bool_)
        found(x, out)
        return np.count_nonzero(out)

    negative = range(1 << 31, (1 << 31) + (255 << 23), 1 << 24)  # -0.0 to -inf, then NaN
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(count, negative)) == 0


# -------------------------------------------------------------------------------------------------
# float64: random and structured points


@pytest.mark.parametrize("name", [*NAMES, *PARTS])
def test_float64_against_mpmath(name):
    # The page of docs/trust/ takes 40 times as many.
    x = np.concatenate(arguments(name, np.random.default_rng(7), n=1000))
    errors = float64_errors(name, x, apply(getattr(scalar, name), x))
    assert not np.isnan(errors).any()
    assert errors.max() <= 2.0, f"{name} errs by {errors.max()} ulp at {x[errors.argmax()]!r}"


@pytest.mark.long
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_less_log1p_against_mpmath(dtype):
    """x - log(1 + x), which may err a little more, and in no place loses its digits."""
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.uniform(0, 4, 10_000), 2.0 ** rng.uniform(-60, 60, 10_000)])
    x = np.concatenate([x.astype(dtype), around(0.5, rng).astype(dtype)])
    results = apply(scalar.less_log1p, x)
    with mpmath.workprec(250):
        for argument, result in zip(x.tolist(), results.tolist(), strict=True):
            exact = mpmath.mpf(argument) - mpmath.log1p(mpmath.mpf(argument))
            error = abs(mpmath.mpf(result) - exact) / abs(exact) if exact else abs(result)
            assert error <= 4.5 * np.finfo(dtype).eps, f"less_log1p({argument!r}) is {result}"
    special = np.array([0.0, INF, NAN], dtype)
    np.testing.assert_array_equal(apply(scalar.less_log1p, special), special)


@pytest.mark.long
@pytest.mark.parametrize(("dtype", "allowed"), [(np.float32, 4.0), (np.float64, 6.5)])
def test_expm1_less_x_against_mpmath(dtype, allowed):
    """exp(x) - 1 - x, of either sign."""
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.uniform(-1, 1, 10_000), 2.0 ** rng.uniform(-50, 0, 5000)])
    x = np.concatenate([x, -x[10_000:]]).astype(dtype)
    results = apply(scalar.expm1_less_x, x)
    with mpmath.workprec(250):
        for argument, result in zip(x.tolist(), results.tolist(), strict=True):
            exact = mpmath.expm1(mpmath.mpf(argument)) - mpmath.mpf(argument)
            error = abs(mpmath.mpf(result) - exact)
            assert error <= allowed * np.finfo(dtype).eps * exact, f"{argument!r} gives {result}"
    special = np.array([0.0, NAN], dtype)
    np.testing.assert_array_equal(apply(scalar.expm1_less_x, special), special)


# -------------------------------------------------------------------------------------------------
# Special values, plain Python, and what the compiler made of it


SPECIAL = {
    "exp": {0.0: 1, INF: INF, -INF: 0, 1e4: INF, -1e4: 0, 1e30: INF, -1e30: 0},
    "exp_of_gap": {0.0: 1, -INF: 0, -1e4: 0, -1e30: 0},
    "log1p_of_share": {0.0: 0, 1e-30: 1e-30},
    "log": {0.0: -INF, 1.0: 0, INF: INF, -1.0: NAN, -INF: NAN, -1e-40: NAN},
    "log1p": {0.0: 0, -1.0: -INF, INF: INF, -1.5: NAN, -INF: NAN, 1e-30: 1e-30},
    "sigmoid": {0.0: 0.5, INF: 1, -INF: 0, 1e4: 1, -1e4: 0},
    "softplus": {0.0: math.log(2), INF: INF, -INF: 0, 1e4: 1e4, -1e4: 0},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*NAMES, *PARTS])
def test_special_values(name, dtype):
    x = np.array([*SPECIAL[name], -0.0, NAN], dtype)
    expected = np.array([*SPECIAL[name].values(), SPECIAL[name][0.0], NAN], dtype)
    primitive = getattr(scalar, name)
    np.testing.assert_array_equal(apply(primitive, x), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        np.testing.assert_array_equal([primitive(number) for number in x], expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_plain_python_agrees_with_compiled(name, dtype):
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(-20, 20, 200), rng.uniform(-2, 2, 200)]).astype(dtype)
    if name == "log":
        x = abs(x)
    if name == "log1p":
        x = x[x > -1]
    primitive = getattr(scalar, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = np.array([primitive(number) for number in x])
    assert plain.dtype == dtype
    fused = apply(primitive, x)
    assert np.all(abs(plain - fused) <= np.spacing(abs(fused)))


@pytest.mark.parametrize("name", NAMES)
def test_any_other_number_is_taken_as_float64(name):
    primitive = getattr(scalar, name)
    assert primitive(1) == primitive(np.float64(1.0))
    assert type(primitive(1)) is float  # which is float64, and weak beside other numbers
    assert name in repr(primitive)
    assert "ulp in float32" in primitive.__doc__


CALL_OF_LIBM = r"(?:callq?|jmpq?|movabsq)\s+\$?(?:exp|log|ldexp|floor|rint)\w*"

needs_x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="looks for x86 instructions"
)


def assembly_of(loop, dtype):
    """The machine code of a loop for arrays of `dtype`."""
    found = loop.inspect_asm().items()
    return "".join(text for signature, text in found if str(signature[0].dtype) == dtype.__name__)


@needs_x86
def test_a_call_of_libm_is_recognised():
    loop = loop_of(libm_exp)
    loop(np.ones(8), np.ones(8))
    assert re.search(CALL_OF_LIBM, assembly_of(loop, np.float64))


@needs_x86
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_loops_are_packed(name, dtype):
    loop = loop_of(getattr(scalar, name))
    x = np.ones(8, dtype)
    loop(x, x.copy())
    assembly = assembly_of(loop, dtype)
    suffix = "ps" if dtype is np.float32 else "pd"
    assert re.search(rf"v?(mul|fn?madd\w*){suffix}\s.*[xyz]mm", assembly)
    assert not re.search(CALL_OF_LIBM, assembly)


# -------------------------------------------------------------------------------------------------
# Bits


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_next_larger(dtype):
    finfo, rng = np.finfo(dtype), np.random.default_rng(0)
    size, sign = np.exp(rng.uniform(-100, 80, 3000)), rng.choice([-1, 1], 3000)
    ends = [-np.inf, -finfo.max, -finfo.tiny, -finfo.smallest_subnormal, -0.0, 0.0, finfo.tiny]
    x = np.append(size * sign, ends).astype(dtype)
    for numbers, found in modes(next_larger, x, dtype):
        np.testing.assert_array_equal(found, np.nextafter(numbers, dtype(np.inf)))
    assert not next_larger(dtype(np.inf)) < np.inf
    assert math.isnan(next_larger(dtype(np.nan)))


# -------------------------------------------------------------------------------------------------
# What is stored in few bits


def patterns_of(dtype):
    """All that its bits may be."""
    return np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}")


@pytest.fixture(params=DECODED)
def storage(request):
    """A dtype of someone else's making, and our functions from and to its bits."""
    row = STORED[request.param]
    return dtype_of(row.name), row.decode, row.encode


def modes(function, x, dtype):
    """What a function gives compiled and, for some of the numbers, in plain Python."""
    yield x, apply(function, x, dtype)
    some = x[:: max(1, x.size // 3000)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield some, np.array([function(number) for number in some], dtype)


def test_every_pattern_decodes(storage):
    dtype, decode, _ = storage
    for patterns, decoded in modes(decode, patterns_of(dtype), np.float32):
        np.testing.assert_array_equal(decoded, patterns.view(dtype).astype(np.float32))


def test_encoding_rounds_once_to_nearest_even(storage):
    dtype, _, encode = storage
    exact = patterns_of(dtype).view(dtype).astype(np.float32)
    exact = exact[np.isfinite(exact)]
    ordered = np.unique(exact).astype(np.float64)
    ties = ((ordered[1:] + ordered[:-1]) / 2).astype(np.float32)
    rng = np.random.default_rng(1)
    anything = rng.integers(0, 1 << 32, 200_000, dtype=np.uint32).view(np.float32)
    usual = rng.normal(size=100_000).astype(np.float32)
    special = np.array([INF, -INF, NAN, 65519.0, 65520.0, 3.4028235e38, 1e-45], np.float32)
    beside = [np.nextafter(ties, np.float32(side)) for side in (-np.inf, np.inf)]
    x = np.concatenate([exact, ties, *beside, anything, usual, special])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for numbers, encoded in modes(encode, x, bits_type(dtype.name)):
            nan = np.isnan(numbers)
            expected = numbers[~nan].astype(dtype).view(bits_type(dtype.name))
            np.testing.assert_array_equal(encoded[~nan], expected)
            assert np.isnan(encoded[nan].view(dtype).astype(np.float32)).all()


def test_a_nan_whose_payload_lies_in_the_lost_bits_stays_nan():
    x = np.array([0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    for _, encoded in modes(float_as_bfloat, x, np.uint16):
        assert np.all((encoded & 0x7F80) == 0x7F80)
        assert np.all((encoded & 0x7F) != 0)
