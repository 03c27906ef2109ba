"""Two small models of handwritten digits, trained by mini-batch gradient descent."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from ..call.arrays import Array

LEARNING_RATE = 0.1
BATCH_SIZE = 32
N_CLASSES = 10

# value_and_grad(labels, logits, out): the loss, and its gradient by the logits, which may be `out`
LossFunction = Callable[[Array, Array, Array], tuple[Any, Array]]


class Digits(NamedTuple):
    """Images of 8 x 8 pixels as rows of 64 standardised numbers, and which digit each shows."""

    train_images: Array
    test_images: Array
    train_labels: Array
    test_labels: Array


def digits() -> Digits:
    images, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, stratify=labels, random_state=0
    )
    mean = train.mean(axis=0)
    deviation = train.std(axis=0)
    deviation[deviation == 0] = 1  # pixels that are always blank
    return Digits((train - mean) / deviation, (test - mean) / deviation, train_labels, test_labels)


class SoftmaxRegression:
    """logits = images @ w + b"""

    name = "softmax regression"
    epochs = 60

    def __init__(self, rng: np.random.Generator, n_features: int) -> None:
        self.w = rng.normal(0, 0.01, (n_features, N_CLASSES))
        self.b = np.zeros(N_CLASSES)

    def forward(self, images: Array) -> Array:
        logits: Array = images @ self.w + self.b
        return logits

    def update(self, images: Array, grad: Array) -> None:
        """One step downhill, given the gradient of the loss by the logits."""
        self.w -= LEARNING_RATE * (images.T @ grad)
        self.b -= LEARNING_RATE * grad.sum(axis=0)

    def weights(self) -> list[Array]:
        return [self.w, self.b]


class TwoLayerNetwork:
    """hidden = tanh(images @ w1 + b1), logits = hidden @ w2 + b2"""

    name = "two-layer network"
    epochs = 60

    def __init__(self, rng: np.random.Generator, n_features: int, n_hidden: int = 64) -> None:
        self.w1 = rng.normal(0, n_features**-0.5, (n_features, n_hidden))
        self.b1 = np.zeros(n_hidden)
        self.w2 = rng.normal(0, n_hidden**-0.5, (n_hidden, N_CLASSES))
        self.b2 = np.zeros(N_CLASSES)

    def forward(self, images: Array) -> Array:
        self.hidden = np.tanh(images @ self.w1 + self.b1)
        logits: Array = self.hidden @ self.w2 + self.b2
        return logits

    def update(self, images: Array, grad: Array) -> None:
        """One step downhill, given the gradient of the loss by the logits."""
        hidden_grad = (grad @ self.w2.T) * (1 - self.hidden**2)
        self.w2 -= LEARNING_RATE * (self.hidden.T @ grad)
        self.b2 -= LEARNING_RATE * grad.sum(axis=0)
        self.w1 -= LEARNING_RATE * (images.T @ hidden_grad)
        self.b1 -= LEARNING_RATE * hidden_grad.sum(axis=0)

    def weights(self) -> list[Array]:
        return [self.w1, self.b1, self.w2, self.b2]


Model = SoftmaxRegression | TwoLayerNetwork
MODELS: tuple[type[Model], ...] = (SoftmaxRegression, TwoLayerNetwork)


@dataclass
class History:
    """What a training leaves behind."""

    losses: list[float] = field(default_factory=list)  # the mean over the batches of each epoch
    accuracies: list[float] = field(default_factory=list)  # on the test images, after each epoch
    loss_calls: int = 0
    loss_seconds: float = 0.0
    weights: list[Array] = field(default_factory=list)


def train(
    model: Model,
    data: Digits,
    epochs: int,
    value_and_grad: LossFunction,
    report: Callable[[History], None],
) -> History:
    """Mini-batch gradient descent; the loss function is the only thing that differs."""
    history = History()
    rng = np.random.default_rng(1)
    n = len(data.train_labels)
    buffer = np.empty((BATCH_SIZE, N_CLASSES))
    for _ in range(epochs):
        total = 0.0
        order = rng.permutation(n)
        for first in range(0, n, BATCH_SIZE):
            rows = order[first : first + BATCH_SIZE]
            images, labels = data.train_images[rows], data.train_labels[rows]
            logits = model.forward(images)
            start = time.perf_counter()
            loss, grad = value_and_grad(labels, logits, buffer[: len(rows)])
            history.loss_seconds += time.perf_counter() - start
            history.loss_calls += 1
            model.update(images, grad)
            total += float(loss) * len(rows)
        predicted = model.forward(data.test_images).argmax(axis=1)
        history.losses.append(total / n)
        history.accuracies.append(float(np.mean(predicted == data.test_labels)))
        report(history)
    history.weights = model.weights()
    return history


def largest_difference(a: History, b: History) -> float:
    """The largest absolute difference of any weight."""
    return max(float(np.abs(x - y).max()) for x, y in zip(a.weights, b.weights, strict=True))
