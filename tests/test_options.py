"""Options that float32 cannot hold, numbers that follow from options, and the ends of ranges."""

import copy
import gc
import inspect
import itertools
import math
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from plain import forget, plain

import fastloss as fl
from fastloss.bases import shared
from fastloss.call.plan import Call
from fastloss.call.verbs import VALUE
from fastloss.catalogue import entries

pytestmark = plain
F = np.float32
INF, NAN = math.inf, math.nan
TINY = 2.0**-149  # the smallest float32 above 0


class Series:
    """As of pandas: no array, but it can be made one."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.values, dtype)


# ---------------------------------------------------------------------------------------------
# What float32 does not hold, or only once it has been computed with


def in_both(loss: fl.Loss, y_true: Any, y_pred: Any) -> Any:
    """Loss and gradient of data that float32 holds, in float32 and in float64."""
    data = F(y_true), F(y_pred)
    single = loss.value_and_grad(*data)
    return single, loss.value_and_grad(*(each.astype(np.float64) for each in data))


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred"),
    [
        (fl.Tweedie(power=1.0001), [1, 3], [0.5, -2]),
        (fl.Tweedie(power=1 + 1e-8), [1, 3], [0.5, -2]),
        (fl.Tweedie(power=2 - 1e-8), [1, 3], [0.5, -2]),
        (fl.Tweedie(power=[1.0001, 1.5]), [[1, 3]], [[0.5, -2]]),
        (fl.Fair(c=1e20), [0, 0, 0], [3, -1e-5, 1e15]),
        (fl.Fair(c=3e38), [0, 0], [3, -1e-5]),
        (fl.Fair(c=1e-30), [0, 0], [3, 1e10]),
        (fl.Huber(delta=1e300), [0, 0], [3, -1e15]),
        (fl.Huber(delta=INF), [0, 0, 0], [3, -1e15, INF]),
        (fl.Huber(delta=[1e300, 1.0]), [[0, 0]], [[3, -3]]),
        (fl.SmoothL1(beta=1e-300), [0, 0], [3, 0]),
        (fl.Quantile(q=1 - 1e-12), [0, 0], [3, -3]),
        (fl.Quantile(q=1e-300), [0, 0], [3, -3]),
        (fl.AbsolutePercentageError(epsilon=1e-300), [0, 2], [0, 3]),
        (fl.AbsolutePercentageError(epsilon=1e39), [0, 0], [0, 1e38]),
        (fl.BinaryCrossEntropyWithLogits(pos_weight=1e-300), [1, 0], [3, 3]),
        (fl.BinaryCrossEntropyWithLogits(label_smoothing=1 - 1e-9), [1, 0], [3, 3]),
        (fl.BinaryFocal(gamma=1e-300), [1, 0], [3, 3]),
        (fl.BinaryFocal(gamma=1e15), [1, 0], [3, -3]),
        (fl.BinaryCrossEntropy(log_floor=-1e-300), [1, 0], [0.5, 0.5]),
        (fl.Dice(smooth=1e39), [[1, 0]], [[0.5, 0.5]]),
        (fl.Tversky(smooth=1e39), [[1, 0]], [[0.5, 0.5]]),
        (fl.Tversky(smooth=1e-300), [[1, 0]], [[0.5, 0.5]]),
        (fl.Tversky(alpha=1e30), [[1, 0]], [[0.5, 0.5]]),
        (fl.Tversky(alpha=1e-300), [[1, 0]], [[0.5, 0.5]]),
    ],
    ids=str,
)
def test_float32_has_the_numbers_of_float64(loss, y_true, y_pred):
    single, double = in_both(loss, y_true, y_pred)
    assert single[0] == pytest.approx(double[0], rel=2e-6)
    np.testing.assert_allclose(single[1], double[1], rtol=2e-6, atol=TINY)


EXTREME = (1e-300, 1e-30, 1 - 1e-12, 1 + 1e-8, 2 - 1e-8, 1e15, 1e30, 1e39, 1e300, INF)
EXTREME += (-1e-300, -1.0, -1e39)
WITH_OPTIONS = [entry for entry in entries() if entry.options]


def unless_refused(option: str, use: Any) -> Any:
    """What `use` returns, or None if it says what is wrong with the option."""
    try:
        return use()
    except (TypeError, ValueError) as error:
        if option not in str(error):
            raise
        return None


@pytest.mark.parametrize("entry", WITH_OPTIONS, ids=lambda entry: entry.name)
def test_float32_has_the_numbers_of_float64_or_refuses_the_option(entry):
    """Each option that is a number, of each loss that there is."""
    numbers = [name for name, value in entry.options.items() if not isinstance(value, bool)]
    for option, value in itertools.product(numbers, EXTREME):
        loss = unless_refused(option, lambda o=option, v=value: getattr(fl, entry.name)(**{o: v}))
        if loss is None:
            continue
        y_true, y_pred = (
            max(low, -2) + (min(high, 3) - max(low, -2)) * np.array(where, F)
            for (low, high), where in (
                (loss.y_true_range, [[0, 1], [1, 0]]),
                (loss.y_pred_range, [[0.5, 0.25], [0.625, 0.75]]),
            )
        )
        y_true = np.array([0, 1]) if entry.y_true.takes[0] == "class ids" else y_true
        single = unless_refused(option, lambda: loss.value_and_grad(y_true, y_pred))  # noqa: B023
        if single is None:
            continue
        double = loss.value_and_grad(y_true, y_pred.astype(np.float64))
        with np.errstate(over="ignore"):
            for found, right in zip(single, double, strict=True):
                np.testing.assert_allclose(F(found), F(right), rtol=4e-6, atol=1000 * TINY)


def test_known_values_of_extreme_options():
    near_poisson = fl.Tweedie(power=1.0001).value_and_grad(F([1]), F([0.5]))[0]
    exact = math.exp(0.9999 * 0.5) / 0.9999 + math.exp(-0.0001 * 0.5) / 0.0001
    assert near_poisson == pytest.approx(exact, rel=1e-7)
    r = np.array([0.5, -3.0, 1e10])
    assert fl.Huber(delta=INF)(r * 0, r) == np.mean(r * r) / 2
    assert fl.Huber(delta=INF)([0.0], [INF]) == INF
    for c, dtype in ((1e20, F), (1e300, np.float64)):
        half_squares = fl.Fair(c=c, reduction="none")((r * 0).astype(dtype), r.astype(dtype))
        np.testing.assert_allclose(half_squares, r * r / 2, rtol=1e-6)
    for c, dtype in ((1e-30, F), (1e-300, np.float64)):
        assert fl.Fair(c=c)(dtype([0]), dtype([1e10])) == pytest.approx(c * 1e10, rel=1e-6)
    steep = fl.AbsolutePercentageError(epsilon=1e-300).value_and_grad(F([0, 0]), F([0, 1]))
    assert steep[0] == INF
    np.testing.assert_array_equal(steep[1], [0, INF])


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (fl.Huber(delta=1e-300), "delta is 1e-300, which float32 rounds to 0"),
        (fl.SmoothL1(beta=1e39), r"beta is 1e\+39, which float32 rounds to inf"),
        (fl.Fair(c=1e39), r"c is 1e\+39, which float32 rounds to inf"),
        (fl.BinaryCrossEntropyWithLogits(pos_weight=[1.0, 10**39]), r"pos_weight\[1\] is 1e\+39"),
        (fl.BinaryCrossEntropy(log_floor=-1e39), r"log_floor is -1e\+39, .* rounds to -inf"),
    ],
)
def test_what_has_no_limit_is_refused(loss, message):
    data = np.full((1, 2), 0.5)
    out = np.full((1, 2), 7, F)
    with pytest.raises(ValueError, match=message):
        loss.grad(F(data), F(data), out=out)
    assert (out == 7).all()
    loss.grad(data, data)  # the remedy


@pytest.mark.parametrize("dtype", [F, np.float64])
def test_caps_and_temperatures_that_the_arithmetic_does_not_hold(dtype):
    largest = float(np.finfo(dtype).max)
    logits = np.array([[1, 2]], dtype)
    plain_loss = fl.cross_entropy([0], logits)
    assert fl.CrossEntropy(softcap=largest)([0], logits) == pytest.approx(plain_loss, rel=1e-6)
    hot = fl.CrossEntropy(temperature=1e300)([0], logits)
    assert hot == pytest.approx(math.log(2), rel=1e-6)
    too_small = 0.1 / largest
    options = [{"softcap": too_small}, {"temperature": too_small}]
    options += [{"softcap": 1e39}] if dtype is F else []
    for option in options:
        with pytest.raises(ValueError, match=rf"{next(iter(option))} is .*{np.dtype(dtype)}, must"):
            fl.CrossEntropy(**option)([0], logits)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: fl.Huber(delta=n), "delta is larger than any number that float64 can hold"),
        (lambda n: fl.Quantile(q=[0.5, n]), r"q\[1\] is larger than any"),
        (lambda n: fl.CrossEntropy(temperature=n), "temperature is larger than any"),
        (lambda n: fl.CrossEntropy(ignore_index=n), "ignore_index is larger than any"),
        (lambda n: fl.Tversky(alpha=min(n, 1e31)), r"alpha is 1e\+31, .* between 0 and 1e\+30"),
        (lambda n: fl.BinaryFocal(gamma=min(n, 1e16)), "gamma is 1e.16, .* between 0 and 1e.15"),
        (lambda n: fl.Fair(c=INF), "c is inf, but must be finite"),
        (lambda n: fl.Huber(delta=math.nan), "delta is nan, but must be 0 or more"),
    ],
)
def test_numbers_too_large_for_an_option(make, message):
    with pytest.raises(ValueError, match=message):
        make(10**400)


# ---------------------------------------------------------------------------------------------
# The ends of ranges, and gradients near the optimum


@pytest.mark.parametrize("dtype", [F, np.float64])
def test_counts_and_amounts_at_the_ends(dtype):
    y, m = dtype([1, 0, 1, 0]), dtype([INF, INF, 0, 0])
    poisson = fl.Poisson(log_input=False, reduction="none")
    np.testing.assert_array_equal(poisson(y, m), [INF, INF, INF, 0])
    grad, hess = poisson.grad_hess(y, m)
    np.testing.assert_array_equal(grad, [1, 1, -INF, 1])
    np.testing.assert_array_equal(hess, [0, 0, INF, 0])
    gamma = fl.Gamma(log_input=False, reduction="none")
    np.testing.assert_array_equal(gamma(y, m), [INF, INF, INF, -INF])
    grad, hess = gamma.grad_hess(y, m)
    np.testing.assert_array_equal(grad, [0, 0, -INF, INF])
    np.testing.assert_array_equal(hess, [0, 0, INF, -INF])
    for loss in (fl.poisson, fl.gamma, fl.tweedie):
        value, grad = loss.value_and_grad(dtype([1, 1]), dtype([INF, -INF]))
        assert value == INF
        assert not np.isnan(grad).any()


@pytest.mark.parametrize("dtype", [F, np.float64])
def test_logarithms_of_nothing(dtype):
    y, p = dtype([-1, -1, 0, INF, 0, NAN, -1]), dtype([-1, 0, -1, 0, INF, -1, NAN])
    loss = fl.SquaredLogError(reduction="none")
    np.testing.assert_array_equal(loss(y, p), [0, INF, INF, INF, INF, NAN, NAN])
    grad, hess = loss.grad_hess(y, p)
    np.testing.assert_array_equal(grad, [0, INF, -INF, -INF, 0, NAN, NAN])
    np.testing.assert_array_equal(hess, [INF, -INF, INF, INF, 0, NAN, NAN])


@pytest.mark.parametrize("dtype", [F, np.float64])
def test_probabilities_at_the_ends(dtype):
    y, p = dtype([0, 1, 0, 1, 0.5, 0.5]), dtype([0, 1, 1, 0, 0, 1])
    bare = fl.BinaryCrossEntropy(log_floor=-INF, reduction="none")
    np.testing.assert_array_equal(bare(y, p), [0, 0, INF, INF, INF, INF])
    np.testing.assert_array_equal(bare.grad(y, p), [1, -1, INF, -INF, -INF, INF])
    floored = fl.BinaryCrossEntropy(reduction="none")
    np.testing.assert_array_equal(floored(y, p), [0, 0, 100, 100, 50, 50])
    np.testing.assert_array_equal(floored.grad(y, p), [1, -1, 0, 0, 0.5, -0.5])


@pytest.mark.parametrize(
    ("loss", "slope"),
    [
        (fl.Poisson(log_input=False), lambda y, m: (m - y) / m),
        (fl.Gamma(log_input=False), lambda y, m: (m - y) / m**2),
        (fl.BinaryCrossEntropy(), lambda y, m: (m - y) / (m * (1 - m))),
        (fl.msle, lambda y, m: 2 * np.log1p((m - y) / (1 + y)) / (1 + m)),
    ],
    ids=lambda value: repr(value) if isinstance(value, fl.Loss) else "slope",
)
@pytest.mark.parametrize("dtype", [F, np.float64])
def test_gradients_near_the_optimum_keep_their_digits(loss, slope, dtype):
    y = np.linspace(0.05, 0.95, 19).astype(dtype)
    m = (y * dtype(1 + 64 * np.finfo(dtype).eps)).astype(dtype)
    exact = slope(y.astype(np.longdouble), m.astype(np.longdouble)) / y.size
    grad = loss.grad(y, m)
    np.testing.assert_allclose(grad, exact.astype(np.float64), rtol=6 * np.finfo(dtype).eps)


def test_hessian_of_amounts_at_twice_the_mean_keeps_its_digits():
    y = np.linspace(0.05, 0.95, 19).astype(F)
    m = (2 * y * F(1 + 2.0**-18)).astype(F)
    y64, m64 = y.astype(np.float64), m.astype(np.float64)
    hess = fl.Gamma(log_input=False, reduction="sum").grad_hess(y, m)[1]
    np.testing.assert_allclose(hess, (2 * y64 - m64) / m64**3, rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred"),
    [
        (fl.binary_cross_entropy, [0, 1, 0.5, 0, 1], [0, 1, 1e-6, 1e-9, 1 - 1e-9]),
        (fl.BinaryCrossEntropy(log_floor=-INF), [0, 1, 1, 0.5], [0, 1, 0, 1]),
        (fl.msle, [0, 3, 0, -0.5], [-1, -1, -0.999999, -0.5]),
        (fl.Poisson(log_input=False), [0, 0, 1, 1], [0, 1e-9, 0, 1e-5]),
        (fl.Gamma(log_input=False), [1, 1], [0, 1e-5]),
        (fl.gaussian_nll, [0, 1], [[0, 1e-6], [0, 1e-3]]),
        (fl.categorical_cross_entropy, [[0, 1]], [[0, 1]]),
        (fl.kl_divergence, [[0, 1]], [[0, 1]]),
        (fl.dice, [[0, 1]], [[0, 1]]),
    ],
    ids=str,
)
def test_derivatives_are_checked_at_the_ends_too(loss, y_true, y_pred):
    loss.check_gradient(np.float64(y_true), np.float64(y_pred))


# ---------------------------------------------------------------------------------------------
# Losses of one's own, whose classes do as they please


@dataclass(frozen=True)
class Own(fl.ElementwiseLoss):
    """Calls no parent, has a field that cannot be given, and an attribute that is no field."""

    scale: float = 1.0
    twice: bool = False
    hidden: int = field(default=3, init=False)
    note: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", (type(self.scale).__name__, 0.5))
        object.__setattr__(self, "note", self.note or ("none",))

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = (y_pred - y_true) * self.scale
        return r * r, 2 * r * self.scale, 1 / self.scale


class Handmade(fl.ElementwiseLoss):
    """No dataclass, with an `__init__` that calls no parent."""

    def __init__(self, how: str = "mean") -> None:
        object.__setattr__(self, "reduction", how)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        return y_pred - y_true, 1


def test_options_are_settled_whatever_a_class_does():
    for make in (lambda: Own(reduction="Mean"), lambda: Handmade("Mean")):
        with pytest.raises(ValueError, match="reduction is 'Mean', but must be one of"):
            make()
    for given in (np.float32(3), np.int64(3), np.array(3.0), 3):
        loss = Own(scale=given)
        assert type(loss.scale) in (int, float)
        assert loss.table[0] in ("int", "float")  # before the class looks at it
        assert loss == Own(scale=3.0)
        assert hash(loss) == hash(Own(scale=3.0))
        assert loss([0.0], [1.0]) == 9
    assert Own(twice=np.True_).twice is True
    assert Own(scale=Series([1, 2.5])).scale == (1, 2.5)
    with pytest.raises(ValueError, match="scale is larger than any number"):
        Own(scale=10**400)
    with pytest.raises(ValueError, match=r"scale is 1e\+39, which float32 rounds to inf"):
        Own(scale=1e39)(F([0]), F([1]))
    with pytest.raises(ValueError, match="scale is 1e-50, which float32 rounds to 0"):
        Own(scale=1e-50)(F([0]), F([1]))
    assert Handmade("sum")([0.0, 0.0], [1.0, 2.0]) == 3


@dataclass(frozen=True)
class Terms(fl.ElementwiseLoss):
    """The first terms of exp(r)."""

    n: int = 3

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        r = y_pred - y_true
        term, loss, slope = 1.0, 0.0, 0.0
        for k in range(self.n):
            slope += term
            term *= r / (k + 1)
            loss += term
        return loss, slope


def test_integers_stay_such():
    for given in (3, np.int8(3), np.uint64(3)):
        loss = Terms(n=given)
        assert loss == Terms()
        assert loss([F(1)], [F(3)]) == pytest.approx(2 + 2 + 4 / 3)
    two = Terms(n=[1, 2], reduction="sum").grad([[0.0, 0.0]], [[2.0, 2.0]])
    assert two.tolist() == [[1.0, 3.0]]
    for given in (3.0, True, "3", [1, 2.5]):
        with pytest.raises(TypeError, match=r"n(\[1\])? must be an integer, got"):
            Terms(n=given)
    for given in (2**63, -(2**63) - 1, [1, 2**63]):
        with pytest.raises(ValueError, match="but must fit into 64 bits"):
            Terms(n=given)
    for dtype, given in ((F, 2**24 + 1), (np.float64, 2**53 + 1)):
        loss = Terms(n=[0, given])
        name = np.dtype(dtype).name
        with pytest.raises(ValueError, match=rf"n\[1\] is .*, which {name} rounds"):
            loss(np.zeros((1, 2), dtype), np.zeros((1, 2), dtype))


def test_equal_options_are_the_same_option():
    zeros = Own(scale=-0.0), Own(scale=0.0), Own(scale=0)
    for loss in zeros + zeros[::-1]:
        assert loss == zeros[0]
        assert loss.grad_hess([0.0], [1.0])[1] == [INF]
    assert math.copysign(1, Own(scale=[-0.0, 1]).scale[0]) == 1


# ---------------------------------------------------------------------------------------------
# What equal losses share


@dataclass(frozen=True)
class Anything(fl.ElementwiseLoss):
    """Has an option of any kind, and something that is no option."""

    option: Any = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", STATE)

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        return y_pred - y_true, 1.0


STATE: Any = 0
# Each with another that Python takes for equal, or prints alike.
OPTIONS: list[tuple[Any, Any]] = [
    (1, True),
    (1, 1.0),
    ("1", 1),
    ((1.0,), (1,)),
    ((0.0, 1.0), (-0.0, 1.0)),
    (("a",), ["a"]),
]


def family(loss: fl.Loss) -> Any:
    return loss._family


def test_equal_losses_share_what_is_known():
    makers = [
        fl.CrossEntropy,
        fl.SquaredError,
        lambda **more: fl.CrossEntropy(temperature=2, class_weight=[1, 2], **more),
        lambda **more: fl.Quantile(q=[0.25, 0.5], **more),
        lambda **more: fl.Dice(smooth=2.0, **more),
        lambda **more: Anything((NAN, "a", None), **more),
    ]
    families = {family(make(reduction=how)) for make in makers for how in ("mean", "none")}
    assert len(families) == 2 * len(makers)
    for make in makers:
        assert {family(make()), family(make(reduction="none"))} <= families
    assert family(copy.copy(fl.mse)) is family(fl.mse)
    assert family(pickle.loads(pickle.dumps(fl.cross_entropy))) is family(fl.cross_entropy)


@pytest.mark.parametrize(("one", "other"), OPTIONS)
def test_losses_that_only_look_equal_share_nothing(one, other, monkeypatch):
    """Be it an option or not."""
    monkeypatch.setitem(globals(), "STATE", one)
    loss = Anything()
    monkeypatch.setitem(globals(), "STATE", other)
    assert family(loss) is not family(Anything())
    if not isinstance(other, tuple):  # of a tuple, as of numbers, -0.0 becomes 0.0
        assert family(Anything(one)) is not family(Anything(other))


def test_what_is_no_option_tells_losses_apart(monkeypatch):
    for state in (1, 2, True):
        before = family(Anything())
        monkeypatch.setitem(globals(), "STATE", state)
        assert family(Anything()) is not before
    for special in (np.arange(3.0), [1.0], {1: 2}, object(), math.exp, tuple(range(2000))):
        monkeypatch.setitem(globals(), "STATE", special)
        assert family(Anything()) is not family(Anything())


def test_what_a_class_says_is_looked_at_each_time(monkeypatch):
    assert fl.Huber(delta=3.0)([-1.0], [0.0]) == 0.5
    monkeypatch.setattr(fl.Huber, "y_true_range", (0.0, INF))
    with pytest.raises(ValueError, match="this loss takes 0 and more"):
        fl.Huber(delta=3.0)([-1.0], [0.0])


def test_a_function_that_is_replaced_is_that_of_losses_built_later(monkeypatch):
    assert fl.Huber(delta=3.0)([0.0], [2.0]) == 2.0
    monkeypatch.setattr(fl.Huber, "scalar", fl.AbsoluteError.scalar)
    assert fl.Huber(delta=3.0)([0.0], [2.0]) == 2.0
    assert fl.Huber(delta=3.0)([0.0], [3.0]) == 3.0


def test_whatever_a_class_says_may_be_replaced(monkeypatch):
    """Seen by losses that are built later; be it a function, a property or a table."""

    class Scaled(fl.ElementwiseLoss):
        hessians: ClassVar[Any] = {"half": lambda self, y_true, y_pred, results: 0.5}
        derived = ("scale",)

        @property
        def scale(self) -> float:
            return 2.0

        def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
            r = y_pred - y_true
            return self.scale * r, self.scale, 0

    class Derived(Scaled):
        pass

    def results(own: Any) -> tuple[float, float]:
        return own()([0.0], [1.0]), own(hessian="half").grad_hess([0.0], [1.0])[1].item()

    for own in (Scaled, Derived):
        assert results(own) == (2.0, 0.5)
    monkeypatch.setattr(Scaled, "scale", property(lambda self: 3.0))
    monkeypatch.setattr(Scaled, "hessians", {"half": lambda self, y_true, y_pred, results: 0.25})
    for own in (Scaled, Derived):
        assert results(own) == (3.0, 0.25)
    for own, name in (
        (fl.PolyCrossEntropy, "link"),
        (fl.Focal, "_factors"),
        (fl.GaussianNLL, "_describe"),
        (fl.CrossEntropy, "_told"),
    ):
        before = family(own())
        assert family(own()) is before
        given = getattr(own, name)
        monkeypatch.setattr(own, name, lambda *args, given=given: given(*args))
        assert family(own()) is not before


@dataclass(frozen=True, slots=True)
class InSlots(fl.ElementwiseLoss):
    k: float = 2.0

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        return self.k * (y_pred - y_true), self.k


@dataclass(frozen=True)
class PickledInItsOwnWay(InSlots):
    def __getstate__(self) -> Any:
        return "the same for all"

    def __setstate__(self, state: Any) -> None:
        for name, value in (("reduction", "mean"), ("hessian", "exact"), ("k", 5.0)):
            object.__setattr__(self, name, value)


@pytest.mark.parametrize("own", [InSlots, PickledInItsOwnWay])
def test_how_a_class_pickles_its_losses_is_its_own_business(own):
    for k in (2.0, 3.0, 2.0):
        assert own(k)([0.0], [1.0]) == k
    assert family(own(3.0)) is family(own(3.0))
    loss = pickle.loads(pickle.dumps(own(5.0)))
    assert loss == own(5.0)
    assert loss([0.0], [1.0]) == 5.0


def test_results_follow_the_options_of_a_loss_that_is_built_for_each_call():
    labels, logits = np.array([0, 1]), np.array([[1.0, 2.0], [3.0, -1.0]])
    makers = [
        (fl.CrossEntropy, "temperature", (1, 1.0, 2, 2.5)),
        (fl.CrossEntropy, "label_smoothing", (0, 0.5, 1)),
        (fl.CrossEntropy, "class_weight", (None, [1, 0], [1, -0.0], [0.25, 1])),
        (fl.Focal, "gamma", (0, 1, 2.5)),
        (fl.Focal, "alpha", (None, 0.5, [0.5, 2])),
    ]
    for make, name, values in makers:
        expected = []
        for value in values:
            forget()
            expected.append(make(**{name: value}).grad_hess(labels, logits))
        for _ in range(2):
            for value, right in zip(values, expected, strict=True):
                found = make(**{name: value}).grad_hess(labels, logits)
                np.testing.assert_array_equal(found, right)


def test_losses_of_a_sweep_are_forgotten():
    forget()
    families = []
    for i in range(500):
        loss = fl.Huber(delta=1.0 + i)
        made = shared.family_of((fl.Huber,), vars(loss).items(), loss._describe)
        families.append(weakref.ref(made))
    del loss, made
    gc.collect()
    assert sum(made() is not None for made in families) == 64


@pytest.mark.long
def test_threads_may_build_equal_losses():
    forget()
    x = np.linspace(-3, 3, 40).reshape(8, 5)

    def work(seed: int) -> None:
        for i in range(60):
            temperature = 1.0 + (seed + i) % 7
            value = fl.CrossEntropy(temperature=temperature)(np.arange(8) % 5, x)
            assert value == pytest.approx(fl.cross_entropy(np.arange(8) % 5, x / temperature))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_copies_have_what_a_class_gave_its_losses():
    loss = Own(scale=2.0)
    loss([0.0], [1.0])  # what it remembers of a call is not copied
    for made in (copy.copy(loss), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert made == loss
        assert made.table == ("float", 0.5)
        assert vars(made).keys() == {
            "reduction",
            "hessian",
            "scale",
            "twice",
            "hidden",
            "note",
            "table",
        }
        assert made([0.0], [1.0]) == 4


@pytest.mark.parametrize(
    ("pickled", "loss"),
    [
        (
            b"cfastloss.regression\nHuber\n)\x81}(X\x09\x00\x00\x00reduction"
            b"X\x04\x00\x00\x00meanX\x05\x00\x00\x00deltaG@\x00\x00\x00\x00\x00\x00\x00ub.",
            fl.Huber(delta=2.0),
        ),
        (
            b"cfastloss.regression\nQuantile\n)\x81}(X\x09\x00\x00\x00reduction"
            b"X\x04\x00\x00\x00meanX\x01\x00\x00\x00qcfastloss._options\nPerColumn\n"
            b"G?\xd0\x00\x00\x00\x00\x00\x00G?\xe0\x00\x00\x00\x00\x00\x00\x86\x85\x81ub.",
            fl.Quantile(q=[0.25, 0.5]),
        ),
    ],
    ids=["Huber", "Quantile"],
)
def test_losses_that_were_pickled_before_their_files_had_these_names(pickled, loss):
    assert pickle.loads(b"\x80\x02" + pickled) == loss


def test_docstrings_have_arguments_dtypes_and_errors():
    """Of this package's own losses; those of users stay as they are."""
    for loss in (fl.Huber, fl.BinaryCrossEntropyWithLogits, fl.Poisson):
        document = inspect.getdoc(loss) or ""
        for part in ("any real dtype", "Raises TypeError", f"- `{loss.names[1]}`: "):
            assert document.count(part) == 1, (loss, part)
    assert "- `y_true`: numbers in [0, inf)." in (fl.Poisson.__doc__ or "")
    assert "a sequence of c numbers" in (fl.Huber.__doc__ or "")
    assert "a sequence of c numbers" not in (fl.Poisson.__doc__ or "")
    assert "- `y_true`: numbers in [0, 1]." in (fl.BinaryCrossEntropyWithLogits.__doc__ or "")

    class Documented(fl.ElementwiseLoss):
        """The words of a user."""

        def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
            return y_pred - y_true, 1

    assert Documented.__doc__ == "The words of a user."


