"""A loss of one's own, from one scalar function: all verbs, all dtypes, and clear errors."""

import math
import pickle
import sys
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from plain import both, compiled, partly_long, plain

import fastloss as fl
from fastloss.compiler import jit
from fastloss.compiler.snapshot import snapshot
from fastloss.scalar import exp, log1p

HALF = 0.5


@dataclass(frozen=True)
class Cauchy(fl.ElementwiseLoss):
    """log(1 + (r / scale)^2), without a Hessian."""

    scale: float = 1.0

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        r = (y_pred - y_true) / self.scale
        return log1p(r * r), 2 * r / (self.scale * (1 + r * r))


def squared(r: Any) -> Any:
    return r * r


@dataclass(frozen=True)
class GemanMcClure(fl.ElementwiseLoss):
    """r^2 / 2 / (1 + r^2), with a Hessian, a helper, a global number and a switch."""

    scale: float = 1.0
    doubled: bool = False
    note: str = "fields that are no numbers are not seen by compiled code"

    def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any, Any]:
        r = (y_pred - y_true) / self.scale
        s = 1 + squared(r)
        factor = 2 if self.doubled else 1
        return (
            factor * HALF * squared(r) / s,
            factor * r / (s * s * self.scale),
            factor * (1 - 3 * squared(r)) / (s**3 * self.scale**2),
        )


def cauchy(y_true, y_pred, scale):
    r = (y_pred - y_true) / scale
    return np.log(1 + r * r), 2 * r / (scale * (1 + r * r))


