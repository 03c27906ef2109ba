"""On Dask arrays all is as on NumPy arrays, however they are cut, on threads and on clusters."""

import importlib
import math
import os
import signal
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from cards import GROUPED, assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import compiled, partly_long, plain

from fastloss.evaluation.tasks import TASKS

pytest.importorskip("dask", reason="needs Dask: pip install 'fastloss[dask]'")

import dask
import dask.array as da

import fastloss as fl
import fastloss.dask

pytestmark = plain

RNG = np.random.default_rng(5)
N, C = 23, 5
UNEVEN = (7, 1, 0, 12, 3)
LOGITS = RNG.normal(0.0, 3.0, (N, C))
LABELS = RNG.integers(0, C, N)
WEIGHT = RNG.uniform(0.1, 3.0, N)
WEIGHTED = fl.CrossEntropy(class_weight=[0.5, 2.0, 0.0, 1.0, 3.0], ignore_index=1)


@pytest.fixture(autouse=True)
def threads():
    """Tests choose another scheduler where they need one."""
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


def cut(array, *chunks):
    return da.from_array(array, chunks=chunks or (UNEVEN, -1)[: array.ndim])


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def agree(loss, y_true, y_pred, chunked, **options):
    """Loss and gradient are those of one call, but for the order of the last sums."""
    expected, expected_grad = loss.value_and_grad(y_true, y_pred, **options)
    value = fl.dask.value(loss, y_true, chunked, **options)
    again, grad = fl.dask.value_and_grad(loss, y_true, chunked, **options)
    assert grad.chunks == chunked.chunks
    assert grad.dtype == expected_grad.dtype
    value, again, grad = dask.compute(value, again, grad)
    np.testing.assert_allclose(value, expected, rtol=1e-15)
    np.testing.assert_allclose(again, expected, rtol=1e-15)
    # The weight of all may differ in its last two bits, and so do two products with it.
    np.testing.assert_allclose(grad, expected_grad, rtol=4 * np.finfo(grad.dtype).eps)


# -------------------------------------------------------------------------------------------------
# Values


def test_the_mean_of_uneven_chunks_is_that_of_all_rows():
    """By the formula: chunks of 7, 1, 0, 12 and 3 rows do not count the same."""
    losses = -log_softmax(LOGITS)[np.arange(N), LABELS]
    value = fl.dask.value(fl.cross_entropy, cut(LABELS), cut(LOGITS))
    assert (value.shape, value.dtype) == ((), np.float64)
    assert math.isclose(float(value), losses.mean(), rel_tol=1e-14)


def test_the_mean_is_over_the_weights_of_all_chunks():
    """By the formula: class weights, sample weights and ignored rows."""
    weight = np.where(LABELS == 1, 0.0, WEIGHT * np.array(WEIGHTED.class_weight)[LABELS])
    losses = -log_softmax(LOGITS)[np.arange(N), LABELS]
    value = fl.dask.value(WEIGHTED, cut(LABELS), cut(LOGITS), sample_weight=cut(WEIGHT))
    assert math.isclose(float(value), (weight * losses).sum() / weight.sum(), rel_tol=1e-14)
    _, grad = fl.dask.value_and_grad(WEIGHTED, LABELS, cut(LOGITS), sample_weight=WEIGHT)
    expected = (np.exp(log_softmax(LOGITS)) - np.eye(C)[LABELS]) * weight[:, None] / weight.sum()
    np.testing.assert_allclose(grad.compute(), expected, rtol=1e-13, atol=1e-17)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@partly_long(1, "dtype", [np.float64, np.float32])
def test_rows(reduction, dtype):
    logits = LOGITS.astype(dtype)
    for loss in (
        replace(fl.cross_entropy, reduction=reduction),
        replace(WEIGHTED, reduction=reduction),
    ):
        agree(loss, LABELS, logits, cut(logits))
        agree(loss, LABELS, logits, cut(logits), sample_weight=WEIGHT)