def test_repr_is_a_call():
    assert repr(Own(scale=np.float32(2), note=("a",))) == "Own(scale=2.0, note=('a',))"
    assert eval(repr(Own(scale=2.0, twice=True))) == Own(scale=2.0, twice=True)
    assert repr(Own(twice=1)) == "Own(twice=1, note=('none',))"  # a number is no switch
    assert repr(Own(scale=[1.0, 2.0])) == "Own(scale=(1.0, 2.0), note=('none',))"


def test_what_is_declared_but_no_option_is_said():
    class Undecorated(fl.ElementwiseLoss):
        scale: float = 2.0

        def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
            return (y_pred - y_true) * self.scale, self.scale

    @dataclass(frozen=True)
    class Unannotated(fl.ElementwiseLoss):
        scale = 2.0
        scalar = Undecorated.scalar

    for loss, reason in (
        (Undecorated(), "what the class declares is no option without @dataclass"),
        (Unannotated(), "they are fields with an annotation"),
    ):
        form = Call(loss._family, VALUE, np.zeros(1), np.zeros(1), None, None).plan.form
        message = str(loss._family.compilation_error(form, Exception("no scale")))
        assert f"no options ({reason}" in message


# ---------------------------------------------------------------------------------------------
# Sequences of numbers


def test_anything_that_can_be_made_an_array_is_a_sequence():
    assert fl.Quantile(q=Series([0.1, 0.9])) == fl.Quantile(q=[0.1, 0.9])
    assert fl.Quantile(q=Series(0.3)) == fl.Quantile(q=0.3)
    weighed = fl.BinaryCrossEntropyWithLogits(pos_weight=Series([1, 2]))
    assert weighed == fl.BinaryCrossEntropyWithLogits(pos_weight=(1, 2))
    assert fl.Focal(alpha=Series([0.1, 0.2])) == fl.Focal(alpha=(0.1, 0.2))
    assert fl.CrossEntropy(class_weight=Series([1, 2])) == fl.CrossEntropy(class_weight=(1, 2))
    with pytest.raises(ValueError, match=r"q has shape \(2, 1\), but must be a number or one"):
        fl.Quantile(q=Series([[0.1], [0.9]]))
    with pytest.raises(TypeError, match="q must be a number, got Series"):
        fl.Quantile(q=Series(["a", "b"]))