@partly_long(1, "dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_agrees_with_the_formula(dtype):
    rng = np.random.default_rng(1)
    # Several tasks, and an odd end.
    y_true = rng.normal(size=600_001).astype(dtype)
    y_pred = rng.normal(size=600_001).astype(dtype)
    losses, slopes = cauchy(y_true.astype(np.float64), y_pred.astype(np.float64), 1.5)
    tolerance = 1e-14 if dtype is np.float64 else 1e-6

    value, grad = Cauchy(1.5).value_and_grad(y_true, y_pred)
    assert value == pytest.approx(losses.mean(), rel=tolerance)
    assert grad.dtype == dtype
    expected = (slopes / 600_001).astype(dtype).astype(np.float64)
    spacing = float(ml_dtypes.finfo(dtype).eps)
    smallest = float(ml_dtypes.finfo(dtype).smallest_subnormal)
    np.testing.assert_allclose(
        grad.astype(np.float64), expected, rtol=max(spacing, 1e-13), atol=smallest + 1e-12
    )
    per_element = Cauchy(1.5, reduction="none")(y_true, y_pred)
    np.testing.assert_allclose(per_element, losses, rtol=4 * tolerance, atol=1e-7)


@pytest.mark.long
def test_every_verb_and_option_comes_with_it():
    y_true, y_pred = np.zeros((2, 3)), np.array([[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]])
    weight = np.array([2.0, 1.0])
    losses, slopes = cauchy(y_true, y_pred, 1.0)
    w = np.repeat(weight[:, None], 3, axis=1)
    value, grad = Cauchy().value_and_grad(y_true, y_pred, sample_weight=weight)
    assert value == pytest.approx((w * losses).sum() / w.sum())
    np.testing.assert_allclose(grad, w * slopes / w.sum())
    assert Cauchy(reduction="sum")(y_true, y_pred) == pytest.approx(losses.sum())
    assert Cauchy()(y_true, y_pred, normalizer=2) == pytest.approx(losses.sum() / 2)
    buffer = y_pred.copy()
    assert Cauchy().grad(y_true, buffer, out=buffer) is buffer
    np.testing.assert_allclose(buffer, slopes / 6)
    loss = Cauchy(scale=3.0)
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert {loss: 1}[Cauchy(scale=3)] == 1
    assert "scale=3.0" in repr(loss)


@pytest.mark.long
def test_parameters_are_given_at_each_call():
    """One compilation serves all values of the options, but for 0 and 1, which are built in."""
    data = [0.0, 0.0], [1.0, 2.0]
    Cauchy(scale=1.0)(*data)
    Cauchy(scale=3.0)(*data)
    before = sum(jit.counts.values())
    for scale in (0.5, 2, 7.25, np.float32(3), 1, True):
        expected = cauchy(np.array(data[0]), np.array(data[1]), float(scale))[0].mean()
        assert Cauchy(scale=scale)(*data) == pytest.approx(expected)
    assert sum(jit.counts.values()) == before + 1  # True is a switch


@pytest.mark.long
def test_switches_helpers_globals_and_hessian():
    y_true, y_pred = [0.0], [2.0]
    assert GemanMcClure()(y_true, y_pred) == pytest.approx(0.4)
    assert GemanMcClure(doubled=True)(y_true, y_pred) == pytest.approx(0.8)
    grad, hess = GemanMcClure().grad_hess(y_true, y_pred)
    assert grad == pytest.approx([2 / 25])
    assert hess == pytest.approx([-11 / 125])
    for loss in (
        GemanMcClure(),
        GemanMcClure(scale=0.3, doubled=True),
        Cauchy(),
        Cauchy(scale=2.0),
    ):
        loss.check_gradient()
    GemanMcClure(scale=0.3, doubled=True).check_gradient(
        np.float32([0.0, 1.0]), np.float32([0.5, -4.0])
    )


@pytest.mark.long
def test_class_in_a_function_may_use_its_variables():
    power = 3

    @dataclass(frozen=True)
    class Power(fl.ElementwiseLoss):
        def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
            r = abs(y_pred - y_true)
            sign = 1 if y_pred > y_true else -1
            return r**power, power * r ** (power - 1) * sign

    assert Power()([0.0], [2.0]) == 8.0
    Power().check_gradient()


@pytest.mark.parametrize(
    "way",
    [
        pytest.param("plain", marks=plain),
        pytest.param("compiled", marks=[compiled, pytest.mark.long]),
    ],
)
def test_what_is_read_from_outside_is_read_once(way):
    """So value and gradient agree, whatever is changed between the first calls of the two."""
    names: dict[str, Any] = {}
    code = """
import numba
import numpy as np
from types import ModuleType

consts = ModuleType("consts")
consts.K = 2.0
K = 2.0
TABLE = np.array([2.0])

def helper(x):
    return K * x

@numba.njit
def compiled(x):
    return K * x

compiled(1.0)  # what it was compiled to before does not count

def scalar(self, y_true, y_pred):
    slope = K * consts.K * TABLE[0] * helper(1.0) * compiled(1.0) * 2.0
    return slope * y_pred, slope
"""
    exec(code, names)

    @dataclass(frozen=True)
    class Own(fl.ElementwiseLoss):
        scalar = names["scalar"]

    assert Own()([0.0], [1.0]) == 64.0
    names["K"] = names["consts"].K = names["TABLE"][0] = 3.0
    names["helper"] = names["compiled"] = lambda x: 0.0
    assert Own().value_and_grad([0.0], [1.0]) == (64.0, [64.0])
    assert Own(reduction="sum").grad([0.0], [1.0]) == [64.0]
    assert Own().jit().scalar(0.0, 1.0) == (64.0, 64.0)


@plain
def test_a_name_that_was_missing_is_found_later():
    names: dict[str, Any] = {}
    exec("def scalar(self, y_true, y_pred):\n    return late(y_pred), 1.0", names)

    @dataclass(frozen=True)
    class Own(fl.ElementwiseLoss):
        scalar = names["scalar"]

    with pytest.raises(NameError, match="late"):
        Own()([0.0], [1.0])
    names["late"] = abs
    assert Own()([0.0], [-2.0]) == 2.0


@pytest.mark.long
def test_functions_of_math_and_numpy_work_too():
    @dataclass(frozen=True)
    class LogCosh(fl.ElementwiseLoss):
        def scalar(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
            r = y_pred - y_true
            return math.log(math.cosh(r)), np.tanh(r)

    LogCosh().check_gradient()
    assert LogCosh()([0.0], [1.0]) == pytest.approx(math.log(math.cosh(1.0)))


def test_written_numbers_take_the_precision_of_the_data():
    """As NumPy has it: 0.1 * float32 is float32, and so is 1 - float32."""

    def scalar(self: Any, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        total = 0
        for _ in range(3):
            total += y_true
        return 0.1 * (1 - y_pred) + HALF * y_pred, (y_pred**2 if y_pred > 0 else 0) * total

    formula = snapshot(scalar)

    def call(y_true: Any, y_pred: Any) -> Any:
        return formula(None, y_true, y_pred)

    single = jit.dispatcher(call)
    results = single(np.float32(1), np.float32(3))
    types = {str(signature.return_type) for signature in single.nopython_signatures}
    assert types == {"UniTuple(float32 x 2)"}
    one, three = np.float32(1), np.float32(3)
    assert results[0] == np.float32(0.1) * (one - three) + np.float32(0.5) * three
    double = single(1.0, 3.0)
    assert double == (0.1 * (1 - 3.0) + 1.5, 27.0)


# ---------------------------------------------------------------------------------------------
# Wrong ones


def loss_with(function):
    return dataclass(frozen=True)(type("Wrong", (fl.ElementwiseLoss,), {"scalar": function}))()


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda self, t, p: p - t, "float64"),
        (lambda self, t, p: (p - t,), "1 values"),
        (lambda self, t, p: (p, p, p, p), "4 values"),
        (lambda self, t, p: [p, p], "list"),
        (lambda self, t, p: None, "NoneType"),
    ],
)
def test_wrong_number_of_values(function, got):
    with pytest.raises(TypeError, match=rf"Wrong.scalar returned {got}, but must return two or"):
        loss_with(function)([1.0], [2.0])


