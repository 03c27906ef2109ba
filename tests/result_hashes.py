"""Hashes of results: code may be moved, and not a bit of a result may change.

    python -m tests.result_hashes            # what differs from the hashes that are kept
    python -m tests.result_hashes --write    # keeps those of now

Both take plain Python and all kinds of processors that this machine can stand in for, in 5 minutes.

A form is a loss, a verb and data that go through one loop each: all loops of the kernels are there,
each in the layouts, dtypes and options that it has code for. What is kept for plain Python holds
everywhere; what is kept for compiled code holds for one kind of processor and one compiler, whose
name is that of `trust.kinds.compiled_for`. Data is made of whole numbers, by arithmetic that no
version of NumPy does in another way.
"""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numba
import numpy as np

import fastloss as fl
from fastloss.call.cpus import available_cpus
from fastloss.kernels.softmax import long_rows
from fastloss.kernels.storage import DECODED, dtype_of
from trust.kinds import KINDS, compiled_for

# tests/result_hashes.json
PLACE = Path(__file__).with_suffix(".json")
PLAIN = "plain Python"
# How much is taken at a time depends on the vectors, in plain Python, too: on any processor it
# takes what one of these would.
PLAIN_FEATURES = KINDS["256-fused"].features

Results = Sequence[Any]
FORMS: dict[str, Callable[[], Results]] = {}

# -------------------------------------------------------------------------------------------------
# Data


def integers(shape: tuple[int, ...], below: int, seed: int) -> Any:
    """Whole numbers from 0 on: the upper bits of the counter times odd numbers, twice."""
    i = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) + np.uint64(1_000_003 * seed)
    for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        i = (i ^ (i >> np.uint64(29))) * np.uint64(factor)
    return ((i >> np.uint64(33)) % np.uint64(below)).astype(np.int64).reshape(shape)


def numbers(shape: tuple[int, ...], low: float, high: float, seed: int, dtype: Any = "f4") -> Any:
    """Multiples of a 4096th of the width, which is a power of 2, from `low` on."""
    return (low + integers(shape, 4096, seed) * ((high - low) / 4096)).astype(dtype)


def logits(n: int, c: int, dtype: Any = "f4", seed: int = 1) -> Any:
    """Every seventh row is confident; and there is a largest logit that is met twice, and -inf."""
    x = numbers((n, c), -8, 8, seed, "f8")
    x[::7, 1] = 32
    x[1:2, :2] = 24
    x[2:3, 2:3] = -np.inf
    return x.astype(dtype)


def ids(n: int, c: int, seed: int = 2) -> Any:
    labels = integers((n,), c, seed)
    labels[::7] = 1
    labels[2:3] = 0
    return labels


def soft(n: int, c: int, dtype: Any = "f4") -> Any:
    """Eighths, many of them 0."""
    labels = integers((n, c), 8, 3) * (integers((n, c), 4, 4) == 0) / 8
    labels[2:3, 2] = 0  # where the logit is -inf
    return labels.astype(dtype)


def sparse(n: int, c: int) -> Any:
    labels = integers((n, 3), c, 5)
    labels[2] = 0
    return labels, numbers((n, 3), 0, 0.5, 6)


def mask(n: int, c: int) -> Any:
    """Most classes are in, those of the sparse labels among them."""
    inside = integers((n, c), 4, 7) > 0
    np.put_along_axis(inside, sparse(n, c)[0], True, axis=1)
    return inside


def weights(shape: tuple[int, ...], seed: int = 8) -> Any:
    return integers(shape, 5, seed) / 4


# -------------------------------------------------------------------------------------------------
# Softmax: few classes, more, and so many that their exponentials are not kept

NONE = fl.CrossEntropy(reduction="none")
OPTIONS = {"softcap": 16.0, "temperature": 1.5, "z_loss": 0.125, "label_smoothing": 0.125}


def form(name: str) -> Callable[[Callable[[], Results]], Callable[[], Results]]:
    def enter(function: Callable[[], Results]) -> Callable[[], Results]:
        FORMS[name] = function
        return function

    return enter


@contextmanager
def never_kept() -> Iterator[None]:
    keeps = long_rows.keeps
    long_rows.keeps = lambda n_classes: False
    try:
        yield
    finally:
        long_rows.keeps = keeps


def with_all_options(c: int, **more: Any) -> fl.CrossEntropy:
    return fl.CrossEntropy(**OPTIONS, class_weight=tuple(1 + integers((c,), 7, 9) / 4), **more)


