"""Losses as criteria of skorch, which knows by their class what logits stand for."""

import numpy as np
import pytest
from plain import plain

import fastloss as fl
import fastloss.torch

torch = pytest.importorskip("torch")
skorch = pytest.importorskip("skorch")
pytestmark = plain

N, C = 12, 3


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, 4)).astype(np.float32), rng.integers(0, C, N)


def fitted(kind, width, loss, X, y, **more):
    torch.manual_seed(0)
    net = kind(torch.nn.Linear(4, width), max_epochs=2, lr=0.1, verbose=0, **loss, **more)
    return net.fit(X, y)


OURS = {"criterion": fl.torch.Loss, "criterion__loss": fl.cross_entropy}


def test_a_classifier_is_that_with_the_loss_of_pytorch(data):
    X, y = data
    options = {"train_split": None}
    ours = fitted(skorch.NeuralNetClassifier, C, OURS, X, y, **options)
    theirs = fitted(
        skorch.NeuralNetClassifier, C, {"criterion": torch.nn.CrossEntropyLoss}, X, y, **options
    )
    p = ours.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(p, theirs.predict_proba(X), rtol=1e-5)
    assert ours.history[:, "train_loss"] == pytest.approx(theirs.history[:, "train_loss"])


def test_a_binary_classifier_has_probabilities(data):
    X, y = data
    y = (y > 0).astype(np.float32)
    flat = {"module": torch.nn.Sequential(torch.nn.Linear(4, 1), torch.nn.Flatten(0))}
    torch.manual_seed(0)
    net = skorch.NeuralNetBinaryClassifier(
        **flat,
        criterion=fl.torch.Loss(fl.binary_cross_entropy_with_logits),
        max_epochs=1,
        verbose=0,
        train_split=None,
    ).fit(X, y)
    with torch.no_grad():
        expected = torch.sigmoid(net.module_(torch.from_numpy(X))).numpy()
    np.testing.assert_allclose(net.predict_proba(X)[:, 1], expected, rtol=1e-6)


def test_networks_are_cloned_and_searched(data):
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_score

    X, y = data
    net = fitted(skorch.NeuralNetClassifier, C, OURS, X, y, train_split=None)
    copy = clone(net).set_params(criterion__loss=fl.CrossEntropy(label_smoothing=0.1))
    scores = cross_val_score(copy, X, y, cv=2, scoring="neg_log_loss")
    assert np.isfinite(scores).all()