@settings(deadline=None, max_examples=30)
@given(data=st.data(), n=st.integers(1, 40))
@pytest.mark.long
def test_any_cut(data, n):
    rng = np.random.default_rng(n)
    ends = sorted(data.draw(st.sets(st.integers(1, n), max_size=6)) | {n})
    chunks = tuple(int(size) for size in np.diff([0, *ends]))
    logits, labels = rng.normal(size=(n, C)), rng.integers(0, C, n)
    weight = rng.integers(0, 3, n) + 1.0
    chunked = da.from_array(logits, chunks=(chunks, C))
    agree(fl.cross_entropy, labels, logits, chunked, sample_weight=weight)


def test_no_rows_in_chunks_that_differ():
    logits, labels = da.zeros((0, C), chunks=((0, 0), C)), da.zeros(0, int, chunks=((0, 0, 0),))
    value, grad = fl.dask.value_and_grad(fl.CrossEntropy(reduction="sum"), labels, logits)
    assert float(value) == 0.0
    assert grad.compute().shape == (0, C)
    with pytest.warns(RuntimeWarning, match="no row counts"):
        assert fl.dask.evaluate(labels, logits).compute().n_rows == 0


def test_labels_of_all_kinds():
    soft = RNG.dirichlet(np.ones(C), N)
    chunked = cut(LOGITS)
    agree(WEIGHTED, soft, LOGITS, chunked, sample_weight=WEIGHT)
    sparse = RNG.integers(0, C, (N, 2)), RNG.dirichlet(np.ones(2), N)
    loss = replace(WEIGHTED, ignore_index=None)
    agree(loss, sparse, LOGITS, chunked, sample_weight=WEIGHT)
    as_dask = tuple(da.from_array(part, chunks=(4, 1)) for part in sparse)
    value = fl.dask.value(loss, as_dask, chunked)
    assert math.isclose(float(value), loss(sparse, LOGITS), rel_tol=1e-15)


def test_leading_axes():
    """(batch, time, vocab), cut along both; labels in other chunks."""
    logits, labels = RNG.normal(size=(4, 6, C)), RNG.integers(0, C, (4, 6))
    chunked = da.from_array(logits, chunks=((1, 3), (4, 2), C))
    agree(WEIGHTED, labels, logits, chunked)
    other = da.from_array(labels, chunks=(2, 5))
    value = fl.dask.value(WEIGHTED, other, chunked)
    assert math.isclose(float(value), WEIGHTED(labels, logits), rel_tol=1e-15)


@pytest.mark.parametrize(
    ("loss", "shape", "weight_shape"),
    [
        (fl.mse, (23, 4), (23, 4)),
        (fl.Huber(delta=0.5), (23, 4), (23,)),
        (fl.poisson, (23, 4), None),
    ],
)
def test_elements_in_any_chunks(loss, shape, weight_shape):
    y_true, y_pred = RNG.uniform(0.5, 2.0, (2, *shape))
    weight = None if weight_shape is None else RNG.uniform(0.5, 2.0, weight_shape)
    agree(
        loss,
        y_true,
        y_pred,
        da.from_array(y_pred, chunks=((3, 20), (1, 2, 1))),
        sample_weight=weight,
    )


def test_losses_of_other_shapes():
    """A pair of columns, columns with options of their own, probabilities with weights."""
    y_true, mean, variance = RNG.uniform(0.5, 2.0, (3, N))
    pairs = np.stack([mean, variance], axis=-1)
    agree(fl.GaussianNLL(), y_true, pairs, cut(pairs), sample_weight=WEIGHT)
    columns = RNG.normal(size=(N, 2))
    quantiles = fl.Quantile(q=[0.1, 0.9])
    agree(quantiles, y_true, columns, cut(columns), sample_weight=WEIGHT)
    p = RNG.uniform(0.1, 0.9, (N, C))
    agree(fl.categorical_cross_entropy, LABELS, p, cut(p), sample_weight=WEIGHT)
    agree(fl.Dice(), np.round(p), p, cut(p), sample_weight=WEIGHT)


