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
    else:
        # Of one column with a name ids are tuples of one; a name may itself be a tuple.
        keys: Any = ids
        if ids.dtype == object:
            keys = [each[0] if isinstance(each, tuple) and len(each) == 1 else each for each in ids]
        index = pd.Index(keys, name=names[0], tupleize_cols=False)
    return pd.DataFrame(dict(columns), index=index)
