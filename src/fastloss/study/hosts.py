"""Losses within the libraries that train with them, beside what those libraries have themselves.

Of boosters the objective alone and whole trainings, on the same data, all from the same start; of
PyTorch a loss with its backward pass, and the head of a language model beside its products alone.
"""

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

import fastloss as fl

from .contender import FASTLOSS, SMALL, Job, threads_of
from .report import Result, aligned, noise, ratio, shape_text, times
from .workloads import Array

NUMPY, OWN = "NumPy", "the host's own"
KEPT, PRODUCTS = "fastloss, kept memory", "the products alone"
# A step is a loss and its backward pass; one of a head has logits that are a product.
OBJECTIVE, TRAINING, STEP, HEAD = "objective", "training", "step", "step of a head"

N_FEATURES = 20
ROUNDS = 10  # trees of a training
WIDTH = 512  # of what the head of a language model is given of each token

Objective = Callable[..., tuple[Array, Array]]


class Case(NamedTuple):
    """What is done in which host, with predictions of this shape."""

    host: str  # as it is imported
    what: str
    shape: tuple[int, ...]  # (rows, classes), or (rows,) of two classes that have one logit

    @property
    def name(self) -> str:
        return f"{self.host}-{self.what}-{'x'.join(map(str, self.shape))}"

    @property
    def n_classes(self) -> int:
        return 2 if len(self.shape) == 1 else self.shape[1]

    def available(self) -> bool:
        return find_spec(self.host) is not None


def boosting(*shapes: tuple[int, ...]) -> tuple[Case, ...]:
    return tuple(
        Case(host, what, shape)
        for host in BOOSTERS
        for shape in shapes
        for what in (OBJECTIVE, TRAINING)
    )


def steps(*shapes: tuple[int, ...]) -> tuple[Case, ...]:
    return tuple(Case("torch", STEP, shape) for shape in shapes)


# -------------------------------------------------------------------------------------------------
# Boosters


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
    # The names of its own objectives, of several classes and of two.
    own = "multi:softprob", "binary:logistic"

    def __init__(self, X: Array, y: Array, case: Case) -> None:
        self.module = import_module("xgboost")
        self.data = self.module.DMatrix(X, label=y)
        is_binary = len(case.shape) == 1
        # All start from the same place, which is not worked out in any of the trainings.
        self.params = {"objective": self.own[is_binary], "base_score": 0.5, "verbosity": 0}
        if not is_binary:
            self.params |= {"num_class": case.n_classes, "base_score": 0.0}
        self.factor = 2.0  # of its Hessian of a softmax
        self.data.num_col()

    def objective(self, loss: fl.Loss) -> Objective:
        found: Objective = import_module("fastloss.xgboost").objective(loss)
        return found

    def predictions(self, shape: tuple[int, ...]) -> Array:
        return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)

    def train(self, objective: Objective | None) -> Any:
        return self.module.train(self.params, self.data, ROUNDS, obj=objective)


class LightGBM:
    own = "multiclass", "binary"

    def __init__(self, X: Array, y: Array, case: Case) -> None:
        self.module = import_module("lightgbm")
        start = np.full(case.shape, 1e-9)  # all but 0, of which a start would be warned of
        self.data = self.module.Dataset(X, y, init_score=start, params={"verbose": -1})
        self.params = {"objective": self.own[len(case.shape) == 1], "verbose": -1}
        if len(case.shape) > 1:
            self.params["num_class"] = case.n_classes
        self.factor = case.n_classes / (case.n_classes - 1)
        self.data.construct()

    def objective(self, loss: fl.Loss) -> Objective:
        found: Objective = import_module("fastloss.lightgbm").objective(loss)
        return found

    def predictions(self, shape: tuple[int, ...]) -> Array:
        return np.asfortranarray(np.random.default_rng(1).standard_normal(shape))

    def train(self, objective: Objective | None) -> Any:
        params = self.params if objective is None else {**self.params, "objective": objective}
        return self.module.train(params, self.data, ROUNDS)


BOOSTERS: dict[str, type[XGBoost | LightGBM]] = {"xgboost": XGBoost, "lightgbm": LightGBM}