def test_series_of_pandas():
    pandas = pytest.importorskip("pandas")
    given = pandas.Series([0.1, 0.9], index=[5, 6])
    assert fl.Quantile(q=given) == fl.Quantile(q=[0.1, 0.9])


@pytest.mark.parametrize("ignore_index", [None, -1, -100])
def test_a_fraction_is_no_class_id(ignore_index):
    loss = fl.CrossEntropy(ignore_index=ignore_index)
    functions, row, grad = loss.jit(3), np.array([1.0, 2.0, 0.5]), np.empty(3)
    for label in (2.7, 0.5, -0.5, math.nan, INF, -INF, 1e300, np.uint64(2**64 - 1)):
        assert math.isnan(functions.value(label, row)), label
        assert math.isnan(functions.value_and_grad(label, row, grad))
        assert np.isnan(grad).all()
    assert functions.value(2.0, row) == functions.value(2, row) == loss([2], row[None])
    if ignore_index is not None:
        assert functions.value(ignore_index, row) == 0


@pytest.mark.parametrize("log_input", [True, False])
@pytest.mark.parametrize("loss", [fl.Poisson, fl.Gamma, fl.Tweedie], ids=lambda loss: loss.__name__)
def test_deviances(loss, log_input):
    """0 at the truth, never negative, exact beside it, and with the same derivatives."""
    without = loss(log_input=log_input, reduction="none")
    half = replace(without, deviance=True)
    y = np.array([0.5, 1.0, 3.0, 1e5, 1e-5])
    assert not half(y, np.log(y) if log_input else y).any()
    x = np.log(y) + np.array([1e-9, -1e-9, 1e-7, 1.0, -5.0])
    found = half(y, x if log_input else np.exp(x))
    assert np.all(found >= 0)
    # Beside the truth it is d^2 / 2 times the second derivative by the logarithm.
    power = {fl.Poisson: 1.0, fl.Gamma: 2.0}.get(loss, 1.5)
    d = x[:3] - np.log(y[:3])
    np.testing.assert_allclose(found[:3], y[:3] ** (2 - power) * d**2 / 2, rtol=1e-5)
    more = half(y, x if log_input else np.exp(x)) - without(y, x if log_input else np.exp(x))
    same = half(y, x + 1 if log_input else np.exp(x + 1)) - without(
        y, x + 1 if log_input else np.exp(x + 1)
    )
    np.testing.assert_allclose(more, same, rtol=1e-9)
    for one, other in zip(half.grad_hess(y, abs(x)), without.grad_hess(y, abs(x)), strict=True):
        np.testing.assert_array_equal(one, other)
    best = half.constant(y)
    assert best == pytest.approx(np.log(y.mean()) if log_input else y.mean())