def test_no_hessian_says_what_to_return():
    with pytest.raises(TypeError, match=r"Cauchy.scalar .* must return \(loss, gradient, hessian"):
        Cauchy().grad_hess([1.0], [2.0])


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda self, t, p: (self.nope, p), "nope"),
        (lambda self, t, p: (undefined(p), p), "undefined"),  # noqa: F821
        (lambda self, t, p: (input("x"), p), "input"),
    ],
)
def test_what_does_not_compile_says_why(function, reason):
    with pytest.raises(TypeError, match="Wrong.scalar does not compile for float64") as caught:
        loss_with(function)([1.0], [2.0])
    message = str(caught.value)
    assert reason in message
    assert "Numba says" in message
    assert "kernels/elementwise" not in message  # the way there is none of the user's business


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated at once")
def test_annotations_need_not_be_there():
    """They may name what only type checkers import."""
    space = {"dataclass": dataclass, "fl": fl}
    exec(_FOR_CHECKERS, space)
    assert space["Twice"](3.0)([1.0], [3.0]) == 12
    with pytest.raises(TypeError, match="does not compile"):
        space["Undecorated"]()([1.0], [2.0])


_FOR_CHECKERS = """
@dataclass(frozen=True)
class Twice(fl.ElementwiseLoss):
    scale: Unknown = 1.0
    derived = ("twice",)

    @property
    def twice(self) -> Unknown:
        return 2 * self.scale

    def scalar(self, y_true: Unknown, y_pred: Unknown) -> tuple[Unknown, Unknown]:
        return (y_pred - y_true) * self.twice, self.twice


class Undecorated(fl.ElementwiseLoss):
    scale: Unknown = 1.0

    def scalar(self, y_true: Unknown, y_pred: Unknown) -> tuple[Unknown, Unknown]:
        return (y_pred - y_true) * self.scale, self.scale
"""


def test_nothing_is_written_if_it_does_not_compile():
    out = np.full(1, 7.0)
    with pytest.raises(TypeError):
        loss_with(lambda self, t, p: (self.nope, p)).grad([1.0], [2.0], out=out)
    assert out[0] == 7.0


@pytest.mark.long
def test_wrong_gradient_is_found_and_located():
    def wrong_above_two(self: Any, t: Any, p: Any) -> tuple[Any, Any, Any]:
        r = p - t
        return r * r, (2 * r if p < 2 else 3 * r), 2

    loss = loss_with(wrong_above_two)
    with pytest.raises(ValueError, match="gradient of Wrong.* disagrees with finite differences"):
        loss.check_gradient()
    where = r"in 1 of 3 places, worst where y_true is 0.0 and y_pred is 5.0: gradient 15.0"
    with pytest.raises(ValueError, match=where):
        loss.check_gradient([0.0, 0.0, 0.0], [1.0, 5.0, -3.0])
    loss.check_gradient([0.0, 0.0], [1.0, -3.0])


@pytest.mark.long
def test_wrong_hessian_is_found():
    loss = loss_with(lambda self, t, p: ((p - t) ** 2, 2 * (p - t), 1))
    with pytest.raises(ValueError, match="hessian of Wrong"):
        loss.check_gradient()


@plain
def test_nan_gradient_is_wrong():
    loss = loss_with(lambda self, t, p: (p * p, p * (1 - 1) / (p - p)))
    with pytest.raises(ValueError, match="gradient nan"):
        loss.check_gradient([1.0], [2.0])


@both(
    "loss",
    [
        fl.mse,
        fl.binary_cross_entropy,
        fl.BinaryCrossEntropyWithLogits(pos_weight=3.0, label_smoothing=0.2),
        fl.cross_entropy,
        fl.CrossEntropy(class_weight=(1, 2, 0, 4), label_smoothing=0.2, ignore_index=1),
        fl.categorical_cross_entropy,
        fl.MultiMargin(p=2, class_weight=(1, 2, 0, 4)),
        fl.KLDivergence(log_target=True),
        fl.JensenShannon(from_logits=True),
        fl.dice,
        fl.gaussian_nll,
    ],
    long=[fl.cross_entropy, fl.KLDivergence(log_target=True), fl.JensenShannon(from_logits=True)],
)
def test_shipped_losses_pass_their_own_check(loss):
    """One for each kind of data that the check can make; formulas have other tests."""
    loss.check_gradient()


def test_check_wants_both_arguments_or_none():
    with pytest.raises(TypeError, match="both y_true and y_pred"):
        fl.mse.check_gradient([1.0])


@plain
def test_exp_in_a_loss_overflows_as_it_should():
    loss = loss_with(lambda self, t, p: (exp(p) - t * p, exp(p) - t))
    value, grad = loss.value_and_grad(np.float32([1.0]), np.float32([200.0]))
    assert value == math.inf
    assert grad[0] == np.inf
