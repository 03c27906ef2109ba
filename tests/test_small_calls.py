"""A small call takes a short way once it is known, and gives what the general way gives."""

import numpy as np
import pytest
from plain import compiled, plain
from registry import DTYPES, assert_same, name_of

import fastloss as fl
from fastloss.kernels.args import COMPUTE, SURVEY, Args

pytestmark = plain

IDS = np.array([0, 2, 1, 1])
LOGITS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
# So many that a call has several blocks.
MANY = 4000
SIZES = pytest.mark.parametrize(
    ("ids", "logits"),
    [(IDS, LOGITS), (np.tile(IDS, MANY), np.tile(LOGITS, (MANY, 1)))],
    ids=["one block", "several blocks"],
)
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
@pytest.mark.parametrize("loss", [fl.cross_entropy, WEIGHED], ids=str)
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


def test_layouts_that_only_look_alike():
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
    frozen = LOGITS.copy()
    frozen.flags.writeable = False
    assert_same(fl.cross_entropy.grad(IDS, frozen), true[1])
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
        phases.append(Args(*arguments).phase)
        ids[7] = -1

    kernel.compiled[False] = run_and_spoil
    call.prepare_small()
    kernel.compiled[False] = code
    result = fl.cross_entropy.grad(ids, logits)
    assert phases == [SURVEY, COMPUTE]
    assert np.isnan(result[7]).all()
    others = np.arange(len(ids)) != 7
    np.testing.assert_array_equal(result[others], expected[others])


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


def test_what_comes_besides_takes_the_general_way():
    fl.cross_entropy.value_and_grad(IDS, LOGITS)
    fl.cross_entropy.value_and_grad(IDS, LOGITS)
    plain = fl.cross_entropy(IDS, LOGITS)
    assert fl.cross_entropy(IDS, LOGITS, normalizer=1.0) == pytest.approx(4 * plain)
    assert fl.cross_entropy(IDS, LOGITS, sample_weight=[0, 0, 0, 1]) != plain
    mask = np.ones(LOGITS.shape, bool)
    assert fl.cross_entropy(IDS, LOGITS, class_mask=mask) == plain
    assert fl.cross_entropy(IDS.tolist(), LOGITS) == plain


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
