"""Data frames of Spark, on a local Spark: needs PySpark and a Java."""

import os
import shutil
import sys

import numpy as np
import pytest

import fastloss as fl

pytest.importorskip("pyspark")
pa = pytest.importorskip("pyarrow")
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("Spark needs a Java, and there is none", allow_module_level=True)

from pyspark.sql import SparkSession  # noqa: E402

import fastloss.spark  # noqa: E402

# What Spark itself leaves open, and what it has deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:PySpark:FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

N, C = 400, 3
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, C, N)
LOGITS = RNG.standard_normal((N, C)).astype(np.float32)
NAMES = np.array(["fr", "de", "Österreich"])[RNG.integers(0, 3, N)]
WEIGHTS = RNG.uniform(0, 1, N)


@pytest.fixture(scope="module")
def spark():
    # Workers are new processes, which compile nothing.
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "NUMBA_DISABLE_JIT": "1"}
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "90")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture(scope="module")
def df(spark):
    table = zip(LABELS.tolist(), LOGITS.tolist(), NAMES.tolist(), WEIGHTS.tolist(), strict=True)
    schema = "label long, `the.logits` array<float>, name string, weight double"
    # Some partitions are empty.
    return (
        spark.createDataFrame(list(table), schema)
        .repartition(5)
        .union(spark.createDataFrame([], schema))
    )


def test_numbers_are_those_of_one_machine(df):
    found = fl.spark.evaluate(
        df, labels="label", predictions="the.logits", groups=["name", "label"],
        sample_weight="weight", n_bins=5,
    )  # fmt: skip
    groups = {"name": NAMES, "label": LABELS}
    expected = fl.evaluate(LABELS, LOGITS, groups=groups, sample_weight=WEIGHTS, n_bins=5)
    assert (found.n_rows, found.accuracy) == (N, pytest.approx(expected.accuracy, rel=1e-14))
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)  # compiled or not
    np.testing.assert_array_equal(found.groups.ids, expected.groups.ids)
    np.testing.assert_allclose(found.groups.means.loss, expected.groups.means.loss, rtol=1e-5)


def test_other_tasks(df):
    found = fl.spark.evaluate(df, labels="weight", predictions="label", task="regression")
    assert found.n_rows == N
    assert found.mae == pytest.approx(np.abs(LABELS - WEIGHTS).mean(), rel=1e-12)


def test_clusters_and_a_bootstrap(df):
    found = fl.spark.evaluate(
        df, labels="weight", predictions="label", task="regression",
        clusters=["name", "label"], bootstrap=4,
    )  # fmt: skip
    clusters = {"name": NAMES, "label": LABELS}
    expected = fl.evaluate(WEIGHTS, LABELS, task="regression", clusters=clusters, bootstrap=4)
    assert (found.errors, found.n_clusters) == ("clusters", 9)
    assert found.mae_standard_error == pytest.approx(expected.mae_standard_error, rel=1e-12)
    for name, means in expected.bootstrap.replicates.items():
        np.testing.assert_allclose(found.bootstrap.replicates[name], means, rtol=1e-12)


def test_what_is_refused_before_a_job_is_started(df):
    with pytest.raises(ValueError, match="labels is the column 'y', but there are label, the.log"):
        fl.spark.evaluate(df, labels="y", predictions="the.logits")
    with pytest.raises(TypeError, match="sample_weight is 1.0, but must be the name of a column"):
        fl.spark.evaluate(df, labels="label", predictions="the.logits", sample_weight=1.0)
    with pytest.raises(TypeError, match="knows no bins"):
        fl.spark.evaluate(df, labels="label", predictions="the.logits", bins=3)


def test_rows_that_are_refused_fail_the_job(df):
    with pytest.raises(Exception, match=r"labels\[\d+\] is 2"):
        fl.spark.evaluate(df, labels="label", predictions="label", task="binary")