def test_no_reduction():
    loss = fl.CrossEntropy(reduction="none")
    losses = fl.dask.value(loss, LABELS, cut(LOGITS, 6, C))
    assert losses.chunks == ((6, 6, 6, 5),)
    again, grad = fl.dask.value_and_grad(loss, LABELS, cut(LOGITS, 6, C))
    expected, expected_grad = loss.value_and_grad(LABELS, LOGITS)
    for found, truth in ((losses, expected), (again, expected), (grad, expected_grad)):
        np.testing.assert_array_equal(found.compute(), truth)
    single = fl.dask.value(loss, LABELS, cut(LOGITS.astype(np.float32)))
    assert single.dtype == single.compute().dtype == np.float32


def test_nothing_counts():
    loss = fl.CrossEntropy(ignore_index=0)
    value, grad = fl.dask.value_and_grad(loss, np.zeros(N, int), cut(LOGITS))
    with pytest.warns(RuntimeWarning, match="the mean of no samples is nan"):
        assert math.isnan(value.compute())
    np.testing.assert_array_equal(grad.compute(), np.zeros((N, C)))
    with pytest.warns(RuntimeWarning, match="the mean of no samples is nan"):
        assert math.isnan(fl.dask.value(fl.mse, np.zeros(0), da.zeros(0)).compute())


def test_nothing_is_computed_before_it_is_asked_for():
    def fail(block):
        raise AssertionError("computed")

    logits = cut(LOGITS).map_blocks(fail, meta=np.empty((0, 0)))
    fl.dask.value(fl.cross_entropy, LABELS, logits)
    fl.dask.value_and_grad(WEIGHTED, LABELS, logits, sample_weight=WEIGHT)


def test_logits_are_computed_once():
    """Also where the mean is over weights: these need the labels alone."""
    seen = []

    def look(block):
        seen.append(len(block))
        return block

    logits = cut(LOGITS).map_blocks(look, meta=np.empty((0, 0)))
    with dask.config.set(scheduler="synchronous"):
        dask.compute(fl.dask.value(WEIGHTED, LABELS, logits))
        assert sorted(seen) == sorted(UNEVEN)
        seen.clear()
        dask.compute(*fl.dask.value_and_grad(WEIGHTED, LABELS, logits))
        assert sorted(seen) == sorted(UNEVEN)


# -------------------------------------------------------------------------------------------------
# Errors


def test_without_dask_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    monkeypatch.delitem(sys.modules, "fastloss.dask")
    with pytest.raises(ImportError, match=r'pip install "fastloss\[dask\]"'):
        importlib.import_module("fastloss.dask")


def test_errors_come_before_anything_is_computed():
    chunked = cut(LOGITS)
    with pytest.raises(TypeError, match="logits must be a Dask array, got ndarray"):
        fl.dask.value(fl.cross_entropy, LABELS, LOGITS)
    with pytest.raises(ValueError, match=r"write logits\.rechunk\(\{-1: -1\}\)"):
        fl.dask.value(fl.cross_entropy, LABELS, da.from_array(LOGITS, chunks=(N, 2)))
    with pytest.raises(ValueError, match=r"write labels\.compute_chunk_sizes\(\)"):
        fl.dask.value(fl.cross_entropy, cut(LABELS)[cut(LABELS) > 0], chunked)
    with pytest.raises(ValueError, match=r"write logits\.compute_chunk_sizes\(\)"):
        fl.dask.value(fl.cross_entropy, LABELS, chunked[cut(LABELS) > 0])
    with pytest.raises(
        ValueError, match=r"y_true has shape \(23,\) and y_pred has shape \(23, 1\)"
    ):
        fl.dask.value(fl.mse, np.zeros(23), da.zeros((23, 1)))
    with pytest.raises(TypeError, match="labels has dtype float64, but class ids"):
        fl.dask.value(fl.cross_entropy, LABELS.astype(float), chunked)
    with pytest.raises(ValueError, match="sample_weight has shape"):
        fl.dask.value(fl.cross_entropy, LABELS, chunked, sample_weight=WEIGHT[1:])
    with pytest.raises(TypeError, match="masked array"):
        fl.dask.value(fl.cross_entropy, np.ma.masked_array(LABELS), chunked)
    with pytest.raises(TypeError, match="labels has dtype object"):  # and is no sparse array
        fl.dask.value(fl.cross_entropy, dask.delayed(LABELS), chunked)
    with pytest.raises(TypeError, match=r"build a loss, CrossEntropy\(\)"):
        fl.dask.value_and_grad(fl.CrossEntropy, LABELS, chunked)
    with pytest.raises(TypeError, match="loss must be a loss of fastloss, got str"):
        fl.dask.value_and_grad("cross_entropy", LABELS, chunked)


