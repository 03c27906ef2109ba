"""Columns of Arrow, pandas and polars, and of files of them, beside the same numbers in NumPy."""

import json
import re
import sys

import numpy as np
import pytest
from plain import plain

import fastloss as fl
from fastloss import cli
from fastloss.call.arrays import as_array
from fastloss.evaluation.files import one_pass, opened, reading, tables
from fastloss.evaluation.files.part import COLUMN, PLAIN, FileError

pa = pytest.importorskip("pyarrow")
feather = pytest.importorskip("pyarrow.feather")
parquet = pytest.importorskip("pyarrow.parquet")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

pytestmark = plain

N, C = 1000, 3
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, C, N)
LOGITS = RNG.standard_normal((N, C)).astype(np.float32)
HALF, WIDE = LOGITS.astype(np.float16), LOGITS.astype(np.float64)
NAMES = np.array(["fr", "de", "Österreich"])[RNG.integers(0, 3, N)]


def listed(numbers, kind=None):
    """Rows as lists of a fixed size, or of any with `kind`."""
    rows = pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), numbers.shape[1])
    return rows if kind is None else rows.cast(kind)


NUMBERS = {
    "label": (pa.array(LABELS), LABELS),
    "fixed": (listed(LOGITS), LOGITS),
    "lists": (listed(LOGITS, pa.list_(pa.float32())), LOGITS),
    "half": (listed(HALF), HALF),
    "large": (listed(WIDE, pa.large_list(pa.float64())), WIDE),
    "flag": (pa.array(LABELS == 1), LABELS == 1),
    "bits": (
        pa.FixedSizeListArray.from_arrays(
            pa.array([each.tobytes() for each in HALF.reshape(-1)], pa.binary(2)), C
        ),
        HALF.view("V2"),
    ),
}
TEXTS = {"name": pa.array(NAMES), "category": pa.array(NAMES).dictionary_encode()}
TABLE = pa.table({name: column for name, (column, _) in NUMBERS.items()} | TEXTS)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, table=TABLE, batch=150):
    """The table in groups of rows; the name of the file says how."""
    if name.endswith(".parquet"):
        parquet.write_table(table, name, row_group_size=batch, write_page_checksum=True)
    elif name.startswith("stream"):
        with pa.OSFile(name, "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table, batch)
    else:
        compression = "zstd" if name.startswith("zstd") else "uncompressed"
        feather.write_feather(table, name, compression, chunksize=batch)
    return name


FILES = ("a.parquet", "a.arrow", "a.feather", "stream.arrow", "zstd.arrow", "zstd-stream.arrow")


@pytest.mark.parametrize("name", FILES)
def test_any_rows_of_any_column_are_what_was_written(name):
    write(name)
    for column, (_, numbers) in NUMBERS.items():
        parts = opened.find(f"{name}:{column}", numbers.ndim)
        # Nothing is decoded where numbers lie in the file as they are.
        as_they_are = name[0] in "as" and name != "a.parquet" and column != "flag"
        assert {part.stored for part in parts} == {PLAIN if as_they_are else COLUMN}, column
        rows = reading.FileRows(parts, numbers.dtype, numbers.ndim - 1)
        assert rows.shape == numbers.shape
        for start, stop in [(0, N), (0, 10), (140, 460), (7, 8), (999, 1000), (1000, 1000)]:
            found = rows.read(start, stop)
            np.testing.assert_array_equal(
                found.view(np.uint8), np.ascontiguousarray(numbers[start:stop]).view(np.uint8)
            )
        rows.check_unchanged()
        rows.close()
    for column in TEXTS:
        rows = opened.groups(f"{name}:{column}")
        for start, stop in [(140, 460), (0, 150), (999, 1000)]:
            codes, texts = rows.read(start, stop)
            assert [texts[code] for code in codes] == NAMES[start:stop].tolist()
        rows.close()


@pytest.mark.parametrize("name", ["a.parquet", "zstd.arrow"])
def test_little_is_decoded_at_a_time(name, monkeypatch):
    """However large the groups of rows of a .parquet are."""
    monkeypatch.setattr(tables, "_BATCH", 1200)
    write(name, batch=N if name == "a.parquet" else 100)
    rows = opened.logits([f"{name}:fixed"])
    np.testing.assert_array_equal(rows.read(20, 30), LOGITS[20:30])
    assert len(rows._opened[1].bytes) == 1200
    np.testing.assert_array_equal(rows.read(900, 1000), LOGITS[900:])
    rows.close()


def run(capsys, *arguments, status=0):
    assert cli.main(list(arguments)) == status
    printed = capsys.readouterr()
    return printed.err if status else json.loads(printed.out)


@pytest.mark.parametrize("name", FILES[:2])
def test_the_command_gives_what_arrays_give(name, capsys, monkeypatch):
    monkeypatch.setattr(one_pass, "CHUNK_BYTES", 6000)
    write(name, TABLE.select(["label", "fixed", "name"]).slice(0, 600))
    given = [f"{name}:label", f"{name}:fixed", "--groups", f"{name}:name", "--json"]
    found = run(capsys, "evaluate", *given)
    expected = fl.evaluate(LABELS[:600], LOGITS[:600], groups=NAMES[:600])
    assert found["loss"] == pytest.approx(expected.loss, rel=1e-14)
    assert found["groups"]["ids"] == ["de", "fr", "Österreich"]
    assert found["groups"]["loss"] == pytest.approx(expected.groups.means.loss, rel=1e-14)
    # Columns that alone fit need no name, and parts of a whole may be of any number of rows.
    os_parts = [write(f"part-{i}-{name}", TABLE.select(["fixed", "label"]).slice(i * 300, 300))
                for i in range(2)]  # fmt: skip
    pattern = f"part-*-{name}"
    assert len(os_parts) == 2
    assert run(capsys, "evaluate", pattern, pattern, "--json")["loss"] == found["loss"]


def test_the_command_reads_columns_of_every_task(capsys):
    columns = {
        "click": LABELS == 1,
        "score": WIDE[:, 0],
        "name": NAMES,
        "both": listed(WIDE[:, :2]),
    }
    write("a.parquet", pa.table(columns))
    groups = ["--groups", "a.parquet:name", "--json"]
    given = ["a.parquet:click", "a.parquet:score", "--task", "binary", *groups]
    found = run(capsys, "evaluate", *given)
    expected = fl.evaluate(LABELS == 1, WIDE[:, 0], task="binary", groups=NAMES)
    assert found["loss"] == pytest.approx(expected.loss, rel=1e-14)
    assert found["groups"]["ids"] == ["de", "fr", "Österreich"]
    given = ["a.parquet:both", "a.parquet:both", "--task", "regression", *groups]
    expected = fl.evaluate(WIDE[:, :2], WIDE[:, :2], task="regression", groups=NAMES)
    assert run(capsys, "evaluate", *given)["pearson"] == expected.to_dict()["pearson"]


def test_a_run_is_resumed_only_with_the_same_columns(capsys, monkeypatch):
    monkeypatch.setattr(one_pass, "CHUNK_BYTES", 600)
    monkeypatch.setattr(one_pass, "SAVE_SECONDS", 0.0)
    table = TABLE.append_column("other", TABLE["fixed"])
    write("a.parquet", table.slice(0, 300))
    given = ["a.parquet:label", "a.parquet:fixed", "--groups", "a.parquet:name", "--json"]
    whole = run(capsys, "evaluate", *given)
    update, calls = fl.Scorecard.update, []

    def interrupted(*arguments, **more):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError
        return update(*arguments, **more)

    monkeypatch.setattr(fl.Scorecard, "update", interrupted)
    state = ["--state", "a.state"]
    with pytest.raises(MemoryError):
        cli.main(["evaluate", *given, *state])
    other = ["a.parquet:label", "a.parquet:other", *given[2:]]
    said = run(capsys, "evaluate", *other, *state, "--resume", status=2)
    assert 'array of predictions was "fixed" and is "other" now' in said
    assert run(capsys, "evaluate", *given, *state, "--resume") == whole


def nulls(numbers, row):
    return pa.array([None if i == row else x for i, x in enumerate(numbers.tolist())])


def read(name):
    """All rows of an array."""
    parts = opened.find(name, 1)
    return reading.FileRows(parts, parts[0].dtype, len(parts[0].shape) - 1).read(0, N)


REFUSED = {
    "nulls": (nulls(LABELS, 444), r":nulls\[444\] is null, or holds one: leave such rows out"),
    "rows": (nulls(LOGITS, 160), r":rows\[160\] is null"),
    "inner": (
        pa.array([[1.0, None] if i == 7 else [1.0, 2.0] for i in range(N)]),
        r":inner\[7\] is null",
    ),
    "ragged": (
        pa.array([[1.0] if i == 303 else [1.0, 2.0] for i in range(N)]),
        r":ragged\[303\] has (1|\(1,\)) numbers",
    ),
    "times": (pa.array(LABELS, pa.timestamp("ms")), "has type timestamp.ms., which no loss takes"),
    "nested": (pa.array([[[1.0]]] * N), "has type list<.*>, which no loss takes"),
    "texts": (pa.array([["a"]] * N), "has type list<.*>, which no loss takes"),
}


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "zstd.arrow"])
@pytest.mark.parametrize("column", REFUSED)
def test_what_is_no_array_is_refused_with_its_place(name, column):
    values, message = REFUSED[column]
    write(name, pa.table({column: values}))
    with pytest.raises(FileError, match=message):
        read(f"{name}:{column}")


