"""A small call takes a short way once it is known, and gives what the general way gives."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from plain import compiled, partly_long, plain
from registry import CASES, DTYPES, GAUSSIAN, assert_same, name_of

import fastloss as fl
from fastloss.call import blocks as _blocks
from fastloss.call import run
from fastloss.call import threads as _threads
from fastloss.call.short import address_call, small_call
from fastloss.kernels.args import BOTH, COMPUTE, SURVEY, Args

pytestmark = plain

IDS = np.array([0, 2, 1, 1])
LOGITS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
# So many that a call has several blocks.
MANY = 4000
SIZES = partly_long(
    1,
    "ids, logits",
    [(IDS, LOGITS), (np.tile(IDS, MANY), np.tile(LOGITS, (MANY, 1)))],
    ids=["one block", "several blocks"],
)
EITHER = pytest.mark.parametrize(
    "way", ["plain", pytest.param("compiled", marks=compiled)]
)  # for what a kernel asks of its arrays
BCE = fl.BinaryCrossEntropyWithLogits()
WEIGHED = fl.CrossEntropy(class_weight=[1.0, 0.5, 2.0], ignore_index=-1)


def again(call):
    """The result of the general way, and that of the short one."""
    return call(), call()


@pytest.fixture(autouse=True)
def unknown():
    """Losses that have seen no call."""
    for loss in (fl.cross_entropy, fl.mse, BCE, WEIGHED):
        loss._family.calls.clear()


@compiled
@SIZES
@partly_long(1, "loss", [fl.cross_entropy, WEIGHED], ids=str)
def test_both_ways_give_the_same(loss, ids, logits):
    first, second = again(lambda: loss.value_and_grad(ids, logits))
    assert loss._family.calls, "the call is remembered"
    (call,) = loss._family.calls.values()
    assert call.small is not None
    assert (call.cut.n_blocks > 1) == (len(ids) > len(IDS))
    assert_same(second[0], first[0])
    assert_same(second[1], first[1])
    assert second[1] is not first[1]
    assert_same(*again(lambda: loss(ids, logits)))
    assert_same(*again(lambda: loss.grad(ids, logits)))
    for _ in range(2):
        out = np.empty_like(logits)
        assert loss.grad(ids, logits, out=out) is out
        assert_same(out, first[1])
        in_place = logits.copy()
        assert loss.grad(ids, in_place, out=in_place) is in_place
        assert_same(in_place, first[1])


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
def test_numbers_of_16_bits_and_truth_values(dtype):
    logits = LOGITS.astype(dtype)
    for loss, y_true in ((fl.cross_entropy, IDS), (BCE, LOGITS > 0)):
        first, second = again(lambda: loss.value_and_grad(y_true, logits))  # noqa: B023
        assert next(iter(loss._family.calls.values())).small is not None
        assert_same(second[0], first[0])
        assert_same(second[1], first[1])
        assert_same(*again(lambda: loss(y_true, logits)))  # noqa: B023
        in_place = logits.copy()
        assert loss.grad(y_true, in_place, out=in_place) is in_place
        assert loss.grad(y_true, logits, out=in_place) is in_place
        assert_same(in_place, first[1])


@EITHER
def test_layouts_that_only_look_alike(way):
    true = fl.cross_entropy.value_and_grad(IDS, LOGITS)
    fortran = np.asfortranarray(LOGITS)
    twice = np.repeat(IDS, 2)[::2]
    unaligned = np.zeros(LOGITS.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(LOGITS.shape)
    unaligned[...] = LOGITS
    for ids, logits in ((IDS, fortran), (twice, LOGITS), (IDS, unaligned), (IDS, LOGITS)):
        for _ in range(2):
            value, grad = fl.cross_entropy.value_and_grad(ids, logits)
            assert_same(value, true[0])
            assert_same(grad, true[1])
    for out in (np.empty_like(LOGITS), np.asfortranarray(LOGITS), np.empty((4, 6), "f4")[:, ::2]):
        assert fl.cross_entropy.value_and_grad(IDS, LOGITS, out=out)[1] is out
        assert_same(out.copy(), true[1])
    frozen = LOGITS.copy()
    frozen.flags.writeable = False
    assert_same(fl.cross_entropy.grad(IDS, frozen), fl.cross_entropy.grad(IDS, LOGITS))
    with pytest.raises(ValueError, match="read-only"):
        fl.cross_entropy.grad(IDS, frozen, out=frozen)


@compiled
@SIZES
@pytest.mark.parametrize("loss", [fl.cross_entropy, WEIGHED], ids=str)
def test_nothing_is_written_where_a_label_is_wrong(loss, ids, logits):
    loss.grad(ids, logits)
    out = np.full_like(logits, 7)
    bad = ids.copy()
    bad[-2] = 3
    with pytest.raises(ValueError, match=rf"labels\[{len(ids) - 2}\] is 3"):
        loss.grad(bad, logits, out=out)
    assert np.all(out == 7)


@compiled
def test_labels_that_change_once_they_are_checked():
    """As by another thread: the row's gradient is NaN, and no other memory is touched."""
    ids, logits = np.tile(IDS, MANY), np.tile(LOGITS, (MANY, 1))
    expected = fl.cross_entropy.grad(ids, logits)
    (call,) = fl.cross_entropy._family.calls.values()
    kernel = call.plan.kernel
    code, phases = kernel.compiled[False], []

    def run_and_spoil(*arguments):
        code(*arguments)
        phases.append(Args(*arguments).phase & BOTH)
        ids[7] = -1

    kernel.compiled[False] = run_and_spoil
    call.small = small_call(call)
    kernel.compiled[False] = code
    result = np.empty_like(logits)
    fl.cross_entropy.grad(ids, logits, out=result)
    assert phases == [SURVEY, COMPUTE]
    assert np.isnan(result[7]).all()
    others = np.arange(len(ids)) != 7
    np.testing.assert_array_equal(result[others], expected[others])