@pytest.mark.parametrize("loss", [fl.cross_entropy, WEIGHTED])
def test_a_bad_label_is_told_with_its_chunk(loss):
    labels = LABELS.copy()
    labels[11] = 7
    message = r"in the chunk that begins at \[8\].* labels\[3\] is 7"
    with pytest.raises(ValueError, match=message):
        fl.dask.value(loss, labels, cut(LOGITS)).compute()
    with pytest.raises(ValueError, match=message):
        fl.dask.value_and_grad(loss, labels, cut(LOGITS))[1].compute()


# -------------------------------------------------------------------------------------------------
# Scores


@partly_long(3, "name", GROUPED)
def test_scores_of_every_task_are_those_of_one_machine(name):
    """With groups and clusters that are names, in chunks that do not know of each other."""
    card = GROUPED[name]
    (task,) = (each for each, known in TASKS.items() if known.scorecard is card.kind)
    labels, predictions = card.data
    given = card.more | card.given()
    expected = fl.evaluate(labels, predictions, task=task, **card.options, **given)
    chunked = da.from_array(predictions, chunks=((20, 1, 0, 39), *predictions.shape[1:]))
    columns = {"name": given["groups"], "again": given["groups"]}
    for groups in given["groups"], cut(given["groups"], 11), columns:
        told = {**given, "groups": groups, card.weight: cut(given[card.weight], 7)}
        if "clusters" in told:
            told["clusters"] = cut(told["clusters"], 9)
        found = fl.dask.evaluate(labels, chunked, task=task, **card.options, **told).compute()
        assert_same(found, expected, 1e-13)
    assert found.groups.columns == ("name", "again")
    ids = np.arange(len(labels))
    by_ids = {"task": task, **card.options, "bootstrap": 4, "ids": ids}
    found = fl.dask.evaluate(labels, chunked, **by_ids).compute()
    replicates = fl.evaluate(labels, predictions, **by_ids).bootstrap.replicates
    for name, means in replicates.items():
        np.testing.assert_array_equal(found.bootstrap.replicates[name], means)


def test_scores_by_the_formula():
    found = fl.dask.evaluate(LABELS, cut(LOGITS)).compute()
    log_p = log_softmax(LOGITS)
    losses = -log_p[np.arange(N), LABELS]
    assert found.n_rows == N
    assert math.isclose(found.loss, losses.mean(), rel_tol=1e-14)
    assert math.isclose(found.accuracy, (LOGITS.argmax(1) == LABELS).mean(), rel_tol=1e-15)
    assert math.isclose(
        found.brier, ((np.exp(log_p) - np.eye(C)[LABELS]) ** 2).sum(axis=1).mean(), rel_tol=1e-13
    )


def test_sequences_go_on_in_other_chunks():
    """Of offsets too, with one that has no rows, and bits per byte."""
    offsets, n_bytes = [0, 2, 2, 15, N], [7, 0, 40, 20]
    options = {"offsets": offsets, "n_bytes": n_bytes}
    found = fl.dask.evaluate(LABELS, cut(LOGITS), **options).compute()
    assert_same(found, fl.evaluate(LABELS, LOGITS, **options))
    assert found.sequences.n.tolist() == [2, 0, 13, 8]


