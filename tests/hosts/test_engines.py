"""The code of the page on engines, as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest
from plain import plain

import fastloss as fl

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"
N, C = 200, 5
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, C, N)
LOGITS = RNG.standard_normal((N, C)).astype(np.float32)


def code(name):
    """What a block of the page defines."""
    (text,) = re.findall(
        rf"<!-- code: {name} -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL
    )
    names = {}
    exec(text, names)
    return names


# -------------------------------------------------------------------------------------------------
# The Trainer of Hugging Face

VOCABULARY, LENGTH = 13, 6


@plain
def test_batches_of_tokens_give_what_all_of_them_give():
    torch = pytest.importorskip("torch")
    labels = RNG.integers(0, VOCABULARY, (8, LENGTH))
    labels[2, 3:] = -100
    logits = torch.tensor(RNG.standard_normal((8, LENGTH, VOCABULARY)), dtype=torch.bfloat16)
    metrics = code("trainer")["Metrics"]()
    for _ in range(2):  # the card begins anew
        for rows in (slice(0, 3), slice(3, 8)):
            given = (logits[rows], None) if rows.start else logits[rows]
            kept = metrics.preprocess_logits_for_metrics(given, torch.tensor(labels[rows]))
            assert kept.shape == (rows.stop - rows.start, 1)
        found = metrics.compute_metrics(None)
        expected = fl.evaluate(labels[:, 1:], logits[:, :-1], ignore_index=-100)
        for name, value in found.items():
            assert value == pytest.approx(getattr(expected, name), rel=1e-14), name


@plain
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_trainer_reports_them(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=LENGTH, n_embd=8, n_layer=1, n_head=2,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config).eval()
    ids = torch.tensor(RNG.integers(0, VOCABULARY, (10, LENGTH)))
    metrics = code("trainer")["Metrics"]()
    arguments = transformers.TrainingArguments(
        str(tmp_path), per_device_eval_batch_size=4, use_cpu=True, report_to="none",
        disable_tqdm=True,
    )  # fmt: skip
    trainer = transformers.Trainer(
        model,
        arguments,
        eval_dataset=[{"input_ids": row, "labels": row} for row in ids],
        compute_metrics=metrics.compute_metrics,
        preprocess_logits_for_metrics=metrics.preprocess_logits_for_metrics,
    )
    found = trainer.evaluate()
    with torch.no_grad():
        logits = model(ids).logits
    expected = fl.evaluate(ids[:, 1:], logits[:, :-1])
    assert found["eval_perplexity"] == pytest.approx(expected.perplexity, rel=1e-5)
    assert found["eval_accuracy"] == pytest.approx(expected.accuracy, rel=1e-12)


# -------------------------------------------------------------------------------------------------
# Ray


@pytest.mark.filterwarnings("ignore")
def test_blocks_of_ray_are_aggregated(monkeypatch):
    ray = pytest.importorskip("ray")
    pytest.importorskip("pyarrow")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # in workers, which compile nothing
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        rows = [
            {"label": label, "logits": logits}
            for label, logits in zip(LABELS.tolist(), LOGITS, strict=True)
        ]
        dataset = ray.data.from_items(rows, override_num_blocks=4)
        found = code("ray")["evaluate"](dataset, "label", "logits", n_bins=7)
    finally:
        ray.shutdown()
    expected = fl.evaluate(LABELS, LOGITS, n_bins=7)
    assert (found.n_rows, found.accuracy) == (N, expected.accuracy)
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