@pytest.mark.parametrize("loss", [fl.cross_entropy, WEIGHED], ids=str)
def test_what_nobody_else_sees_is_computed_while_labels_are_looked_at(loss, short, monkeypatch):
    """Unless the gradient is divided by what samples weigh, which is known once all are seen."""
    monkeypatch.setattr(type(loss._family), "block_size", 3)
    phases = []

    def known(verb):
        loss._family.calls.clear()
        expected = verb()
        (call,) = loss._family.calls.values()
        kernel, code = call.plan.kernel, call.plan.kernel.compiled[False]

        def run(*arguments):
            phases.append(Args(*arguments).phase & BOTH)
            code(*arguments)

        kernel.compiled[False] = run
        call.small = small_call(call)
        kernel.compiled[False] = code
        phases.clear()
        with short():
            assert_same(verb(), expected)
        return phases

    out = np.empty_like(LOGITS)
    one_after_the_other = [SURVEY, COMPUTE]
    assert known(lambda: loss(IDS, LOGITS)) == [BOTH]
    assert known(lambda: loss.grad(IDS, LOGITS, out=out)) == one_after_the_other
    divides = loss is WEIGHED
    assert known(lambda: loss.grad(IDS, LOGITS)) == (one_after_the_other if divides else [BOTH])
    with pytest.raises(ValueError, match=r"labels\[3\] is 3"):
        loss([0, 2, 1, 3], LOGITS)


def test_blocks_that_weigh_next_to_nothing(monkeypatch):
    loss = fl.mse
    monkeypatch.setattr(type(loss._family), "block_size", 3)
    weight = np.repeat([2.0**-200, 1.0, 2.0**-101], 3)
    y_true, y_pred = np.zeros(9), np.arange(9.0)

    def used(shape, dtype=float):
        """Memory that held something else."""
        return np.full(shape, 7, dtype)

    monkeypatch.setattr(np, "empty", used)
    loss._family.calls.clear()
    for _ in range(2):
        assert loss(y_true, y_pred, sample_weight=weight) == (3**2 + 4**2 + 5**2) / 3