def data_of(case: Case) -> tuple[Array, Array]:
    """Features, and classes that depend on three of them, each as frequent as the others."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((case.shape[0], N_FEATURES), dtype=np.float32)
    score = X[:, 0] + X[:, 1] * X[:, 2] + rng.standard_normal(case.shape[0])
    y = np.digitize(score, np.quantile(score, np.arange(1, case.n_classes) / case.n_classes))
    return X, y.astype(np.float32)


def _boosting(case: Case) -> dict[str, Job]:
    host = BOOSTERS[case.host](*data_of(case), case)
    is_binary = len(case.shape) == 1
    ours = host.objective(fl.binary_cross_entropy_with_logits if is_binary else fl.cross_entropy)
    numpy = numpy_logistic if is_binary else numpy_softmax(host.factor)
    preds = host.predictions(case.shape)
    for found, expected in zip(ours(preds, host.data), numpy(preds, host.data), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    if case.what == OBJECTIVE:
        return {
            FASTLOSS: Job(partial(ours, preds, host.data)),
            NUMPY: Job(partial(numpy, preds, host.data)),
        }
    ways = {FASTLOSS: ours, OWN: None, NUMPY: numpy}
    return {name: Job(partial(host.train, objective)) for name, objective in ways.items()}


# -------------------------------------------------------------------------------------------------
# PyTorch


def _steps(case: Case) -> dict[str, Job]:
    """The gradient is one of its own each time, as the step of an optimizer leaves it."""
    import torch

    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, case.n_classes, case.shape[0]))
    logits = torch.from_numpy(rng.standard_normal(case.shape, dtype=np.float32)).requires_grad_()

    def step(loss: Callable[[Any, Any], Any]) -> Any:
        value = loss(logits, labels)
        value.backward()
        grad, logits.grad = logits.grad, None
        return value.item(), grad

    of_torch = import_module("fastloss.torch").Loss
    ways = {
        FASTLOSS: of_torch(fl.cross_entropy),
        KEPT: of_torch(fl.cross_entropy, keep_memory=True),
        OWN: torch.nn.functional.cross_entropy,
    }
    return _alike(case, {name: partial(step, loss) for name, loss in ways.items()})


def _head(case: Case) -> dict[str, Job]:
    """From hidden states to the gradients of these and of the weights of all classes."""
    import torch

    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, case.n_classes, case.shape[0]))
    states, weights = (
        torch.from_numpy(rng.standard_normal((n, WIDTH), dtype=np.float32) / WIDTH**0.25)
        for n in case.shape
    )
    states.requires_grad_()
    weights.requires_grad_()

    def step(loss: Callable[[Any, Any], Any]) -> Any:
        value = loss(states @ weights.T, labels)
        grads = torch.autograd.grad(value, (states, weights))
        return value.item(), *grads

    def products() -> Any:
        """What no loss can do without, in memory of its own, as the step has it."""
        with torch.no_grad():
            logits = states @ weights.T
            return logits @ weights, logits.T @ states

    overwriting = import_module("fastloss.torch").Loss(fl.cross_entropy, overwrite_logits=True)
    ways = {FASTLOSS: overwriting, OWN: torch.nn.functional.cross_entropy}
    jobs = _alike(case, {name: partial(step, loss) for name, loss in ways.items()})
    return jobs | {PRODUCTS: Job(products, jobs[FASTLOSS].setting)}


def _alike(case: Case, ways: dict[str, Callable[[], Any]]) -> dict[str, Job]:
    """Jobs that give the same numbers, on the same threads."""
    import torch

    expected, *others = (call() for call in ways.values())
    for found in others:
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
    n_threads = fl.get_num_threads() if math.prod(case.shape) > SMALL else 1
    setting = partial(threads_of, torch, n_threads)
    return {name: Job(call, setting) for name, call in ways.items()}


# -------------------------------------------------------------------------------------------------
# Both


CASES = (
    *boosting((200_000, 10), (200_000,)),
    *steps((32, 10), (1_024, 1_000), (65_536, 1_000)),
)
# What takes gigabytes and half a minute each.
LANGUAGE = (*steps((8_192, 32_768)), Case("torch", HEAD, (4_096, 32_000)))


def jobs(case: Case) -> dict[str, Job]:
    """By who does it; checked against each other, and each has been called once."""
    found = {STEP: _steps, HEAD: _head}.get(case.what, _boosting)(case)
    for job in found.values():
        with job.setting():
            job.call()
    return found


def result(case: Case, summaries: dict[str, Any]) -> Result:
    cells = [{"contender": name, **cell} for name, cell in summaries.items()]
    return {"host": case.host, "what": case.what, "shape": case.shape, "cells": cells}


def text(result: Result) -> str:
    ours, *_ = result["cells"]
    rows = [("", "median ms", "interval", "min ms", "x fastloss", "interval", "")]
    for cell in result["cells"]:
        factor, low, high = ratio(cell, ours)
        numbers = [*times(cell), f"{factor:.2f}", f"{low:.2f} to {high:.2f}"]
        rows.append((cell["contender"], *numbers, ", ".join(noise(cell))))
    return aligned(f"{result['host']}, {shape_text(result)}, {result['what']}", rows)
