"""Everything about the logits of real models on real data: `make example`, some seconds.

1. Three models of scikit-learn tell handwritten digits apart: how good each is, how sure it is of
   itself, and the temperature that would make it as sure as it is right.
2. A next-token model over a vocabulary of 32,000: the token embeddings of WordLlama, which come
   with that package, read by a linear map of the words before. It is trained on nine tenths of the
   language reference that comes with Python and evaluated on the last. The logits are made, looked
   at and dropped, some rows at a time: all of them never exist.
"""

from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import numpy as np

import fastloss as fl

Array = np.ndarray[Any, Any]

# -------------------------------------------------------------------------------------------------
# Handwritten digits


def digits() -> tuple[Array, dict[str, Array]]:
    """Labels of images that no model has seen, and each model's logits of them."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neural_network import MLPClassifier

    images, labels = load_digits(return_X_y=True)
    seen, images, labels_seen, labels = train_test_split(
        images / 16, labels, test_size=0.5, random_state=0
    )
    linear = LogisticRegression(tol=1e-3, max_iter=300).fit(seen, labels_seen)
    bayes = GaussianNB(var_smoothing=1e-3).fit(seen, labels_seen)
    network = MLPClassifier((32,), learning_rate_init=0.01, tol=1e-3, random_state=0)
    network.fit(seen, labels_seen)
    # The network tells probabilities only: its last layer, before they are made.
    hidden = np.maximum(images @ network.coefs_[0] + network.intercepts_[0], 0)
    return labels, {
        "logistic regression": linear.decision_function(images),
        "naive Bayes": bayes.predict_joint_log_proba(images),
        "neural network": hidden @ network.coefs_[1] + network.intercepts_[1],
    }


# -------------------------------------------------------------------------------------------------
# Next tokens

BLOCK = 512  # rows of logits at a time: 64 MiB
_BACK = 16  # as many words before count
_RIDGE = 10.0
_MOST_TOKENS = 2_000  # in a text that is evaluated


class NextTokens(NamedTuple):
    """A model, and texts that it has not seen."""

    embedding: Array  # (32000, d)
    hidden: Array  # (n, d), of each token of the texts
    labels: Array  # (n,), the tokens
    offsets: Array  # where each text begins, and n
    n_bytes: Array  # of each text
    names: list[str]
    seen_hidden: Array  # the same of some texts that it was trained on
    seen_labels: Array

    def logits(self) -> Iterator[tuple[slice, Array]]:
        """Block by block."""
        for start in range(0, len(self.labels), BLOCK):
            rows = slice(start, start + BLOCK)
            yield rows, self.hidden[rows] @ self.embedding.T


def next_tokens() -> NextTokens:
    """Read the embeddings, and train a linear map of the words before on them."""
    tokenizer, embedding = _word_llama()
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    texts = [topics[name] for name in sorted(topics)]
    tokens = [np.array(code.ids) for code in tokenizer.encode_batch(texts)]
    inputs = [_inputs(embedding[ids]) for ids in tokens]

    seen = [i for i in range(len(texts)) if i % 10]
    x, y = np.concatenate([inputs[i] for i in seen]), np.concatenate([tokens[i] for i in seen])
    penalty = _RIDGE * np.eye(x.shape[1], dtype=np.float32)
    weights = np.linalg.solve(x.T @ x + penalty, x.T @ embedding[y])

    unseen = [i for i in range(0, len(texts), 10) if len(tokens[i]) <= _MOST_TOKENS]
    return NextTokens(
        embedding,
        np.concatenate([inputs[i] for i in unseen]) @ weights,
        np.concatenate([tokens[i] for i in unseen]),
        np.cumsum([0, *(len(tokens[i]) for i in unseen)]),
        np.array([len(texts[i].encode()) for i in unseen]),
        [sorted(topics)[i] for i in unseen],
        x[:BLOCK] @ weights,
        y[:BLOCK],
    )


def _word_llama() -> tuple[Any, Array]:
    """The tokenizer and the embedding matrix, (32000, 256), that come with WordLlama."""
    import wordllama
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    folder = Path(wordllama.__file__).parent
    tokenizer = Tokenizer.from_file(
        str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json")
    )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    weights = load_file(folder / "weights" / "l2_supercat_256.safetensors")
    return tokenizer, weights["embedding.weight"].astype(np.float32)


def _inputs(vectors: Array) -> Array:
    """What is known before each token: the two before it, the mean of some more, and 1."""
    before = np.concatenate([np.zeros((_BACK, vectors.shape[1]), np.float32), vectors])
    n = len(vectors)
    sums = np.cumsum(before, axis=0, dtype=np.float64)
    sums = np.concatenate([np.zeros((1, vectors.shape[1])), sums])
    mean = (sums[_BACK : _BACK + n] - sums[:n]) / _BACK
    one = np.ones((n, 1), np.float32)
    return np.concatenate(
        [before[_BACK - 1 : -1], before[_BACK - 2 : -2], mean.astype(np.float32), one], axis=1
    )


# -------------------------------------------------------------------------------------------------
# The report


def main() -> None:
    labels, models = digits()
    print(f"Handwritten digits: {len(labels)} images that no model has seen, 10 classes\n")
    print(f"{'':20} {'loss':>15} {'accuracy':>9} {'top-3':>7} {'Brier':>7}", end="")
    print(f" {'ECE':>7} {'temperature':>12} {'ECE then':>9}")
    for name, logits in models.items():
        scores, best = fl.evaluate(labels, logits), fl.calibrate(labels, logits)
        then = fl.evaluate(labels, logits, temperature=best.temperature)
        loss = f"{scores.loss:.3f} ± {scores.loss_standard_error:.3f}"
        print(f"{name:20} {loss:>15} {scores.accuracy:9.1%} {scores.top_k(3):7.1%}", end="")
        print(f" {scores.brier:7.3f} {scores.calibration_error:7.3f}", end="")
        print(f" {best.temperature:12.2f} {then.calibration_error:9.3f}")

    model = next_tokens()
    n, n_classes = len(model.labels), len(model.embedding)
    print(f"\nNext tokens: {n:,} that the model has not seen, {n_classes:,} classes\n")
    best = fl.calibrate(model.seen_labels, model.seen_hidden @ model.embedding.T)
    card = fl.Scorecard(temperature=best.temperature, by_class=False)
    text_of_row = np.repeat(np.arange(len(model.names)), np.diff(model.offsets))
    for rows, logits in model.logits():
        card.update(model.labels[rows], logits, sequences=text_of_row[rows])
    scores = card.result()
    print(scores)
    print(f"\n{'':20} {'tokens':>8} {'bits per byte':>14}")
    bits = -scores.sequences.log_probability / np.log(2) / model.n_bytes
    for name, n, bits_per_byte in zip(model.names, scores.sequences.n, bits, strict=True):
        print(f"{name:20} {n:8,} {bits_per_byte:14.3f}")


if __name__ == "__main__":
    main()