def test_short_calls_on_threads(short, monkeypatch):
    """In tasks of some blocks each, also to look at labels, unless another backend runs them."""
    asked = []

    def run_tasks(task, n_tasks, parallel):
        asked.append(n_tasks)
        assert parallel
        for index in reversed(range(n_tasks)):
            task(index)

    monkeypatch.setattr(type(WEIGHED._family), "block_size", 3)
    ids, logits = np.tile(IDS, 4), np.tile(LOGITS, (4, 1))
    expected = WEIGHED.value_and_grad(ids, logits)
    monkeypatch.setattr(_threads, "run", run_tasks)
    monkeypatch.setattr(_threads, "_num_threads", 4)
    monkeypatch.setattr(_blocks, "LEAST_TASK", 2)
    out = np.full_like(logits, 7)
    with short():
        value, _ = WEIGHED.value_and_grad(ids, logits, out=out)
    assert asked == [2, 16]
    assert_same(value, expected[0])
    assert_same(out, expected[1])
    ids[-1] = 3
    out[...] = 7
    with pytest.raises(ValueError, match=r"labels\[15\] is 3"):
        WEIGHED.grad(ids, logits, out=out)
    assert np.all(out == 7)
    monkeypatch.setattr(_threads, "_backend", "prange")
    with pytest.raises(AssertionError, match="the general way"), short():
        WEIGHED.grad(ids, logits)


