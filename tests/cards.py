"""A scorecard of each kind, and rows for it with all that they may have: for tests of all."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from plain import partly_long

import fastloss as fl

N = 60
NONE: Mapping[str, Any] = MappingProxyType({})


class Card(NamedTuple):
    """A scorecard, rows for it, and what they may have besides weights and groups."""

    kind: Any
    data: tuple[Any, ...]
    options: Mapping[str, Any] = NONE
    more: Mapping[str, Any] = NONE
    weight: str = "sample_weight"
    # Other options, of which each is refused.
    others: tuple[Mapping[str, Any], ...] = ()
    has_groups: bool = True
    not_of_groups: tuple[str, ...] = ()  # numbers

    def new(self) -> Any:
        return self.kind(**self.options)

    def of(self, rows: Any, **more: Any) -> Any:
        """A scorecard of some rows."""
        data = (each[rows] for each in self.data)
        its = {name: at(each, rows) for name, each in (self.more | more).items()}
        return self.new().update(*data, **its)

    def given(self) -> dict[str, Any]:
        """Weights and groups of all rows."""
        groups = {"groups": GROUPS} if self.has_groups else {}
        return {self.weight: WEIGHT, **groups}


def at(values: Any, rows: Any) -> Any:
    """Some rows of an array, or of each column."""
    if isinstance(values, dict):
        return {name: column[rows] for name, column in values.items()}
    return None if values is None else values[rows]


RNG = np.random.default_rng(3)
X = RNG.standard_normal((N, 4)) * 2
Y = (RNG.random((N, 4)) < 0.4).astype(int)
# Ties, on both sides of 0.
TIED = np.round(X)
IDS = RNG.integers(0, 4, N)
KNOWN = RNG.random((N, 4)) < 0.9
KNOWN[:, 0] = True
MASK = KNOWN | (np.arange(4) == IDS[:, None])
GROUPS = np.array(["a", "b", "c"])[RNG.integers(0, 3, N)]
CLUSTERS = RNG.integers(-3, 6, N) * 10**11
WEIGHT = RNG.integers(0, 5, N) / 4.0
AMOUNTS = RNG.gamma(2.0, 3.0, (N, 2))
CLOSE = AMOUNTS * RNG.gamma(9.0, 1 / 9, (N, 2)) + 0.1
FAN = np.sort(RNG.standard_normal((N, 3)), axis=1)
BOOTSTRAP = {"bootstrap": 5}
BY_CLUSTER = {"clusters": CLUSTERS}
SOFTMAX = ({"temperature": 2}, {"softcap": 3.0}, {"ignore_index": 0}, {"class_mask": [True] * 4})
EVERYTHING = {
    "confusion": True,
    "by_confidence": True,
    "tokens": True,
    "classwise": True,
    **BOOTSTRAP,
}
RANKS = ({"from_probabilities": True}, {"ranks": False}, {"bins": 2**10})
MEDIANS = tuple(f"median_absolute_error{end}" for end in ("", "_low", "_high"))

CARDS = {
    "classes": Card(
        fl.Scorecard,
        (IDS, X),
        EVERYTHING,
        {"class_mask": MASK, "sequences": IDS % 3, **BY_CLUSTER},
        others=(*SOFTMAX, {"n_bins": 10}, {"by_class": False}, {"class_weight": [1.0] * 4}),
    ),
    "pairs": Card(
        fl.Comparison, (X, X + FAN[:, :1] * Y, IDS), BOOTSTRAP, BY_CLUSTER,
        others=SOFTMAX, has_groups=False,
    ),
    "binary": Card(
        fl.BinaryScorecard, (Y[:, 0], TIED[:, 0]), {"thresholds": [0.5, -1.0]} | BOOTSTRAP,
        BY_CLUSTER, others=(*RANKS, {"n_bins": 10}),
    ),
    "labels": Card(
        fl.MultilabelScorecard, (Y, TIED), BOOTSTRAP, {"mask": KNOWN, **BY_CLUSTER},
        others=(*RANKS, {"threshold": 1}),
    ),
    "labels in bins": Card(fl.MultilabelScorecard, (Y, TIED), {"bins": 2**8}),
    "rankings": Card(
        fl.RankingScorecard, (Y, TIED), {"k": (1, 3, None)} | BOOTSTRAP,
        {"mask": KNOWN & (np.arange(N) % 9 > 0)[:, None], **BY_CLUSTER}, "query_weight",
        others=({"k": 5}, {"gain": "exponential"}, {"relevant_from": 2}),
    ),
    "numbers": Card(
        fl.RegressionScorecard, (AMOUNTS, CLOSE),
        {"deviance": ["poisson", "gamma"], "rmsle": True, "median": True} | BOOTSTRAP,
        BY_CLUSTER, not_of_groups=MEDIANS,
        others=({"rmsle": False}, {"median": False}, {"histograms": True}, {"deviance": "gamma"}),
    ),
    "quantiles": Card(
        fl.RegressionScorecard, (Y[:, 0], FAN), {"quantiles": (0.1, 0.5, 0.9)} | BOOTSTRAP,
        BY_CLUSTER, not_of_groups=("quantiles quantiles", "quantiles level"),
        others=({"force_finite": True}, {"quantiles": (0.2, 0.5, 0.8)}),
    ),
}  # fmt: skip
GROUPED = {name: card for name, card in CARDS.items() if card.has_groups}
every_card = partly_long(8, "card", CARDS.values(), ids=CARDS)
every_card_of_groups = partly_long(7, "card", GROUPED.values(), ids=GROUPED)


def numbers_of(result: Any) -> dict[str, Any]:
    """All numbers by name, be they in lists or dictionaries."""
    found: dict[str, Any] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                add(f"{name} {key}".strip(), each)
        elif value is not None and np.size(value) and np.asarray(value).dtype.kind in "biuf":
            found[name] = np.asarray(value, np.float64)

    add("", result if isinstance(result, dict) else result.to_dict())
    return found


def assert_same(found: Any, expected: Any, rtol: float = 1e-14) -> None:
    """Every number; of what is left of a difference of sums, the digits of these count.

    With a tolerance of 0 all of them are the same.
    """
    found, expected = numbers_of(found), numbers_of(expected)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        near = max(rtol, 1e-10) if rtol and "standard_error" in name else rtol
        atol = 1e-15 if rtol else 0.0
        np.testing.assert_allclose(found[name], value, rtol=near, atol=atol, err_msg=name)


def assert_told(found: Any, expected: Any, where: str = "result") -> None:
    """JSON has all numbers: to 1e-13, infinite ones as text, and NaN as null."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert_told(found[name], value, f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, value in enumerate(expected):
            assert_told(found[i], value, f"{where}[{i}]")
    elif isinstance(expected, float) and not np.isfinite(expected):
        assert found == {np.inf: "Infinity", -np.inf: "-Infinity"}.get(expected), where
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-13, abs=1e-15), where
    else:
        assert found == expected, where