def allowed(c: int) -> Any:
    """All classes but every fifth."""
    return np.arange(c) % 5 != 3


def _softmax(rows: str, n: int, c: int) -> None:
    """The forms of one way to go through rows."""
    labels = ids(n, c)

    def enter(name: str, function: Callable[[], Results]) -> None:
        form(f"{rows} classes, {name}")(function)

    def value_and_grad(dtype: Any) -> Callable[[], Results]:
        return lambda: NONE.value_and_grad(labels, logits(n, c, dtype))

    enter("class ids", value_and_grad("f4"))
    enter("class ids, float64", value_and_grad("f8"))
    enter("Hessian", lambda: NONE.grad_hess(labels, logits(n, c)))
    enter("soft labels", lambda: NONE.value_and_grad(soft(n, c), logits(n, c)))
    enter(
        "sparse labels, mask",
        lambda: fl.cross_entropy.value_and_grad(
            sparse(n, c), logits(n, c), class_mask=mask(n, c), sample_weight=weights((n,))
        ),
    )
    enter(
        "all options, soft labels, Hessian",
        lambda: with_all_options(c).grad_hess(soft(n, c), np.maximum(logits(n, c), -32)),
    )
    enter(
        "all options, class ids",
        lambda: with_all_options(c, class_mask=allowed(c)).value_and_grad(
            np.where(allowed(c)[labels], labels, 1), logits(n, c)
        ),
    )
    enter("probabilities", lambda: [fl.cross_entropy.proba(logits(n, c))])
    enter("logarithms of probabilities", lambda: [fl.cross_entropy.log_proba(logits(n, c))])
    enter("log-sum-exp", lambda: [fl.cross_entropy.logsumexp(logits(n, c))])
    enter(
        "Hessian times a vector",
        lambda: [fl.cross_entropy.hvp(labels, logits(n, c), numbers((n, c), -1, 1, 10))],
    )


# Of few: more rows than a group, so that one is not full.
_softmax("few", 70, 7)
_softmax("many", 5, 200)


@form("two classes, class ids")
def _() -> Results:
    return NONE.value_and_grad(ids(70, 2), logits(70, 2))


@form("a row of several segments, class ids")
def _() -> Results:
    x = logits(1, 40_000)
    x[0, 39_000] = 40  # the largest logit comes late
    return NONE.value_and_grad(ids(1, 40_000), x)


@form("many classes, Hessian times a vector, all options")
def _() -> Results:
    vector = numbers((5, 200), -1, 1, 10)
    return [with_all_options(200).hvp(soft(5, 200), np.maximum(logits(5, 200), -32), vector)]


@form("too many classes to keep, class ids")
def _() -> Results:
    with never_kept():
        return fl.CrossEntropy(reduction="none", temperature=2.0).value_and_grad(
            ids(2, 3000), logits(2, 3000)
        )


@form("too many classes to keep, all options, soft labels")
def _() -> Results:
    with never_kept():
        return with_all_options(3000).value_and_grad(soft(2, 3000), logits(2, 3000))


@form("few classes, focal, float16")
def _() -> Results:
    return fl.focal.value_and_grad(ids(70, 7), logits(70, 7, "f2"))


@form("few classes, generalized cross-entropy")
def _() -> Results:
    return fl.generalized_cross_entropy.value_and_grad(ids(70, 7), logits(70, 7))


@form("few classes, poly cross-entropy, Hessian")
def _() -> Results:
    return fl.poly_cross_entropy.grad_hess(ids(70, 7), logits(70, 7))


@form("many classes, focal, bfloat16")
def _() -> Results:
    return fl.focal.value_and_grad(ids(5, 200), logits(5, 200, ml_dtypes.bfloat16))


@form("few classes, class by class, in place, ignoring a class id, weighed")
def _() -> Results:
    x = np.asfortranarray(logits(70, 7))
    loss = fl.CrossEntropy(ignore_index=3)
    return loss.value_and_grad(ids(70, 7), x, out=x, sample_weight=weights((70,)))


@form("few classes, class by class, soft labels, mask, Hessian, float64 as float32")
def _() -> Results:
    x = np.asfortranarray(logits(70, 7, "f8"))
    out = np.empty_like(x, "f4"), np.empty_like(x, "f4")
    return fl.cross_entropy.grad_hess(soft(70, 7, "f8"), x, class_mask=mask(70, 7), out=out)


# -------------------------------------------------------------------------------------------------
# Elements