def test_other_errors_are_found():
    fl.cross_entropy.grad(IDS, LOGITS)
    for wrong, message in (
        (np.empty((3, 4), np.float32), "shape"),
        (np.empty(LOGITS.shape), "dtype"),
        (LOGITS.tolist(), "numpy array"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            fl.cross_entropy.grad(IDS, LOGITS, out=wrong)
    memory = np.zeros(20, np.float32)
    y_true, y_pred, over = memory[:8], memory[8:16], memory[4:12]
    fl.mse.grad(y_true.copy(), y_pred.copy())
    with pytest.raises(ValueError, match="overlaps"):
        fl.mse.grad(y_true, y_pred, out=over)
    with pytest.raises(ValueError, match="overlaps"):
        fl.mse.grad(y_true, y_pred, out=y_true)


@compiled
@SIZES
def test_nothing_to_average_warns_each_time(ids, logits):
    ids = np.full(len(ids), -1)
    for _ in range(3):
        with pytest.warns(RuntimeWarning, match="mean of no samples"):
            value, grad = WEIGHED.value_and_grad(ids, logits)
        assert np.isnan(value)
        assert not grad.any()


# ---------------------------------------------------------------------------------------------
# Every verb and option, in memory of one's own and as parts of larger arrays


def view(array):
    """The same numbers as a part of a larger array, as mini-batches are."""
    whole = np.empty((3, *array.shape), array.dtype)
    whole[1] = array
    return whole[1]


def in_place(y_pred, *_):
    return y_pred


OUTS = {
    "new": lambda *_: None,
    "own": lambda _, shape, dtype: np.full(shape, 7, dtype),
    "part": lambda _, shape, dtype: view(np.full(shape, 7, dtype)),
    "in place": in_place,
}
WAYS = [("new", view), ("own", np.copy), ("own", view), ("part", view), ("in place", view)]
CHOSEN = (
    "softmax_all",
    "binary_logits",
    "gaussian",
    "squared",
    "softmax",
    "softmax_soft",
    "categorical",
    "multi_margin_all",
    "kl",
)
VERBS = ("value", "value_and_grad", "grad", "grad_hess", "hvp", "proba", "log_proba", "logsumexp")


def run_verb(loss, verb, y_true, y_pred, outs, more):
    """What a verb returns, as a list."""
    given = list(filter(lambda out: out is not None, outs))
    if given:
        more = more | {"out": tuple(outs) if verb == "grad_hess" else given[0]}
    if verb in ("proba", "log_proba", "logsumexp"):
        return [getattr(loss, verb)(y_pred, **more)]
    if verb == "hvp":
        return [loss.hvp(y_true, y_pred, VECTOR[: len(y_pred)].astype(y_pred.dtype), **more)]
    result = loss(y_true, y_pred, **more) if verb == "value" else None
    if result is None:
        result = getattr(loss, verb)(y_true, y_pred, **more)
    return list(result) if isinstance(result, tuple) else [result]


VECTOR = np.random.default_rng(3).normal(size=(9, 5))


def options_of_verbs(verb, case, y_pred, reduction):
    """What verbs take besides arrays."""
    n = len(y_pred)
    yield {}
    mask = np.ones(y_pred.shape, bool)
    if hasattr(case.loss, "class_mask"):
        yield {"class_mask": view(mask)}
    if verb in ("proba", "log_proba", "logsumexp"):
        return
    shape = (n,) if case.rowwise else y_pred.shape
    weight = np.random.default_rng(1).random(shape)
    yield {"sample_weight": view(weight)}
    yield {"sample_weight": weight.astype(np.float32)}
    if reduction == "mean":
        yield {"normalizer": 64, "sample_weight": weight}
        yield {"normalizer": np.float64(0.5)}


@pytest.fixture
def short(monkeypatch):
    """Has every call fail that does not take the short way."""

    @contextmanager
    def only():
        with monkeypatch.context() as patch:

            def general(*_):
                raise AssertionError("this call takes the general way")

            patch.setattr(run, "prepare", general)
            yield

    return only


@partly_long(
    1,
    "reduction, blocks",
    [("mean", "several"), ("none", "one"), ("mean", "one"), ("sum", "several")],
)
@partly_long(1, "name", CHOSEN)
def test_both_ways_give_the_same_whatever_is_asked(name, reduction, blocks, short, monkeypatch):
    (case,) = (case for case in CASES if case.name == name)
    loss = case.reduced(reduction)
    y_true, y_pred = case.data(np.float32, (2, 5))
    if blocks == "several":
        monkeypatch.setattr(type(loss._family), "block_size", 3)
    for verb in (verb for verb in VERBS if verb == "value" or hasattr(loss, verb)):
        for more in options_of_verbs(verb, case, y_pred, reduction):
            loss._family.calls.clear()
            expected = run_verb(loss, verb, y_true, y_pred, [None], more)
            (call,) = loss._family.calls.values()
            assert (call.cut.n_blocks > 1) == (blocks == "several")
            results = [each for each in expected if isinstance(each, np.ndarray)]
            if verb == "value_and_grad":
                results = results[-1:]
            for place, (way, layout) in enumerate(WAYS):
                monkeypatch.setattr(_blocks, "LEAST_TASK", 1 if place % 2 else 3 << 17)
                labels, numbers = layout(y_true), layout(y_pred)
                outs = [OUTS[way](numbers, each.shape, each.dtype) for each in results] or [None]
                if way == "in place":
                    if not results or results[0].shape != y_pred.shape:
                        continue
                    outs[1:] = (np.empty_like(y_pred) for _ in outs[1:])
                with short():
                    found = run_verb(loss, verb, labels, numbers, outs, more)
                for one, other in zip(found, expected, strict=True):
                    assert_same(one, other)
                for out, result in zip(outs, found[len(found) - len(outs) :], strict=True):
                    assert out is None or out is result
                assert way == "in place" or numbers.tobytes() == y_pred.tobytes()
                assert labels.tobytes() == y_true.tobytes()


def wrong_calls():
    """Ways to give something that is refused, once a call is known."""
    ids, logits, weight = IDS.copy(), LOGITS.copy(), np.ones(4)
    memory = np.zeros(40, np.float32)
    part = memory[:12].reshape(4, 3)
    part[...] = LOGITS
    frozen = np.zeros_like(LOGITS)
    frozen.flags.writeable = False
    for place, number in ((1, 3), (2, -1)):
        bad = ids.copy()
        bad[place] = number
        yield bad, logits, {}
        yield view(bad), view(logits), {"sample_weight": weight}
    for number in (-1.0, np.nan, np.inf):
        bad = weight.copy()
        bad[2] = number
        yield ids, logits, {"sample_weight": bad}
        yield ids, logits, {"sample_weight": view(bad), "normalizer": 3}
    yield ids, logits, {"sample_weight": np.ones(3)}
    yield ids, logits, {"sample_weight": "four"}
    mask = np.ones(LOGITS.shape, bool)
    mask[0, 0] = False
    yield ids, logits, {"class_mask": mask}
    yield ids, logits, {"class_mask": mask.astype(int)}
    for number in (0, -1, np.nan, "1", True):
        yield ids, logits, {"normalizer": number}
    for out in (
        memory[3:15].reshape(4, 3),  # half of the logits
        memory[11:23].reshape(4, 3),  # the last of them
        np.zeros((4, 3)),
        np.zeros((3, 4), np.float32),
        frozen,
        LOGITS.tolist(),
    ):
        yield ids, part, {"out": out}
        yield ids, part, {"out": out, "sample_weight": weight}
    of_weight = np.ones(12, np.float32)
    yield ids, logits, {"sample_weight": of_weight[4:8], "out": of_weight.reshape(4, 3)}
    of_mask = np.ones((4, 3), np.float32)
    mask = of_mask.view(bool)[:, :3]
    yield ids, logits, {"class_mask": mask, "out": of_mask}
    of_ids = np.zeros((4, 3), np.float32)
    yield of_ids.view(np.int32).reshape(-1)[:4], logits, {"out": of_ids}


def refusal(call):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    return caught.type, str(caught.value)


@pytest.mark.parametrize("verb", ["value_and_grad", "grad", "grad_hess"])
def test_both_ways_refuse_the_same(verb):
    for labels, logits, more in wrong_calls():
        out = more.get("out", np.full(LOGITS.shape, 7, np.float32))
        if verb == "grad_hess":
            for outs in ((out, np.zeros_like(LOGITS)), (np.zeros_like(LOGITS), out)):
                check_refusal(verb, labels, logits, more | {"out": outs})
        else:
            check_refusal(verb, labels, logits, more | {"out": out})


def check_refusal(verb, labels, logits, more):
    method = getattr(fl.cross_entropy, verb)
    arrays = [labels, logits, *more.values(), *more["out"]]
    before = [each.tobytes() for each in arrays if isinstance(each, np.ndarray)]
    calls = fl.cross_entropy._family.calls
    calls.clear()
    expected = refusal(lambda: method(labels, logits, **more))
    calls.clear()
    legal = {name: value for name, value in more.items() if name != "out"}
    for name, ok in (("sample_weight", np.ones(4)), ("class_mask", np.ones((4, 3), bool))):
        if name in legal:
            legal[name] = ok
    if "normalizer" in legal:
        legal["normalizer"] = 2.0
    for dtype in (labels.dtype, np.int64):
        method(IDS.astype(dtype), LOGITS, **legal)
    assert all(call.small is not None for call in calls.values())
    assert refusal(lambda: method(labels, logits, **more)) == expected
    assert before == [each.tobytes() for each in arrays if isinstance(each, np.ndarray)]


def test_results_overlap_neither_each_other_nor_what_is_read(short):
    """Parts of one array that lie beside each other are apart."""
    memory = np.zeros(48, np.float32)
    parts = [memory[i : i + 12].reshape(4, 3) for i in range(0, 48, 12)]
    logits, grad, hess, _ = parts
    logits[...] = LOGITS
    expected = fl.cross_entropy.grad_hess(IDS, LOGITS)
    with short():
        fl.cross_entropy.grad_hess(IDS, logits, out=(grad, hess))
        assert_same(grad, expected[0])
        assert_same(hess, expected[1])
        fl.cross_entropy.grad_hess(IDS, logits, out=(logits, hess))
        assert_same(logits, expected[0])
    over = memory[20:32].reshape(4, 3)
    for outs, message in (
        ((grad, over), r"out\[1\] overlaps the memory of out\[0\]"),
        ((grad, logits), r"out\[1\] overlaps the memory of logits"),
    ):
        with pytest.raises(ValueError, match=message):
            fl.cross_entropy.grad_hess(IDS, logits, out=outs)
    x = np.zeros(3)
    with pytest.raises(ValueError, match="out overlaps the memory of y_true"):
        fl.mse.grad(x, x, out=x)


@EITHER
def test_losses_in_the_memory_of_logits_of_another_dtype(way):
    """Two of 16 bits are as long as one loss, and yet other numbers."""
    loss = fl.CrossEntropy(reduction="none")
    logits = LOGITS[:, :2].astype(np.float16)
    labels = np.array([0, 1, 1, 0])
    out = logits.view(np.float32)[:, 0]
    before = logits.tobytes()
    for _ in range(2):
        for call in (
            lambda **more: loss(labels, logits, **more),
            lambda **more: fl.cross_entropy.logsumexp(logits, **more),
        ):
            with pytest.raises(ValueError, match="out overlaps the memory of logits"):
                call(out=out)
            assert logits.tobytes() == before
            expected = call()
            assert_same(call(out=np.empty_like(expected)), expected)


@EITHER
def test_memory_that_no_array_owns(way, short):
    """As of tensors: whose memory it is cannot be told by the array."""
    memory = bytearray(4 * 36)
    logits, grad, over = (
        np.frombuffer(memory, np.float32, 12, offset).reshape(4, 3) for offset in (0, 48, 44)
    )
    logits[...] = LOGITS
    expected = fl.cross_entropy.grad(IDS, LOGITS)
    with short():
        assert_same(fl.cross_entropy.grad(IDS, logits, out=grad), expected)
    before = bytes(memory)
    with pytest.raises(ValueError, match="overlaps"):
        fl.cross_entropy.grad(IDS, logits, out=over)
    assert memory == before
    with short():
        assert fl.cross_entropy.grad(IDS, logits, out=logits) is logits
    assert_same(logits, expected)


@EITHER
def test_addresses_stand_for_arrays(way):
    """As of tensors. Plain Python has no use of them, and leaves them to the general way."""
    expected = fl.cross_entropy.value_and_grad(IDS, LOGITS)
    (call,) = fl.cross_entropy._family.calls.values()
    by_addresses = address_call(call)
    memory = np.zeros(2 * LOGITS.nbytes, np.uint8)  # labels may lie within predictions
    logits, grad = memory[: LOGITS.nbytes].view(np.float32).reshape(4, 3), np.empty_like(LOGITS)

    def address(array):
        return array.__array_interface__["data"][0]

    for out in (grad, logits):
        logits[...] = LOGITS
        found = by_addresses(address(IDS), address(logits), address(out))
        if way == "plain":
            assert found is None
        else:
            assert found == expected[0]
            assert_same(out, expected[1])
    for first in (0, 8, LOGITS.nbytes - 8):
        ids = memory[first : first + IDS.nbytes].view(IDS.dtype)
        ids[...] = IDS
        before = memory.copy()
        assert by_addresses(address(ids), address(logits), address(logits)) is None
        assert_same(memory, before)


def test_what_is_written_in_place_is_not_computed_again(short):
    """Weights of next to nothing, or of nothing at all."""
    ids, logits = np.zeros(4, int), LOGITS.copy()
    loss = fl.CrossEntropy(class_weight=[1e-40, 1, 1], reduction="sum")
    expected = loss.grad(ids, logits)
    for _ in range(2):
        again = logits.copy()
        assert_same(loss.grad(ids, again, out=again), expected)
    for loss, true, pred in (
        (fl.gaussian_nll, *GAUSSIAN.data(np.float64, (3, 2))),
        (fl.cross_entropy, IDS, LOGITS),
    ):
        weight = np.zeros(len(pred))
        loss.value_and_grad(true, pred, sample_weight=np.ones(len(pred)))
        for _ in range(2):
            again = pred.copy()
            with pytest.warns(RuntimeWarning, match="mean of no samples") as caught, short():
                value, _ = loss.value_and_grad(true, again, sample_weight=weight, out=again)
            assert caught[0].filename == __file__
            assert np.isnan(value)
            assert not again.any()


@compiled
@SIZES
def test_weights_compiled_and_in_threads(ids, logits, short):
    weight = np.random.default_rng(1).random(len(ids))
    expected = fl.cross_entropy.value_and_grad(ids, logits, sample_weight=weight)
    parts = [slice(i, i + 4) for i in range(0, min(len(ids), 400), 4)]

    def results(out):
        return [
            fl.cross_entropy.value_and_grad(
                ids[part], logits[part], sample_weight=weight[part], out=out[part]
            )[0]
            for part in parts
        ]

    with short():
        found = fl.cross_entropy.value_and_grad(ids, logits, sample_weight=weight)
    assert_same(found[0], expected[0])
    assert_same(found[1], expected[1])
    true = np.empty_like(logits)
    losses = results(true)
    with ThreadPoolExecutor(8) as pool:
        outs = [np.empty_like(logits) for _ in range(16)]
        assert list(pool.map(results, outs)) == [losses] * 16
    for out in outs:
        np.testing.assert_array_equal(out[: len(parts) * 4], true[: len(parts) * 4])


def test_results_do_not_share_memory():
    grads = [fl.mse.grad(np.zeros(5), np.full(5, float(i))) for i in range(20)]
    for i, grad in enumerate(grads):
        np.testing.assert_array_equal(grad, 0.4 * i)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3)])
