"""The parts of docs/trust/ about exactness that take seconds, and their instruments.

That what is measured can also be bad is seen on others: the textbook formula, a function computed
in too few digits, a sum in float32.
"""

import mpmath
import numpy as np
import pytest
import registry

import fastloss as fl
from trust import long_sums, loss_errors, primitives, rivals, tiny_losses, ulp

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


# -------------------------------------------------------------------------------------------------
# Instruments


@pytest.mark.parametrize("exact", [1.0, 3.0, -0.1, 1e30, 2.0**-130, 1e-45])
def test_errors_are_in_units_of_the_spacing(exact):
    rounded = np.float32(exact)
    exact = float(rounded)
    for off in (0, 1, -3):
        result = np.float32(exact + off * float(np.spacing(abs(rounded))))
        error = ulp.errors_beside(np.array([result]), np.array([exact]))[0]
        assert error == abs(off)


def test_errors_of_infinite_results():
    results = np.array([np.inf, np.nan, np.inf, 3e38, np.nan], np.float32)
    exact = np.array([1e39, np.nan, 1.0, np.inf, 1.0])
    errors = ulp.errors_beside(results, exact)
    np.testing.assert_array_equal(errors, [0, 0, np.inf, np.inf, np.inf])


def test_a_scan_meets_every_number_of_its_part():
    first, last = (int(np.float32(end).view(np.uint32)) for end in (1.0, 2.0))
    sizes = list(ulp.over_float32(lambda x: (x.size, x.min(), x.max()), 1, first, last))
    assert sum(size for size, _, _ in sizes) == 2**23 + 1
    assert min(low for _, low, _ in sizes) == 1.0
    assert max(high for _, _, high in sizes) == 2.0


def test_float64_errors_are_in_units_of_the_spacing():
    x = np.array([0.0, 1.0, -2.0])
    off = np.exp(x) + 5 * np.spacing(np.exp(x))
    errors = ulp.float64_errors("exp", x, off)
    np.testing.assert_allclose(errors, 5, atol=1)


@pytest.mark.parametrize("dtype", loss_errors.FLOATS)
def test_errors_of_losses_are_in_ulp_of_their_dtype(dtype):
    number = loss_errors.number(dtype)
    exact = np.array([mpmath.mpf(1), mpmath.mpf(0), mpmath.mpf(10) ** 400], object)
    step = float(loss_errors.ml_dtypes.finfo(number).eps)
    assert loss_errors.ulp_errors(np.array([1 + 2 * step, 0.0, 7.0]), exact, number) == [2.0, 0.0]
    wrong = loss_errors.ulp_errors(np.array([np.nan, 1e-3, 7.0]), exact, number)
    assert wrong == [np.inf, np.inf]


# -------------------------------------------------------------------------------------------------
# What the pages say


def three_off(x):
    rounded = np.exp(x.astype(np.float64)).astype(np.float32)
    return rounded - 3 * np.spacing(rounded)


def test_some_float32_through_exp(monkeypatch):
    """Beside a function that is off by three numbers everywhere."""
    ours = primitives.FUNCTIONS["exp"].contenders["fastloss"]
    both = primitives.Function(np.exp, {"fastloss": ours, "three off": three_off})
    monkeypatch.setitem(primitives.FUNCTIONS, "exp", both)
    ours, wrong = primitives.of_float32("exp", step=4099).values()
    assert ours["numbers"] == wrong["numbers"] > 500_000
    assert 0.5 < ours["worst"] <= 1.0
    assert wrong["worst"] >= 3
    for found, first, last in ((ours, 0, 1), (wrong, 2.5, 6.5)):
        bins = found["histogram"][round(first / primitives.BIN) : round(last / primitives.BIN)]
        assert sum(bins) == found["numbers"]


@pytest.fixture(scope="module")
def curves():
    contenders = (rivals.Fastloss, rivals.Textbook, rivals.SciPy)
    return tiny_losses.measure(contenders, every=10)["curves"]


@pytest.mark.long
@pytest.mark.parametrize("what", tiny_losses.QUANTITIES)
@pytest.mark.parametrize("dtype", EPS)
def test_tiny_losses_are_exact_and_those_of_others_are_not(curves, dtype, what):
    true, errors = curves[dtype]["true"], curves[dtype]["error"][what]
    assert min(true) < {"float32": 2e-38, "float64": 2e-300}[dtype]
    # The exponential of a gap of 87 errs by (3.3 + 87 / 20) / 2 eps in float32.
    assert max(errors["fastloss"]) <= {"float32": 4, "float64": 1}[dtype] * EPS[dtype]
    for who in ("textbook formula", "SciPy"):
        lost = tiny_losses.largest_with(true, errors[who], 1.0)
        assert lost is not None
        assert EPS[dtype] ** 3 < lost < EPS[dtype]


def test_means_of_many_terms():
    lengths, kinds = (1000, 2_000_000), ("the same number", "small and large numbers")
    for found in long_sums.measure(lengths, kinds)["errors"].values():
        assert max(found["fastloss"]) <= 1e-6
        assert found["one float32 sum"][-1] > 1000


def test_the_view_of_many_samples_is_what_it_stands_for():
    block = np.arange(long_sums.BLOCK)
    view = long_sums.again(block, 3 * long_sums.BLOCK)
    assert view.shape == (3, long_sums.BLOCK)
    assert view.strides[0] == 0
    np.testing.assert_array_equal(view[2], block)
    assert long_sums.again(block, 10).tolist() == [list(range(10))]


def test_every_loss_has_a_reference_for_the_page_of_errors():
    named = {name for name, loss in vars(fl).items() if isinstance(loss, fl.Loss)}
    assert named - set(loss_errors.cases()) == {"sse", "sum_squared_error"}


@pytest.mark.parametrize(
    "library",
    [rivals.PyTorch, rivals.SciPy, rivals.ScikitLearn, rivals.Textbook],
    ids=lambda library: library.name,
)
def test_what_is_compared_is_the_same_loss(library):
    """Under our names, others have the losses and gradients of our references."""
    if not library.installed():
        pytest.skip(f"{library.name} is not installed")
    theirs, compared = library(), set()
    for name, case in loss_errors.cases().items():
        y_true, y_pred = case.data(np.float64, (4, 5))
        try:
            answer = theirs.answer(name.partition(",")[0], y_true, y_pred)
        except rivals.Absent:
            continue
        truth = case.reference(registry.EXACT, case.loss, y_true, y_pred)
        for result, exact in zip(answer, (truth.loss, truth.grad), strict=True):
            if result is not None:
                np.testing.assert_allclose(result, exact.astype(float), 1e-6, 1e-12, err_msg=name)
        compared.add(name)
    assert compared >= set(theirs.losses)


def test_errors_of_cross_entropy():
    """Logits that are up to 73.5 apart, within the contract: an ulp is u relative, or 2 u."""
    contenders = (rivals.Fastloss, rivals.SciPy)
    found = loss_errors.measure(["cross_entropy"], ["float32"], contenders, n_rows=40)
    found = found["losses"]["cross_entropy"]["float32"]
    assert found["fastloss"]["loss"]["max"] <= 8 + 73.5
    # SciPy subtracts from a finished logarithm, and nothing is left of the smallest loss.
    assert found["SciPy"]["loss"]["max"] > 2**23