def _inside(numbers_: Any, allowed: tuple[float, float]) -> Any:
    """Numbers between 0 and 1, moved into a range."""
    low, high = allowed
    if high == 1:
        return numbers_ / 2 + 0.25
    return numbers_ * 4 + 0.125 if low > -np.inf else numbers_ * 8 - 4


def elements(loss: fl.Loss, shape: tuple[int, ...], dtype: Any = "f4") -> Any:
    """Labels and predictions that a loss takes."""
    y_true = _inside(numbers(shape, 0, 1, 11, "f8"), loss.y_true_range)
    y_pred = _inside(numbers(shape, 0, 1, 12, "f8"), loss.y_pred_range)
    return y_true.astype(dtype), y_pred.astype(dtype)


def _losses(base: type[Any]) -> dict[str, Any]:
    """One of each class, by the name of the class."""
    public = (getattr(fl, name) for name in fl.__all__)
    found = {type(loss).__name__: loss for loss in public if isinstance(loss, base)}
    return {
        name: dataclasses.replace(loss, reduction="none") for name, loss in sorted(found.items())
    }


form("BinaryFocal, all options")(
    lambda: fl.BinaryFocal(gamma=1.5, alpha=0.25).grad_hess(*elements(fl.binary_focal, (131,)))
)
for _name, _loss in _losses(fl.ElementwiseLoss).items():
    form(_name)(lambda loss=_loss: loss.value_and_grad(*elements(loss, (131,))))


@form("elements, Hessian, float64, mean")
def _() -> Results:
    return fl.huber.grad_hess(*elements(fl.huber, (1031,), "f8"))


@form("elements, a weight for each row, strided")
def _() -> Results:
    y_true, y_pred = (array[::2] for array in elements(fl.mse, (90, 13)))
    return fl.mse.value_and_grad(y_true, y_pred, sample_weight=weights((45,)))


@form("elements, Hessian, float64 as float32")
def _() -> Results:
    out = np.empty(1031, "f4"), np.empty(1031, "f4")
    return fl.huber.grad_hess(*elements(fl.huber, (1031,), "f8"), out=out)


for _dtype in map(dtype_of, DECODED):
    form(f"elements, {_dtype.name}")(
        lambda dtype=_dtype: fl.mse.value_and_grad(*elements(fl.mse, (1031,), dtype))
    )


@form("elements, an option for each column")
def _() -> Results:
    fan = fl.Quantile(q=[0.125, 0.5, 0.875])
    y_true, y_pred = elements(fan, (41, 3))
    return fan.value_and_grad(y_true[:, 0], y_pred)


# -------------------------------------------------------------------------------------------------
# Rows


def _of_rows(loss: Any, y_true: Any = None, n: int = 70, c: int = 7) -> Callable[[], Results]:
    def call() -> Results:
        given, y_pred = elements(loss, (n, c))
        y_pred[3] = y_pred[3, 0]  # all alike
        return loss.value_and_grad(given if y_true is None else y_true, y_pred)

    return call


form("categorical cross-entropy, class ids")(
    _of_rows(fl.CategoricalCrossEntropy(reduction="none"), ids(70, 7))
)
form("categorical cross-entropy, soft labels")(
    _of_rows(fl.CategoricalCrossEntropy(reduction="none"), soft(70, 7))
)
form("multi-class margin, class weights")(
    _of_rows(fl.MultiMargin(p=2, class_weight=(1, 2, 0.5, 1, 1, 0, 3)), ids(70, 7))
)
form("Kullback-Leibler")(_of_rows(fl.KLDivergence(reduction="none")))
form("Kullback-Leibler, logits, long rows")(
    _of_rows(fl.KLDivergence(reduction="none", from_logits=True), n=5, c=200)
)
form("Jensen-Shannon")(_of_rows(fl.JensenShannon(reduction="none")))
form("Kullback-Leibler, logits")(_of_rows(fl.KLDivergence(reduction="none", from_logits=True)))
form("Jensen-Shannon, logits")(_of_rows(fl.JensenShannon(reduction="none", from_logits=True)))
form("cosine")(_of_rows(fl.CosineDistance(reduction="none")))
form("cosine, long rows")(_of_rows(fl.CosineDistance(reduction="none"), n=5, c=200))
form("Dice")(_of_rows(fl.Dice(reduction="none")))
form("Tversky, logits")(_of_rows(fl.Tversky(alpha=0.25, reduction="none", from_logits=True)))


@form("Gaussian")
def _() -> Results:
    y_pred = numbers((70, 2), 0.25, 4.25, 12)
    return fl.GaussianNLL(reduction="none").value_and_grad(numbers((70,), -4, 4, 11), y_pred)


