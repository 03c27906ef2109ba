"""Scorecards and comparisons that are interrupted at any moment, or updated by several threads."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

import fastloss as fl

N, C = 4000, 11


class _Rings(BaseException):
    pass


def _data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.integers(0, C, N), rng.standard_normal((N, C), dtype=np.float32)


def _scorecard(card: Any, labels: Any, logits: Any) -> None:
    card.update(labels, logits, groups=labels % 3, sample_weight=np.ones(len(labels)))


def _rows(card: Any, labels: Any, logits: Any) -> None:
    """As it goes on to a card that has some hundred parts, which are not yet added up."""
    _scorecard(card, labels[:100], logits[:100])


def _comparison(card: Any, labels: Any, logits: Any) -> None:
    card.update(logits, logits[::-1], labels)


def _merge(card: Any, labels: Any, logits: Any) -> None:
    other = fl.Scorecard()
    _scorecard(other, labels, logits)
    card.merge(other)


_UPDATES: dict[str, tuple[type, Callable[[Any, Any, Any], None]]] = {
    "`Scorecard.update`, 4,000 rows": (fl.Scorecard, _scorecard),
    "`Scorecard.update`, 100 rows": (fl.Scorecard, _rows),
    "`Scorecard.merge`": (fl.Scorecard, _merge),
    "`Comparison.update`": (fl.Comparison, _comparison),
}


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def interrupts(times: int = 400) -> dict[str, Any]:
    """At moments spread over an update and a little beyond: it has happened, or it has not."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise _Rings

    labels, logits = _data()
    tables = {}
    before = signal.signal(signal.SIGALRM, ring)
    try:
        for name, (kind, update) in _UPDATES.items():
            outcomes: Counter[str] = Counter()
            lost = []
            states, lengths = [], []
            card = kind()
            for _ in range(5):
                states.append(card.state())
                began = time.perf_counter()
                update(card, labels, logits)
                lengths.append(time.perf_counter() - began)
            seconds = max(lengths[1:])  # the first one may compile
            for i in range(times):
                card = kind()
                update(card, labels, logits)
                try:
                    signal.setitimer(signal.ITIMER_REAL, max(1.5 * seconds * i / times, 1e-6))
                    update(card, labels, logits)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except _Rings:
                    pass
                state = card.state()
                outcome = next((n for n in (1, 2) if _same(state, states[n])), None)
                outcomes[{1: "as before", 2: "as after", None: "between"}[outcome]] += 1
                if outcome is None:
                    lost.append(f"{name}, try {i}: neither before nor after")
            tables[name] = {"tries": times, "outcomes": dict(outcomes), "lost": lost}
    finally:
        signal.signal(signal.SIGALRM, before)
    return tables


def threads(times: int = 100, n_threads: int = 4) -> dict[str, Any]:
    """So many threads update one card so often, all at once."""
    labels, logits = _data()
    tables = {}
    for name, (kind, update) in _UPDATES.items():
        once, card = kind(), kind()
        update(once, labels, logits)
        begin = threading.Barrier(n_threads)

        def work(card: Any = card, update: Any = update, begin: Any = begin) -> None:
            begin.wait()
            for _ in range(times):
                update(card, labels, logits)

        workers = [threading.Thread(target=work) for _ in range(n_threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        expected, found = once.result(), card.result()
        n = times * n_threads
        mean = "loss" if kind is fl.Scorecard else "loss_a"
        means = [getattr(each, mean) for each in (expected, found)]
        a, b = (each if isinstance(each, float) else each.mean for each in means)
        whole = (
            found.n_rows == found.n_counted == n * expected.n_rows
            and found.weight == n * expected.weight
            and abs(a - b) <= 1e-13 * abs(a)
        )
        tables[name] = {
            "tries": n,
            "outcomes": {"updates that count" if whole else "updates, of which some are lost": n},
            "lost": [] if whole else [f"{name}: {found.n_rows} of {n * expected.n_rows} rows"],
        }
    return tables
