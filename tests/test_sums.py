"""Terms of a sum may be added in another order for SIMD, and nothing else may be reordered.

Whatever a loss computes beside its sums is the same in compiled code as in plain Python but for
fused multiply-adds, on every processor. The inputs are such that another order would show: rests
beside ones, probabilities and vectors that are nearly equal, weights of very different size.
"""

from pathlib import Path

import numpy as np
from plain import partly_long, plain_python
from registry import one_hot_of

import fastloss as fl

U = 2.0**-24
RNG = np.random.default_rng(0)
LABELS = np.arange(6)
WEIGHT = 10.0 ** np.arange(-12.0, 12.0, 4.0)


def confident(n_classes):
    """Rows whose labels have all but a ten-millionth of the probability."""
    logits = RNG.normal(size=(6, n_classes)).astype(np.float32)
    logits[LABELS, LABELS] = np.log(n_classes) + 17
    return logits


FEW, MANY = confident(7), confident(200)
NEARLY_MANY = MANY + np.float32(1e-3) * RNG.random(MANY.shape, dtype=np.float32)
SOFT = one_hot_of(LABELS, 200, np.float32)
ROWS = RNG.random((6, 40), dtype=np.float32) + np.float32(0.5)
# Nearly the same rows: what lies between them is lost in any sum of both.
NEAR = ROWS * (1 + np.float32(1e-3) * RNG.random((6, 40), dtype=np.float32))
P, Q = (rows / rows.sum(axis=1, keepdims=True) for rows in (ROWS, NEAR))


def loss(built, **options):
    return type(built)(reduction="none", **options)


def scores(rows):
    wanted = {name: np.empty(6) for name in ("loss", "log_sum_exp", "entropy", "brier")}
    fl.evaluate(LABELS, rows, rows=wanted)
    return tuple(wanted.values())


def divergences():
    scores = fl.compare(MANY, NEARLY_MANY, labels=LABELS)
    return tuple(each.mean for each in (scores.kl, scores.jensen_shannon, scores.total_variation))


# For each loop that adds up: what it is part of, and how far rounding may take the results apart,
# in units of the arithmetic: the roundings of a term, and those of the sum of a lane.
CASES = {
    "exponentials of few classes": (lambda: loss(fl.cross_entropy).value_and_grad(LABELS, FEW), 20),
    "exponentials along rows": (lambda: loss(fl.cross_entropy).value_and_grad(LABELS, MANY), 20),
    "gaps of soft labels": (lambda: loss(fl.cross_entropy).value_and_grad(SOFT, MANY), 20),
    "masses of soft labels": (
        lambda: fl.CrossEntropy(class_weight=WEIGHT.repeat(34)[:200])(SOFT, MANY),
        20,
    ),
    "moments of scores": (lambda: scores(MANY), 20),
    "elements": (lambda: fl.mse(ROWS, NEAR, sample_weight=np.tile(WEIGHT[:, None], 40)), 4),
    "rows": (lambda: fl.cross_entropy(LABELS, FEW, sample_weight=WEIGHT), 4),
    "a function of each class": (
        lambda: loss(fl.categorical_cross_entropy).value_and_grad(P, Q),
        4,
    ),
    "divergences of probabilities": (lambda: loss(fl.kl_divergence).value_and_grad(P, Q), 40),
    "divergences of logits": (divergences, 40),
    "vectors": (lambda: loss(fl.cosine_distance).value_and_grad(ROWS, NEAR), 40),
    "overlaps": (lambda: loss(fl.dice).value_and_grad(P, Q), 40),
}


@partly_long(3, "call, units", CASES.values(), ids=CASES)
def test_compiled_code_and_plain_python_agree(call, units):
    compiled = call()
    with plain_python():
        plain = call()
    pairs = zip(compiled, plain, strict=True) if isinstance(plain, tuple) else [(compiled, plain)]
    for actual, expected in pairs:
        np.testing.assert_allclose(actual, expected, rtol=units * U, atol=0)


def test_only_additions_of_sums_may_be_reordered():
    package = Path(fl.__file__).parent
    sources = {path.name: path.read_text() for path in package.rglob("*.py")}
    free = {name: source.count('"reassoc"') for name, source in sources.items()}
    assert {name for name, count in free.items() if count} == {"intrinsics.py"}
    assert free["intrinsics.py"] == 1