def test_shapes_at_the_edge(shape):
    y_true, y_pred = np.zeros(shape), np.ones(shape)
    results = []
    for _ in range(2):
        if y_pred.size:
            results.append(fl.mse.value_and_grad(y_true, y_pred))
        else:
            with pytest.warns(RuntimeWarning):
                results.append(fl.mse.value_and_grad(y_true, y_pred))
    assert_same(results[1][0], results[0][0])
    assert_same(results[1][1], results[0][1])


def test_a_number_is_no_address_of_a_gradient():
    y_true, y_pred = np.array([1, 0]), np.zeros((2, 3), np.float32)
    fl.cross_entropy.value_and_grad(y_true, y_pred)  # the next one goes the short way
    for out in (0, 4096, 2**62, True):
        with pytest.raises(TypeError, match="out"):
            fl.cross_entropy.value_and_grad(y_true, y_pred, out=out)


@pytest.mark.parametrize("what", ["y_true", "sample_weight", "both"])
def test_results_in_the_place_of_what_has_the_type_of_predictions_are_refused(what):
    """In place of the predictions alone; all three arrays have one dtype and shape."""
    y_true, y_pred, weight = np.arange(4.0), np.arange(4.0) ** 2, np.arange(1.0, 5.0)
    y_pred = y_true if what == "both" else y_pred
    fl.mse.value_and_grad(y_true, y_pred, sample_weight=weight)  # the next ones go the short way
    out = weight if what == "sample_weight" else y_true
    for _ in range(2):
        with pytest.raises(ValueError, match="out overlaps the memory of"):
            fl.mse.value_and_grad(y_true, y_pred, sample_weight=weight, out=out)
    np.testing.assert_array_equal(y_true, np.arange(4.0))
    np.testing.assert_array_equal(weight, np.arange(1.0, 5.0))
