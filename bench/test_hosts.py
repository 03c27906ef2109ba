"""`make bench TABLE=hosts`: objectives of boosters alone, and whole trainings with them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastloss as fl
import fastloss.lightgbm
import fastloss.xgboost
from fastloss.study import Job, report
from fastloss.study.measure import MIN_ROUNDS, Clock

N_ROWS, N_FEATURES, N_CLASSES = 200_000, 20, 10
ROUNDS = 10
OURS, NUMPY, OWN = "fastloss", "NumPy", "the host's own"

Array = np.ndarray[Any, Any]
Objective = Callable[..., tuple[Array, Array]]


def numpy_softmax(factor: float) -> Objective:
    """As tutorials of both hosts write it, without loops over rows."""

    def objective(preds: Array, data: Any) -> tuple[Array, Array]:
        labels = data.get_label().astype(int)
        p = np.exp(preds - preds.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        hess = np.maximum(factor * p * (1 - p), 1e-16)
        p[np.arange(len(labels)), labels] -= 1
        return p, hess

    return objective


def numpy_logistic(preds: Array, data: Any) -> tuple[Array, Array]:
    p = 1 / (1 + np.exp(-preds))
    return p - data.get_label(), p * (1 - p)


class XGBoost:
    name = "xgboost"
    factor = 2.0
    # The names of its own objectives, of several classes and of two.
    own = "multi:softprob", "binary:logistic"

    def __init__(self, X: Array, y: Array, n_classes: int) -> None:
        self.module = pytest.importorskip("xgboost")
        self.data = self.module.DMatrix(X, label=y)
        # All start from the same place, which is not worked out in any of the trainings.
        self.params = {"objective": self.own[n_classes == 2], "base_score": 0.5, "verbosity": 0}
        if n_classes > 2:
            self.params |= {"num_class": n_classes, "base_score": 0.0}
        self.data.num_col()

    def objective(self, loss: fl.Loss) -> Objective:
        return fl.xgboost.objective(loss)

    def predictions(self, shape: tuple[int, ...]) -> Array:
        return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)

    def train(self, objective: Objective | None) -> Any:
        return self.module.train(self.params, self.data, ROUNDS, obj=objective)


class LightGBM:
    name = "lightgbm"
    factor = N_CLASSES / (N_CLASSES - 1)
    own = "multiclass", "binary"

    def __init__(self, X: Array, y: Array, n_classes: int) -> None:
        self.module = pytest.importorskip("lightgbm")
        shape = (N_ROWS, n_classes) if n_classes > 2 else (N_ROWS,)
        start = np.full(shape, 1e-9)  # all but 0, of which a start would be warned of
        self.data = self.module.Dataset(X, y, init_score=start, params={"verbose": -1})
        self.params = {"objective": self.own[n_classes == 2], "verbose": -1}
        if n_classes > 2:
            self.params["num_class"] = n_classes
        self.data.construct()

    def objective(self, loss: fl.Loss) -> Objective:
        return fl.lightgbm.objective(loss)

    def predictions(self, shape: tuple[int, ...]) -> Array:
        return np.asfortranarray(np.random.default_rng(1).standard_normal(shape))

    def train(self, objective: Objective | None) -> Any:
        params = self.params if objective is None else {**self.params, "objective": objective}
        return self.module.train(params, self.data, ROUNDS)


@pytest.mark.filterwarnings("ignore:.*starts from")
@pytest.mark.parametrize("n_classes", [N_CLASSES, 2], ids=["classes", "binary"])
@pytest.mark.parametrize("host", [XGBoost, LightGBM], ids=lambda host: host.name)
def test_hosts(
    host: type[XGBoost | LightGBM],
    n_classes: int,
    clock: Clock,
    add: Callable[[report.Result, str], None],
    budget: Callable[[float], float],
) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, N_FEATURES), dtype=np.float32)
    score = X[:, 0] + X[:, 1] * X[:, 2] + rng.standard_normal(N_ROWS)
    y = np.digitize(score, np.quantile(score, np.arange(1, n_classes) / n_classes))
    one = host(X, y.astype(np.float32), n_classes)
    loss = fl.cross_entropy if n_classes > 2 else fl.binary_cross_entropy_with_logits
    ours = one.objective(loss)
    numpy = numpy_softmax(one.factor) if n_classes > 2 else numpy_logistic
    preds = one.predictions((N_ROWS, n_classes) if n_classes > 2 else (N_ROWS,))
    for found, expected in zip(ours(preds, one.data), numpy(preds, one.data), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    alone = {OURS: Job(lambda: ours(preds, one.data)), NUMPY: Job(lambda: numpy(preds, one.data))}
    training = {
        OURS: Job(lambda: one.train(ours)),
        OWN: Job(lambda: one.train(None)),
        NUMPY: Job(lambda: one.train(numpy)),
    }
    for what, jobs in (("objective", alone), ("training", training)):
        for job in jobs.values():
            job.call()
        times = clock(jobs, budget(10.0), MIN_ROUNDS)
        if times:
            result = {"host": one.name, "n_classes": n_classes, "what": what, "times": times}
            add(result, _text(result))


def _text(result: report.Result) -> str:
    times = result["times"]
    rows = [("", "median ms", "min ms", "x fastloss", "")]
    for name, cell in times.items():
        both = [report.three_digits(cell[statistic], "ms") for statistic in ("median", "min")]
        ratio = f"{cell[report.BASIS] / times[OURS][report.BASIS]:.2f}"
        rows.append((name, *both, ratio, ", ".join(report.noise(cell))))
    title = f"{result['host']}, {result['n_classes']} classes, {result['what']}"
    return report.aligned(title, rows)
