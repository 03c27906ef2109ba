"""Results as lines of text and as JSON."""

import json
import math
from collections.abc import Mapping
from typing import Any


def as_json(result: Mapping[str, Any]) -> str:
    """A line for each entry. JSON has no NaN and no infinity: these are null and text."""
    lines = [f" {json.dumps(name)}: {_text(value)}" for name, value in result.items()]
    return "\n".join(["{", ",\n".join(lines), "}"])


def _text(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:  # NaN or infinity, for which one need not look where there is none
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    """
    >>> _finite([1.5, math.nan, math.inf, -math.inf])
    [1.5, None, 'Infinity', '-Infinity']
    """
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
