"""Tables of results as data frames of pandas, which is imported only then."""

from collections.abc import Mapping
from typing import Any

from ..call.arrays import Array


def frame(columns: Mapping[str, Array], ids: Array, names: tuple[str | None, ...]) -> Any:
    """A data frame of columns; ids are its index, and tuples if names are those of columns."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "to_pandas() needs pandas, which is not installed: pip install pandas, or take "
            "to_dict(), which has lists"
        ) from error
    if len(names) > 1:
        index = pd.MultiIndex.from_tuples(ids.tolist(), names=names)
    elif ids.size and isinstance(ids[0], tuple):
        index = pd.Index([only for (only,) in ids], name=names[0])
    else:
        index = pd.Index(ids, name=names[0])
    return pd.DataFrame(dict(columns), index=index)