# -------------------------------------------------------------------------------------------------
# Scores


@form("scores of rows")
def _() -> Results:
    k = 3
    kinds = {"loss": "f8", "log_sum_exp": "f8", "entropy": "f8", "confidence": "f8", "brier": "f8"}
    kinds |= {"prediction": "i8", "rank": "i8"}
    rows = {name: np.empty(70, kind) for name, kind in kinds.items()}
    rows |= {"top_classes": np.empty((70, k), "i8"), "top_log_probs": np.empty((70, k), "f8")}
    card = fl.Scorecard(n_bins=8)
    card.update(ids(70, 7), logits(70, 7), sample_weight=weights((70,)), rows=rows)
    found = card.result()
    return [*rows.values(), *(getattr(found, name) for name in _SCORES)]


_SCORES = ("loss", "accuracy", "mean_reciprocal_rank", "brier", "calibration_error", "entropy")


@form("scores of rows of many classes")
def _() -> Results:
    found = fl.evaluate(ids(5, 200), logits(5, 200))
    return [getattr(found, name) for name in _SCORES]


@form("two sets of logits")
def _() -> Results:
    both = fl.compare(logits(70, 7), logits(70, 7, seed=13), labels=ids(70, 7))
    names = ("kl", "reverse_kl", "jensen_shannon", "total_variation", "loss_a", "loss_difference")
    summaries = [getattr(both, name) for name in names]
    return [number for s in summaries for number in (s.mean, s.minimum, s.maximum)]


@form("two sets of logits that are close, float64")
def _() -> Results:
    a = logits(70, 7, "f8")
    both = fl.compare(a, a + numbers((70, 7), 0, 2**-10, 13, "f8"))
    return [both.kl.mean, both.jensen_shannon.mean, both.total_variation.mean]


@form("the best temperature")
def _() -> Results:
    x, labels = numbers((70, 7), -4, 4, 14), ids(70, 7)
    x[np.arange(70), labels] += 2
    return [fl.calibrate(labels, x).temperature]


# -------------------------------------------------------------------------------------------------
# Hashes


def hash_of(results: Results) -> str:
    """Of bits, dtypes and shapes; all NaN count as the same."""
    digest = hashlib.sha256()
    for result in results:
        array = np.array(result, order="C")  # whatever it came in
        if array.dtype.kind != "i":
            array[array != array] = np.nan
        digest.update(f"{array.dtype.name} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def results_of(name: str) -> Results:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return FORMS[name]()


Hashes = dict[str, dict[str, str]]  # by processor and form


def kept() -> Hashes:
    if not PLACE.exists():
        return {}
    found: Hashes = json.loads(PLACE.read_text(encoding="utf-8"))
    return found


def measured() -> Hashes:
    """Those of plain Python and of all kinds of processors that this machine can stand in for."""
    environments = [{"NUMBA_DISABLE_JIT": "1", "NUMBA_CPU_FEATURES": PLAIN_FEATURES}]
    for kind in KINDS.values():
        if kind.missing():
            print(f"{kind.title}: left out: {kind.missing()}")
        else:
            environments.append(kind.environment)
    with ThreadPoolExecutor(available_cpus()) as pool:
        return {key: each for found in pool.map(_in_process, environments) for key, each in found}


def _in_process(environment: dict[str, str]) -> Any:
    """What a fresh process prints."""
    output = subprocess.run(
        [sys.executable, "-m", "tests.result_hashes", "--print"],
        env=os.environ | environment,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    return json.loads(output).items()


def main(arguments: Sequence[str]) -> int:
    if "--print" in arguments:
        processor = PLAIN if numba.config.DISABLE_JIT else compiled_for()
        print(json.dumps({processor: {name: hash_of(results_of(name)) for name in FORMS}}))
        return 0
    found, known = measured(), kept()
    changed = {
        name
        for processor, each in found.items()
        for name, old in known.get(processor, {}).items()
        if each.get(name) != old
    }
    for processor, each in found.items():
        n_new = len(each.keys() - known.get(processor, {}).keys())
        print(f"{processor}: {len(each)} forms, {n_new} of them new")
    for name in sorted(changed):
        print(f"  changed: {name}")
    if "--write" in arguments:
        # What is kept of other processors is of the code as it was.
        others = {
            processor: {name: old for name, old in each.items() if name not in changed}
            for processor, each in known.items()
        }
        text = json.dumps(others | found, indent=1, sort_keys=True)
        PLACE.write_text(text + "\n", encoding="utf-8")
    return 0 if "--write" in arguments else len(changed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
