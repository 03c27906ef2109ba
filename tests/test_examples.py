"""What `examples/` shows of real logits is what other libraries say of them."""

import math

import numpy as np
import pytest

import fastloss as fl
from examples import real_logits

# The bins of a confidence that is rounded across an edge, and sums of float32.
TOLERANCE = {"rel_tol": 1e-5, "abs_tol": 1e-6}


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn", reason="needs scikit-learn: make .venv/.example")
    return real_logits.digits()


@pytest.fixture(scope="module")
def tokens():
    pytest.importorskip("wordllama", reason="needs wordllama: make .venv/.example")
    return real_logits.next_tokens()


# Naive Bayes is so sure of itself that others, which take logarithms of probabilities, have no loss
# of it: scikit-learn clips it and TorchMetrics says inf. It is compared at this temperature.
COOLER = {"naive Bayes": 40.0}


def close(found, expected):
    assert math.isclose(found, expected, **TOLERANCE), (found, expected)


@pytest.mark.long
def test_digits_agree_with_scikit_learn(digits):
    from scipy.special import softmax
    from sklearn import metrics

    labels, models = digits
    classes = np.arange(10)
    assert len(models) == 3
    for name, logits in models.items():
        temperature = COOLER.get(name, 1.0)
        scores = fl.evaluate(labels, logits, temperature=temperature)
        p = softmax(logits / temperature, axis=1)
        close(scores.loss, metrics.log_loss(labels, p, labels=classes))
        close(scores.accuracy, metrics.accuracy_score(labels, logits.argmax(axis=1)))
        for k in (2, 3, 5):
            expected = metrics.top_k_accuracy_score(labels, logits, k=k, labels=classes)
            close(scores.top_k(k), expected)
        one_hot = np.eye(10)[labels]
        close(scores.brier, 10 * metrics.mean_squared_error(one_hot, p))
        reciprocal = metrics.label_ranking_average_precision_score(one_hot, logits)
        close(scores.mean_reciprocal_rank, reciprocal)
        recall = metrics.recall_score(labels, logits.argmax(axis=1), average=None)
        np.testing.assert_allclose(scores.by_class.accuracy, recall, rtol=1e-12)


@pytest.mark.long
def test_digits_are_told_apart(digits):
    """Real models: better than chance by far, and one that is much too sure of itself."""
    labels, models = digits
    scores = {name: fl.evaluate(labels, logits) for name, logits in models.items()}
    assert all(each.accuracy > 0.85 for each in scores.values())
    assert scores["naive Bayes"].calibration_error > 2 * scores["neural network"].calibration_error
    assert fl.calibrate(labels, models["naive Bayes"]).temperature > 4


def test_digits_agree_with_torchmetrics(digits):
    torch, agree = torchmetrics()
    labels, models = digits
    for name, logits in models.items():
        temperature = COOLER.get(name, 1.0)
        scores = fl.evaluate(labels, logits, temperature=temperature)
        agree(scores, torch.tensor(labels), torch.tensor(logits / temperature), k=3)


def test_next_tokens_agree_with_torchmetrics(tokens):
    torch, agree = torchmetrics()
    rows, logits = next(tokens.logits())
    labels = tokens.labels[rows]
    scores = fl.evaluate(labels, logits / np.float32(0.03))
    agree(scores, torch.tensor(labels), torch.tensor(logits / np.float32(0.03)), k=10)


def torchmetrics():
    """PyTorch, and a check of scores."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'fastloss[rivals]'")
    pytest.importorskip("torchmetrics", reason="needs torchmetrics: pip install 'fastloss[rivals]'")
    from torchmetrics.functional import classification as metrics
    from torchmetrics.functional.text import perplexity

    def agree(scores, labels, logits, k):
        logits = logits.double()
        options = {"num_classes": logits.shape[1]}
        close(scores.perplexity, perplexity(logits[None], labels[None]).item())
        for top in (1, k):
            accuracy = metrics.multiclass_accuracy(
                logits, labels, average="micro", top_k=top, **options
            )
            close(scores.top_k(top), accuracy.item())
        error = metrics.multiclass_calibration_error(logits, labels, n_bins=15, **options)
        close(scores.calibration_error, error.item())

    return torch, agree


def test_next_tokens_are_evaluated_block_by_block(tokens):
    """By the formula, in float64; the model knows more than the frequencies of tokens."""
    assert tokens.embedding.shape == (32_000, 256)
    card, losses, hits = fl.Scorecard(by_class=False), [], 0
    for rows, logits in tokens.logits():
        labels = tokens.labels[rows]
        card.update(labels, logits)
        x = logits.astype(np.float64)
        top = x.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(x - top).sum(axis=1)) + top[:, 0]
        losses.append(log_sum - x[np.arange(len(x)), labels])
        hits += (x.argmax(axis=1) == labels).sum()
    scores = card.result()
    assert scores.n_rows == len(tokens.labels) == tokens.offsets[-1]
    close(scores.loss, np.concatenate(losses).mean())
    assert scores.accuracy == hits / len(tokens.labels)
    commonest = np.bincount(tokens.seen_labels).argmax()
    assert scores.accuracy > 1.5 * np.mean(tokens.labels == commonest)


def test_the_report(digits, tokens, capsys, monkeypatch):
    monkeypatch.setattr(real_logits, "digits", lambda: digits)
    monkeypatch.setattr(real_logits, "next_tokens", lambda: tokens)
    real_logits.main()
    text = capsys.readouterr().out
    for line in ("logistic regression", "32,000 classes", "bits per byte", tokens.names[0]):
        assert line in text