def test_texts_are_groups_and_nothing_else():
    write("a.parquet")
    with pytest.raises(FileError, match="a.parquet:name holds texts, but labels are class ids"):
        opened.labels("a.parquet:name")
    with pytest.raises(FileError, match="a.parquet:name holds texts, but numbers are expected"):
        opened.numbers("a.parquet:name")
    with pytest.raises(FileError, match="a.parquet:name holds texts, but predictions"):
        opened.logits(["a.parquet:name"])
    write("b.parquet", pa.table({"name": nulls(NAMES, 321)}))
    with pytest.raises(FileError, match=r"b.parquet:name\[321\] is null: leave such rows out, or"):
        opened.groups("b.parquet:name").read(0, N)


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_refused(name):
    with open(write(name, TABLE.select(["label", "fixed"])), "rb") as file:
        whole = file.read()
    for damaged in (b"", whole[:3], b"no table " * 99, whole[: len(whole) // 2]):
        with open(name, "wb") as file:
            file.write(damaged)
        with pytest.raises(
            FileError, match=f"{re.escape(name)}.*(is no|is damaged|cannot be read)"
        ):
            read(f"{name}:label")


def test_a_page_with_another_checksum_is_refused():
    name = write("a.parquet", pa.table({"label": LABELS}), batch=N)
    with open(name, "r+b") as file:
        content = bytearray(file.read())
        content[len(content) // 3] ^= 1
        file.seek(0)
        file.write(content)
    with pytest.raises(FileError, match="a.parquet:label is damaged: .*(CRC|checksum)"):
        opened.labels(f"{name}:label").read(0, N)


def test_a_file_that_is_cut_while_it_is_read_is_an_error():
    rows = opened.logits([f"{write('a.arrow')}:fixed"])
    rows.read(0, 10)
    with open("a.arrow", "r+b") as file:
        file.truncate(3000)
    with pytest.raises(FileError, match="ended early"):
        rows.read(0, N)


def test_without_pyarrow_the_error_says_what_to_install(monkeypatch):
    write("a.parquet")
    write("a.arrow")
    for module in ("pyarrow.parquet", "pyarrow.ipc", "pyarrow.lib"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("a.parquet", "a.arrow"):
        with pytest.raises(FileError, match=r'pip install "fastloss\[arrow\]"'):
            opened.labels(f"{name}:label")


# -------------------------------------------------------------------------------------------------
# In memory


def in_memory():
    """Columns with an array of the same numbers, by what they are of."""
    for name, (column, numbers) in NUMBERS.items():
        yield pytest.param(column, numbers, id=f"arrow-{name}")
        halves = pa.chunked_array([column[:400], column[400:400], column[400:]])
        yield pytest.param(halves, numbers, id=f"chunks-{name}")
        yield pytest.param(halves.slice(390, 20), numbers[390:410], id=f"slice-{name}")
    yield pytest.param(TABLE["fixed"].slice(5, 0), LOGITS[:0], id="no rows")
    wide = pa.table({str(i): LOGITS[:, i] for i in range(C)})
    for name, frame in {
        "arrow": wide,
        "pandas": wide.to_pandas(),
        "polars": pl.from_arrow(wide),
    }.items():
        yield pytest.param(frame, LOGITS, id=f"{name}-frame")
    image = pa.fixed_shape_tensor(pa.float32(), (C,))
    tensors = pa.ExtensionArray.from_storage(image, listed(LOGITS))
    yield pytest.param(tensors, LOGITS, id="arrow-tensors")
    for name, series in {
        "lists": pd.Series(LOGITS.tolist()),
        "arrays": pd.Series(list(LOGITS)),
        "arrow": pd.Series(pd.arrays.ArrowExtensionArray(listed(LOGITS, pa.list_(pa.float32())))),
    }.items():
        yield pytest.param(series, LOGITS, id=f"pandas-{name}")
    for kind in (pl.Array(pl.Float32, C), pl.List(pl.Float32), pl.List(pl.Float64)):
        expected = LOGITS.astype(np.float64) if "64" in str(kind) else LOGITS
        yield pytest.param(pl.Series(LOGITS.tolist(), dtype=kind), expected, id=f"polars-{kind}")
    for name, column in {
        "pandas": pd.Series(LABELS),
        "masked": pd.Series(LABELS, dtype="Int64"),
        "arrow": pd.Series(LABELS, dtype="int64[pyarrow]"),
        "polars": pl.Series(LABELS),
    }.items():
        yield pytest.param(column, LABELS, id=f"{name}-labels")


@pytest.mark.parametrize(("column", "numbers"), list(in_memory()))
def test_a_column_is_an_array(column, numbers):
    found = as_array(column, "logits")
    assert found.shape == numbers.shape
    np.testing.assert_array_equal(
        np.ascontiguousarray(found, numbers.dtype).view(np.uint8), numbers.view(np.uint8)
    )


def test_numbers_of_arrow_are_not_copied():
    for name, (column, _) in NUMBERS.items():
        found = as_array(column, "logits")
        leaf = column
        while hasattr(leaf, "flatten"):
            leaf = leaf.flatten()
        place = found.__array_interface__["data"][0]
        assert (place == leaf.buffers()[1].address) == (name != "flag"), name


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (REFUSED["nulls"][0], r"logits\[444\] is null, or holds one"),
        (REFUSED["inner"][0], r"logits\[7\] is null, or holds one"),
        (pl.Series([1, 2, None]), r"logits\[2\] is null.* logits.fill_null\(0\)"),
        (pl.Series([[1, 2], [3, None]]), r"logits\[1\] is null"),
        (pd.Series([1, None, 2], dtype="Int64"), r"logits\[1\] is missing.* logits.fillna\(0\)"),
        (pl.Series([[1, 2], None]), r"logits\[1\] is null"),
        (REFUSED["ragged"][0], r"logits\[303\] has 1 numbers and logits\[0\] has 2"),
        (pl.Series([[1, 2], [3]]), r"logits\[1\] has 1 numbers and logits\[0\] has 2"),
        (pd.Series([[1, 2], [3]]), r"logits\[1\] has 1 numbers and logits\[0\] has 2"),
    ],
)
def test_what_a_column_may_not_hold(column, message):
    with pytest.raises(ValueError, match=message):
        fl.evaluate([0] * len(column), column)


def test_tables_of_all_kinds_are_evaluated():
    expected = fl.evaluate(LABELS, LOGITS, groups={"name": NAMES, "label": LABELS})
    frame = pl.from_arrow(TABLE.select(["label", "fixed", "name"]))
    pandas = TABLE.select(["label", "lists", "name"]).to_pandas()
    pandas["name"] = pandas["name"].astype("category")
    for labels, logits, groups in (
        (TABLE["label"], TABLE["fixed"], TABLE.select(["name", "label"])),
        (TABLE["label"], TABLE["lists"], {"name": TABLE["category"], "label": TABLE["label"]}),
        (frame["label"], frame["fixed"], frame[["name", "label"]]),
        (pandas["label"], pandas["lists"], pandas[["name", "label"]]),
    ):
        found = fl.evaluate(labels, logits, groups=groups)
        assert found == expected
    table = found.groups.to_pandas()
    assert table.index.names == ["name", "label"]
    assert table.loc[("de", 1), "loss"] == expected.groups.means.loss[1]


@pytest.mark.parametrize(
    "groups",
    [
        pa.array(["a", None, "b"]),
        pa.array(["a", None, "b"]).dictionary_encode(),
        pa.array([1, None, 2]),
        pd.Series(["a", None, "b"]),
        pd.Series(["a", None, "b"], dtype="category"),
        pl.Series(["a", None, "b"]),
        {"x": pl.Series([1, None, 2])},
    ],
)
def test_rows_without_a_group_are_refused(groups):
    with pytest.raises(ValueError, match=r"groups(\['x'\])?\[1\] is (missing|null)"):
        fl.evaluate(LABELS[:3], LOGITS[:3], groups=groups)


def test_groups_that_are_lists_are_refused():
    with pytest.raises(TypeError, match="groups holds lists or the like: give several columns"):
        fl.evaluate(LABELS[:2], LOGITS[:2], groups=pa.array([[1], [2]]))