def test_masks_of_all_rows():
    labels, mask = LABELS % 4, [True] * 4 + [False]
    found = fl.dask.evaluate(labels, cut(LOGITS), class_mask=mask).compute()
    assert_same(found, fl.evaluate(labels, LOGITS, class_mask=mask))


def test_leading_axes_of_scores():
    logits, labels = RNG.normal(size=(4, 6, C)), RNG.integers(0, C, (4, 6))
    chunked = da.from_array(logits, chunks=((1, 3), (4, 2), C))
    options = {"groups": labels % 3}
    found = fl.dask.evaluate(labels, chunked, **options).compute()
    assert_same(found, fl.evaluate(labels, logits, **options))
    found = fl.dask.evaluate(labels, chunked, offsets=[0, 5, 24]).compute()
    assert_same(found, fl.evaluate(labels, logits, offsets=[0, 5, 24]))


X, TRUTH = LOGITS[:, 0], LABELS % 2


def test_queries_go_on_in_other_chunks():
    options = {"task": "ranking", "queries": np.arange(N) % 4, "k": (2, None)}
    found = fl.dask.evaluate(LABELS, da.from_array(X, chunks=5), **options).compute()
    assert_same(found, fl.evaluate(LABELS, X, **options), 1e-12)


def test_what_no_task_takes_of_chunks():
    chunked = da.from_array(X, chunks=5)
    with pytest.raises(ValueError, match="there is no task 'bin'"):
        fl.dask.evaluate(TRUTH, chunked, task="bin")
    with pytest.raises(TypeError, match="task='binary' knows no temperature"):
        fl.dask.evaluate(TRUTH, chunked, task="binary", temperature=2.0)
    with pytest.raises(ValueError, match="offsets is not for Dask arrays: .* queries of rankings"):
        fl.dask.evaluate(TRUTH, chunked, task="ranking", offsets=[0, N])
    with pytest.raises(ValueError, match=r"labels has shape \(22,\) and predictions have shape"):
        fl.dask.evaluate(TRUTH[1:], chunked, task="binary")
    with pytest.raises(ValueError, match=r"predictions\.rechunk"):
        fl.dask.evaluate(TRUTH, da.from_array(LOGITS, chunks=(5, 2)), task="binary")
    lazy = fl.dask.evaluate(np.where(np.arange(N) == 5, 7, TRUTH), chunked, task="binary")
    with pytest.raises(ValueError, match=r"chunk that begins at \[5\].*labels\[0\] is 7"):
        lazy.compute()


@pytest.mark.long
def test_the_tree_of_many_chunks_is_the_same_each_time():
    n = 300
    logits, labels = RNG.normal(size=(n, C)), RNG.integers(0, C, n)
    lazy = fl.dask.evaluate(labels, da.from_array(logits, chunks=(3, C)))
    found = [lazy.compute(num_workers=4), lazy.compute(scheduler="synchronous")]
    assert_same(found[0], found[1], rtol=0)
    assert_same(found[0], fl.evaluate(labels, logits))


def test_errors_of_scores_come_before_anything_is_computed():
    logits = cut(LOGITS)
    with pytest.raises(ValueError, match=r"write logits\.rechunk\(\{-1: -1\}\)"):
        fl.dask.evaluate(LABELS, da.from_array(LOGITS, chunks=(N, 2)))
    with pytest.raises(ValueError, match=r"labels has shape \(22,\) and logits have shape"):
        fl.dask.evaluate(LABELS[1:], logits)
    with pytest.raises(ValueError, match=r"groups has shape \(2, 1\), but .*expected \(2, 3\)"):
        fl.dask.evaluate(np.zeros((2, 3), int), da.zeros((2, 3, 5)), groups=np.zeros((2, 1), int))
    with pytest.raises(TypeError, match="labels have the shape of the logits"):
        fl.dask.evaluate(np.eye(C)[LABELS], logits)
    with pytest.raises(ValueError, match="class_weight has 2 numbers, but there are 5 classes"):
        fl.dask.evaluate(LABELS, logits, class_weight=[1, 2])
    with pytest.raises(ValueError, match="offsets goes from 0 to 5, but must go from 0 to 23"):
        fl.dask.evaluate(LABELS, logits, offsets=[0, 5])
    with pytest.raises(ValueError, match="n_bytes is for the sequences of offsets"):
        fl.dask.evaluate(LABELS, logits, n_bytes=[5])
    with pytest.raises(ValueError, match="sequences or offsets, not both"):
        fl.dask.evaluate(LABELS, logits, offsets=[0, N], sequences=LABELS)
    with pytest.raises(ValueError, match="rows is not for Dask arrays: leave it out$"):
        fl.dask.evaluate(LABELS, logits, rows=["loss"])
    with pytest.raises(ValueError, match=r"rows of logits have two axes"):
        fl.dask.evaluate(0, da.zeros(3))