def test_deviances_without_counts():
    nothing = np.zeros(3)
    x = np.array([-2.0, 0.0, 3.0])
    for loss in (fl.Poisson, fl.Tweedie):
        for log_input in (True, False):
            without = loss(log_input=log_input, reduction="none")
            half = replace(without, deviance=True)
            given = x if log_input else np.exp(x)
            np.testing.assert_array_equal(half(nothing, given), without(nothing, given))


def test_the_ends_of_a_mean_of_tweedie():
    loss = fl.Tweedie(log_input=False, reduction="none")
    y, mean = [0.0, 1.0, 0.0, 1.0, 1.0], [0.0, 0.0, np.inf, np.inf, np.nan]
    for given in (loss, replace(loss, deviance=True)):
        losses, grad = given.value_and_grad(y, mean)
        np.testing.assert_array_equal(losses, [0, np.inf, np.inf, np.inf, np.nan])
        np.testing.assert_array_equal(grad, [np.inf, -np.inf, 0, 0, np.nan])


def test_names_as_functions_have_them():
    for name in (
        "huber",
        "log_cosh",
        "smooth_l1",
        "gaussian_nll",
        "kl_divergence",
        "cross_entropy",
    ):
        assert getattr(fl, name).__name__ == name
    assert fl.mse.__name__ == "squared_error"
    assert fl.SquaredError.__name__ == "SquaredError"