def test_a_bad_number_is_told_with_its_chunk():
    labels = LABELS.copy()
    labels[11] = 7
    with pytest.raises(ValueError, match=r"in the chunk that begins at \[8\].* labels\[3\] is 7"):
        fl.dask.evaluate(labels, cut(LOGITS)).compute()
    with pytest.raises(TypeError, match="groups has dtype float64"):
        fl.dask.evaluate(LABELS, cut(LOGITS), groups=LABELS / 2).compute()


# -------------------------------------------------------------------------------------------------
# Processes and clusters


@compiled
@pytest.mark.long
def test_processes():
    with dask.config.set(scheduler="processes", num_workers=2):
        found = fl.dask.evaluate(cut(LABELS), cut(LOGITS)).compute()
        value = fl.dask.value(WEIGHTED, cut(LABELS), cut(LOGITS), sample_weight=WEIGHT).compute()
    assert_same(found, fl.evaluate(LABELS, LOGITS))
    expected = WEIGHTED(LABELS, LOGITS, sample_weight=WEIGHT)
    assert math.isclose(value, expected, rel_tol=1e-15)


@pytest.fixture(scope="module")
def client():
    """Two workers, each a process."""
    distributed = pytest.importorskip(
        "distributed", reason="needs distributed: pip install 'fastloss[dask]'"
    )
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@compiled
@pytest.mark.long
def test_a_cluster(client):
    logits = cut(LOGITS.astype(np.float32))
    lazy = fl.dask.evaluate(LABELS, logits, sample_weight=WEIGHT)
    value_and_grad = fl.dask.value_and_grad(WEIGHTED, LABELS, logits, sample_weight=WEIGHT)
    found, value, grad = client.gather(client.compute([lazy, *value_and_grad]))
    assert_same(found, lazy.compute(), rtol=0)
    assert_same(found, fl.evaluate(LABELS, LOGITS.astype(np.float32), sample_weight=WEIGHT))
    value_here, grad_here = dask.compute(*value_and_grad)
    assert value == value_here
    np.testing.assert_array_equal(grad, grad_here)


def slowly(block):
    time.sleep(0.1)
    return block


@compiled
@pytest.mark.long
def test_a_killed_worker_costs_a_retry_and_no_wrong_number(client):
    n = 40
    logits, labels = RNG.normal(size=(n, C)), RNG.integers(0, C, n)
    chunked = da.from_array(logits, chunks=(1, C))
    slow = chunked.map_blocks(slowly, meta=np.empty((0, 0)))
    pids = client.run(os.getpid)
    assert len(pids) == 2
    future = client.compute(fl.dask.evaluate(labels, slow))
    victim, pid = next(iter(pids.items()))
    until_it_has_results(client, victim)
    assert not future.done()
    os.kill(pid, signal.SIGKILL)
    found = future.result(timeout=60)
    assert pid not in client.run(os.getpid).values()
    assert_same(found, fl.dask.evaluate(labels, chunked).compute(), rtol=0)
    assert_same(found, fl.evaluate(labels, logits))


def until_it_has_results(client, worker):
    """Wait until something would be lost with a worker."""
    deadline = time.monotonic() + 30
    while not client.has_what([worker])[worker]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
