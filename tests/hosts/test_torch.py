"""Losses of PyTorch tensors, against PyTorch's own losses and checks of gradients."""

import copy
import io
import math
import pickle
import re
import shutil
import warnings

import numpy as np
import pytest
from plain import compiled, plain
from processes import run_python

import fastloss as fl

torch = pytest.importorskip("torch")

from torch.utils.checkpoint import checkpoint  # noqa: E402

import fastloss.torch  # noqa: E402
from fastloss.torch import module as module_of_losses  # noqa: E402
from fastloss.torch import operators, tensors  # noqa: E402

functional = torch.nn.functional
grad_of = torch.autograd.grad
Loss = fl.torch.Loss
# PyTorch's transforms use what PyTorch itself has deprecated.
pytestmark = [plain, pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")]

N, C = 6, 4
WEIGHTS = (0.5, 2.0, 1.25, 3.0)
CRITERION = Loss(fl.cross_entropy)
EACH = Loss(fl.CrossEntropy(reduction="none"))


@pytest.fixture(autouse=True)
def generator():
    torch.manual_seed(20240229)


def logits_of(*shape, dtype=torch.float64):
    return (2 * torch.randn(shape, dtype=torch.float64)).to(dtype).requires_grad_()


def ids_of(*shape, n_classes=C):
    ids = torch.randint(0, n_classes, shape)
    ids.view(-1)[0] = -100
    return ids


def near(ours, theirs, **told):
    torch.testing.assert_close(ours, theirs, **told)


def agree(criterion, theirs, logits, *others, **told):
    """Loss and gradient, both of a recorded loss and without a record."""
    ours, expected = criterion(logits, *others), theirs(logits, *others)
    near(ours.detach(), expected.detach(), **told)
    factor = torch.rand_like(expected)
    near(grad_of(ours, logits, factor)[0], grad_of(expected, logits, factor)[0], **told)
    with torch.no_grad():
        near(criterion(logits, *others), expected.detach(), **told)


# -------------------------------------------------------------------------------------------------
# What PyTorch's users know


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"ignore_index": 2}])
def test_cross_entropy_is_that_of_pytorch(reduction, options):
    loss = fl.CrossEntropy(reduction=reduction, class_weight=WEIGHTS, **options)
    ids = ids_of(N)
    if "ignore_index" in options:
        ids[0] = 2
    theirs = torch.nn.CrossEntropyLoss(
        torch.tensor(WEIGHTS, dtype=torch.float64), reduction=reduction, **options
    )
    agree(Loss(loss), theirs, logits_of(N, C), ids)


ELEMENTWISE = {
    "mse": (fl.SquaredError, functional.mse_loss),
    "mae": (fl.AbsoluteError, functional.l1_loss),
    "huber": (fl.Huber, functional.huber_loss),
    "bce": (fl.BinaryCrossEntropyWithLogits, functional.binary_cross_entropy_with_logits),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_elementwise_losses_are_those_of_pytorch(name, reduction):
    loss, function = ELEMENTWISE[name]
    labels = torch.rand(N, C, dtype=torch.float64)
    agree(
        Loss(loss(reduction=reduction)),
        lambda x, y: function(x, y, reduction=reduction),
        logits_of(N, C),
        labels,
    )


@pytest.mark.parametrize("shape", [(C,), (N, C), (2, C, 3), (2, C, 3, 2)])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("soft", [False, True])
def test_the_axis_of_classes_is_the_second(shape, reduction, soft):
    logits = logits_of(*shape)
    axis = min(1, logits.ndim - 1)
    labels = torch.randint(0, C, shape[:axis] + shape[axis + 1 :])
    if soft:
        labels = torch.rand(shape, dtype=torch.float64).softmax(axis)
    loss = fl.CrossEntropy(reduction=reduction)

    def theirs(x, y):
        return functional.cross_entropy(x, y, reduction=reduction)

    agree(Loss(loss), theirs, logits, labels)


LAYOUTS = {
    "transposed": lambda x: x.t().contiguous().t(),
    "reversed": lambda x: x.flip(0)[:, ::2],
    "expanded": lambda x: x[:1].expand(N, C),
    "last": lambda x: x.reshape(N, 2, 2).transpose(1, 2),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_of_any_layout(layout):
    logits = logits_of(N, C)
    view = LAYOUTS[layout]
    labels = torch.randint(0, 2, view(logits)[:, 0].shape)
    agree(
        lambda x, y: CRITERION(view(x), y),
        lambda x, y: functional.cross_entropy(view(x), y),
        logits,
        labels,
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_logits_of_fewer_bits(dtype):
    """Against float32, of which gradients of 16 bits are rounded once."""
    logits, ids = logits_of(N, C, dtype=dtype), ids_of(N)
    wide = logits.detach().float().requires_grad_()
    value, expected = CRITERION(logits, ids), functional.cross_entropy(wide, ids)
    assert value.dtype == torch.float32
    near(value, expected)
    grad, theirs = grad_of(value, logits)[0], grad_of(expected, wide)[0]
    assert grad.dtype == dtype
    near(grad, theirs.to(dtype), atol=1e-7, rtol=torch.finfo(dtype).eps)


def test_gradients_of_float16_do_not_vanish_before_they_are_scaled():
    """As those of a mean over many rows would; `GradScaler` multiplies the loss."""
    logits, ids = logits_of(N, C, dtype=torch.float16), torch.arange(N) % C
    wide = logits.detach().float().requires_grad_()
    rows, scale = 1e7, 2.0**16
    (expected,) = grad_of(functional.cross_entropy(wide, ids, reduction="sum") / rows * scale, wide)
    for criterion in (CRITERION, Loss(fl.cross_entropy, overwrite_logits=True)):
        loss = criterion(logits * 1, ids, None, rows) * scale
        (grad,) = grad_of(loss, logits)
        near(grad, expected.half(), atol=1e-7, rtol=torch.finfo(torch.float16).eps)


@compiled
def test_small_batches_are_told_by_their_addresses(monkeypatch):
    """Once one of their kind was seen, unless there is anything special about the tensors."""
    criterion, theirs, asked = Loss(fl.cross_entropy), functional.cross_entropy, []
    arrays = criterion._of_tensors.arrays
    monkeypatch.setattr(criterion._of_tensors, "_small", {})  # other tests have such batches, too
    monkeypatch.setattr(
        criterion._of_tensors, "arrays", lambda *given: asked.append(1) or arrays(*given)
    )

    def check(logits, labels, by_address, is_new=False):
        asked.clear()
        logits = logits.detach().requires_grad_()
        ours, expected = criterion(logits, labels), theirs(logits, labels)
        assert bool(asked) != by_address
        near(ours.detach(), expected.detach())
        factor = torch.rand_like(expected)
        near(grad_of(ours, logits, factor)[0], grad_of(expected, logits, factor)[0])
        with torch.no_grad():
            near(criterion(logits, labels), expected.detach())
        asked.clear()
        near(criterion(logits.detach(), labels), expected.detach())
        assert bool(asked) != (by_address or is_new)

    logits, labels = logits_of(N, C, dtype=torch.float32).detach(), ids_of(N)
    check(logits, labels, False, is_new=True)
    check(logits, labels, True)
    check(logits[1:], labels[1:], False, is_new=True)
    check(logits[1:], labels[1:], True)
    check(logits.T.contiguous().T, labels, False)
    check(logits, labels.repeat_interleave(2)[::2], False)
    negative = torch.complex(torch.zeros_like(logits), -logits).conj().imag
    assert negative.is_neg()
    check(negative, labels, False)
    leaf = logits.requires_grad_()
    wrong = labels.clone()
    wrong[2] = C
    with pytest.raises(ValueError, match=rf"labels\[2\] is {C}"):
        criterion(leaf, wrong)
    summed = criterion(leaf, labels, normalizer=1.0)
    near(summed, theirs(leaf, labels, reduction="sum"))
    by_rows = torch.func.vmap(lambda x: criterion(x, labels))(torch.stack([leaf, 2 * leaf]))
    near(by_rows[1].detach(), theirs(2 * leaf, labels).detach())


def test_numbers_of_16_bits_are_read_where_they_lie():
    logits = torch.randn(N, C, dtype=torch.bfloat16)
    array = tensors.array_of(logits, "logits")
    assert array.dtype.name == "bfloat16"
    assert array.__array_interface__["data"][0] == logits.data_ptr()
    assert array.astype(np.float32).tolist() == logits.float().tolist()


@pytest.mark.parametrize("overwrite", [False, True])
def test_autocast_is_that_of_pytorch(overwrite):
    criterion = Loss(fl.cross_entropy, overwrite)
    linear, x, ids = torch.nn.Linear(5, C), torch.randn(N, 5), ids_of(N)
    found = []
    for loss in (criterion, functional.cross_entropy):
        linear.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = linear(x)
            assert logits.dtype == torch.bfloat16
            value = loss(logits, ids)
        value.backward()
        found.append((value.detach(), linear.weight.grad.clone()))
    assert found[0][0].dtype == torch.float32
    near(*found)


@compiled
@pytest.mark.parametrize("recorded", [True, False])
def test_losses_are_where_tensors_are(recorded):
    """Wherever new ones are made, whatever the way that a loss takes."""
    logits, ids, weight = logits_of(N, C, dtype=torch.float32), ids_of(N), torch.rand(N)
    with torch.device("meta"), torch.set_grad_enabled(recorded):
        assert torch.tensor(1.0).is_meta
        losses = [CRITERION(logits, ids) for _ in range(3)]
        losses += [EACH(logits, ids), CRITERION(logits, ids, weight, 2.0)]
        for loss in losses:
            assert loss.is_cpu
            if recorded:
                assert grad_of(loss, logits, torch.ones_like(loss), True)[0].is_cpu
                assert grad_of(loss, logits, torch.ones_like(loss))[0].is_cpu


@compiled
def test_a_loss_beyond_float32():
    """As PyTorch has it, but with a warning."""
    large, zeros = torch.full((4,), 3e38, requires_grad=True), torch.zeros(4)
    criterion = Loss(fl.AbsoluteError(reduction="sum"))
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="overflow"):
            loss = criterion(large, zeros)
        assert loss == functional.l1_loss(large, zeros, reduction="sum") == torch.inf
        near(grad_of(loss, large)[0], torch.ones(4))


def test_weights_and_normalizer():
    logits, ids, weight = logits_of(N, C), ids_of(N), torch.rand(N, dtype=torch.float64)

    def theirs(x, y, w, n=None):
        losses = functional.cross_entropy(x, y, reduction="none") * w
        return losses.sum() / (w[y != -100].sum() if n is None else n)

    agree(CRITERION, theirs, logits, ids, weight)
    agree(CRITERION, theirs, logits, ids, weight, 7)
    agree(CRITERION, theirs, logits, ids, weight, torch.tensor(7))


def test_one_weight_for_each_row_of_elements():
    logits, labels = logits_of(N, C), torch.rand(N, C, dtype=torch.float64)
    weight = torch.rand(N)

    def theirs(x, y, w):
        return (functional.mse_loss(x, y, reduction="none") * w[:, None]).sum() / (w.sum() * C)

    agree(Loss(fl.mse), theirs, logits, labels, weight)


def test_labels_of_pytorch_are_ignored_unless_the_loss_has_a_mark():
    assert CRITERION.loss == fl.CrossEntropy(ignore_index=-100)
    assert Loss(fl.CrossEntropy(ignore_index=-1)).loss.ignore_index == -1
    assert Loss(fl.mse).loss == fl.mse


@pytest.mark.parametrize("n", [0, N])
def test_a_mean_of_nothing_is_nan_and_has_no_gradient(n):
    logits, ids = logits_of(n, C), torch.full((n,), -100)
    assert functional.cross_entropy(logits, ids).isnan()
    with pytest.warns(RuntimeWarning, match="no samples"):
        value = CRITERION(logits, ids)
    assert value.isnan()
    value.backward()
    assert logits.grad.shape == (n, C)
    assert not logits.grad.any()
    assert Loss(fl.CrossEntropy(reduction="sum"))(logits, ids) == 0


def test_nan_of_predictions_and_a_single_class():
    logits = torch.full((2, C), math.nan, requires_grad=True)
    value = CRITERION(logits, torch.tensor([0, 1]))
    assert value.isnan()
    assert grad_of(value, logits)[0].isnan().all()
    logits = logits_of(2, 1)
    value = CRITERION(logits, torch.tensor([0, 0]))
    assert value == 0
    assert not grad_of(value, logits)[0].any()


def test_a_single_number():
    agree(Loss(fl.mse), functional.mse_loss, logits_of(), torch.rand((), dtype=torch.float64))


def test_memory_that_cannot_be_written():
    x, y = np.random.default_rng(0).normal(size=(N, C)), np.arange(N) % C
    x.flags.writeable = y.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PyTorch knows no such memory
        logits, labels = torch.from_numpy(x).requires_grad_(), torch.from_numpy(y)
    agree(CRITERION, functional.cross_entropy, logits, labels)


@pytest.mark.parametrize("freed", [0, 1, 2])
@pytest.mark.parametrize("recorded", [False, True])
def test_tensors_whose_memory_was_freed(freed, recorded):
    inputs = [torch.randn(N, C), ids_of(N).clone(), torch.ones(N)]
    inputs[0].requires_grad_(recorded)
    inputs[freed].detach().untyped_storage().resize_(0)
    name = ("logits", "labels", "weight")[freed]
    with pytest.raises(ValueError, match=f"{name} has no memory, as its storage was resized to 0"):
        CRITERION(*inputs)


# -------------------------------------------------------------------------------------------------
# Derivatives

DIFFERENTIABLE = {
    "mean": lambda x, y, w: CRITERION(x, y),
    "weighted": lambda x, y, w: CRITERION(x, y, w),
    "normalized": lambda x, y, w: CRITERION(x, y, w, torch.tensor(7.0)),
    "each": lambda x, y, w: EACH(x, y, w),
    "axes": lambda x, y, w: EACH(x.view(2, 2, 2).mT, y.view(2, 2), w.view(2, 2)),
    "mse": lambda x, y, w: Loss(fl.mse)(x, torch.ones_like(x), w),
    "log_cosh": lambda x, y, w: Loss(fl.LogCosh(reduction="none", hessian="majorizer"))(
        x, torch.zeros_like(x)
    ),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_first_and_second_derivatives(name):
    ids, weight = ids_of(4, n_classes=2), torch.rand(4, dtype=torch.float64)

    def function(x):
        return DIFFERENTIABLE[name](x, ids, weight)

    assert torch.autograd.gradcheck(function, logits_of(4, 2))
    assert torch.autograd.gradgradcheck(function, logits_of(4, 2))


@pytest.mark.parametrize("loss", [fl.focal, fl.multi_margin])
def test_second_derivatives_that_are_not_known(loss):
    logits, ids = logits_of(N, C), ids_of(N)
    (grad,) = grad_of(Loss(loss)(logits, ids), logits, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives of .* are not known"):
        grad.sum().backward()


def verbs_of(monkeypatch):
    """The verbs that calls ask for, as they come."""
    asked = []
    evaluate = tensors.evaluate
    monkeypatch.setattr(
        tensors,
        "evaluate",
        lambda family, verb, *more, **options: (
            asked.append(verb.name) or evaluate(family, verb, *more, **options)
        ),
    )
    return asked


def test_without_a_record_the_loss_is_computed_alone(monkeypatch):
    asked, ids = verbs_of(monkeypatch), ids_of(N)
    logits = logits_of(N, C)
    with torch.no_grad():
        CRITERION(logits, ids)
    with torch.inference_mode():
        CRITERION(logits, ids)
    CRITERION(logits.detach(), ids)
    assert asked == ["value"] * 3
    CRITERION(logits, ids).backward()
    assert asked[3:] == ["value_and_grad"]


def test_backward_again_and_with_factors(monkeypatch):
    """The gradient is handed over once, and computed anew for whoever asks again."""
    asked, ids = verbs_of(monkeypatch), ids_of(N)
    logits = logits_of(N, C)
    theirs = grad_of(functional.cross_entropy(logits, ids), logits)[0]
    value = CRITERION(logits, ids)
    (3 * value).backward(retain_graph=True)
    near(logits.grad, 3 * theirs)
    logits.grad.zero_()  # memory that is nobody else's
    value.backward(retain_graph=True)
    value.backward()
    near(logits.grad, 2 * theirs)
    assert asked == ["value_and_grad"] * 3
    with pytest.raises(RuntimeError, match="second time"):
        value.backward()


@pytest.mark.parametrize("changed", ["logits", "labels"])
def test_what_was_changed_has_no_second_backward(changed):
    """Nor if the batch is like one that was seen before."""
    for _ in range(2):
        logits, ids = logits_of(N, C), ids_of(N)
        result = logits * 1
        value = CRITERION(result, ids)
        value.backward(retain_graph=True)
        value.backward(retain_graph=True)
        near(logits.grad, 2 * grad_of(functional.cross_entropy(logits, ids), logits)[0])
        with torch.no_grad():
            {"logits": result, "labels": ids}[changed].zero_()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            value.backward()


def test_a_batch_is_computed_once_more_by_a_checkpoint():
    """PyTorch compares how many tensors are saved: of a new shape as many as of a known one."""
    for n in (N, N, N + 1):
        logits, ids = logits_of(n, C), ids_of(n)
        loss = checkpoint(lambda x, y: CRITERION(x * 1, y), logits, ids, use_reentrant=False)
        near(grad_of(loss, logits)[0], grad_of(functional.cross_entropy(logits, ids), logits)[0])


def test_batches_of_factors():
    logits, ids = logits_of(N, C), ids_of(N)
    losses = EACH(logits, ids)
    rows = torch.eye(N, dtype=torch.float64)
    (ours,) = grad_of(losses, logits, rows, is_grads_batched=True)
    theirs = functional.cross_entropy(logits, ids, reduction="none")
    near(ours, grad_of(theirs, logits, rows, is_grads_batched=True)[0])
    value = CRITERION(logits, ids)
    (ours,) = grad_of(value, logits, torch.arange(3.0).double(), is_grads_batched=True)
    near(ours[2], 2 * grad_of(functional.cross_entropy(logits, ids), logits)[0])


def test_checkpoints():
    from torch.utils.checkpoint import checkpoint

    logits, ids = logits_of(N, C), ids_of(N)
    value = checkpoint(lambda x: CRITERION(x * 2, ids), logits, use_reentrant=False)
    value.backward()
    expected = functional.cross_entropy(logits * 2, ids)
    near(logits.grad, grad_of(expected, logits)[0])


def test_transforms():
    func = torch.func
    logits, ids = logits_of(N, C).detach(), torch.randint(0, C, (N,))
    theirs = functional.cross_entropy
    near(func.grad(CRITERION)(logits, ids), func.grad(theirs)(logits, ids))
    near(func.vmap(CRITERION)(logits, ids), func.vmap(theirs)(logits, ids))
    stack = torch.stack([logits, 2 * logits], 1)
    near(func.vmap(CRITERION, (1, None))(stack, ids), func.vmap(theirs, (1, None))(stack, ids))
    of_each = func.vmap(func.grad(CRITERION))(logits, ids)
    near(of_each, func.vmap(func.grad(theirs))(logits, ids))

    def twice(function):
        return func.jacrev(func.jacrev(lambda x: function(x, ids)))(logits)

    near(twice(CRITERION), twice(theirs))

    def penalty(function):
        return func.grad(lambda x: func.grad(function)(x, ids).square().sum())(logits)

    near(penalty(CRITERION), penalty(theirs))


PRODUCTS = {
    "hvp": lambda f, x, v: torch.autograd.functional.hvp(f, x, v)[1],
    "vhp": lambda f, x, v: torch.autograd.functional.vhp(f, x, v)[1],
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_with_the_hessian(name):
    logits, vector, ids = logits_of(N, C).detach(), torch.randn(N, C).double(), ids_of(N)
    ours, theirs = (
        PRODUCTS[name](lambda x, f=f: f(x, ids), logits, vector)
        for f in (CRITERION, functional.cross_entropy)
    )
    near(ours, theirs)


def test_third_derivatives_are_not_known():
    logits, ids = logits_of(N, C), ids_of(N)
    (grad,) = grad_of(CRITERION(logits, ids), logits, create_graph=True)
    (product,) = grad_of(grad, logits, torch.ones_like(grad), create_graph=True)
    with pytest.raises(NotImplementedError, match="third derivatives of losses are not known"):
        product.sum().backward()


FORWARD = {
    "jvp": lambda f, x, t: torch.func.jvp(f, (x,), (t,)),
    "jacfwd": lambda f, x, t: torch.func.jacfwd(f)(x),
    "hessian": lambda f, x, t: torch.func.hessian(f)(x),
    "of grad": lambda f, x, t: torch.func.jvp(torch.func.jacrev(f), (x,), (t,)),
    "within grad": lambda f, x, t: torch.func.jacrev(lambda z: torch.func.jvp(f, (z,), (t,))[1])(x),
    "vmap": lambda f, x, t: torch.func.vmap(lambda each: torch.func.jvp(f, (each,), (t,))[1])(
        torch.stack([x, 2 * x])
    ),
}


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_forward_mode(name, reduction):
    logits, ids = logits_of(N, C).detach(), ids_of(N)
    tangent = torch.randn_like(logits)
    for loss, theirs, labels in (
        (fl.CrossEntropy, functional.cross_entropy, ids),
        (fl.SquaredError, functional.mse_loss, logits + 1),
    ):
        ours, expected = (
            FORWARD[name](lambda x, f=f, y=labels: f(x, y), logits, tangent)
            for f in (
                Loss(loss(reduction=reduction)),
                lambda x, y, f=theirs: f(x, y, reduction=reduction),
            )
        )
        near(ours, expected)


@pytest.mark.parametrize("recorded", [False, True])
def test_dual_numbers(recorded):
    forward = torch.autograd.forward_ad
    logits, ids = logits_of(N, C).detach().requires_grad_(recorded), ids_of(N)
    tangent = torch.randn(N, C, dtype=torch.float64)
    with forward.dual_level():
        for criterion in (CRITERION, Loss(fl.cross_entropy, keep_memory=True)):
            dual = forward.make_dual(logits, tangent)
            ours, theirs = criterion(dual, ids), functional.cross_entropy(dual, ids)
            near(forward.unpack_dual(ours).tangent, forward.unpack_dual(theirs).tangent)
            near(ours.detach(), theirs.detach())
            if recorded:
                pairs = [forward.unpack_dual(grad_of(loss, dual)[0]) for loss in (ours, theirs)]
                near(*(pair.primal for pair in pairs))
                near(*(pair.tangent for pair in pairs))


def test_derivatives_that_forward_mode_does_not_have():
    func = torch.func
    logits, ids = logits_of(N, C).detach(), ids_of(N)

    def along(criterion):
        return lambda x: func.jvp(lambda z: criterion(z, ids), (x,), (logits,))[1]

    with pytest.raises(NotImplementedError, match="forward mode within .* write torch.func.hess"):
        func.jvp(along(CRITERION), (logits,), (logits,))
    with pytest.raises(NotImplementedError, match="second derivatives of .* are not known"):
        along(Loss(fl.focal))(logits)
    with pytest.raises(NotImplementedError, match="third derivatives of losses are not known"):
        func.jacrev(func.hessian(lambda x: CRITERION(x, ids)))(logits)


# -------------------------------------------------------------------------------------------------
# Logits that are overwritten


def test_overwritten_logits():
    """Also of a batch like one that was seen before."""
    for _ in range(2):
        criterion, ids = Loss(fl.cross_entropy, overwrite_logits=True), ids_of(N)
        x, weight = torch.randn(N, 5), torch.randn(5, C, requires_grad=True)
        expected = grad_of(functional.cross_entropy(x @ weight, ids) * 3, weight)[0]
        logits = x @ weight
        address, version = logits.data_ptr(), logits._version
        value = criterion(logits, ids)
        assert logits._version == version + 1
        (grad,) = grad_of(3 * value, logits, retain_graph=True)
        assert grad.data_ptr() == address
        near(x.t() @ grad, expected)
        with pytest.raises(RuntimeError, match="overwrite_logits=False"):
            value.backward()
        kept = (x @ weight).detach()
        with torch.no_grad():
            logits = x @ weight
            criterion(logits, ids)
        near(logits, kept)


def test_overwritten_views():
    """As of sequences of a language model."""
    criterion, ids = Loss(fl.cross_entropy, overwrite_logits=True), ids_of(N)
    x, weight = torch.randn(2, 3, 5), torch.randn(5, C, requires_grad=True)
    criterion((x @ weight).view(-1, C), ids).backward()
    expected = functional.cross_entropy((x @ weight).view(-1, C), ids)
    near(weight.grad, grad_of(expected, weight)[0])


def test_logits_that_cannot_be_overwritten():
    criterion, ids = Loss(fl.cross_entropy, overwrite_logits=True), ids_of(N)
    leaf = logits_of(N, C)
    before = leaf.detach().clone()
    for logits in (leaf, leaf.view(C, N).t()[:, :C], leaf[:]):
        with pytest.raises(ValueError, match="logits are a leaf"):
            criterion(logits, ids)
    with pytest.raises(ValueError, match=r"write logits.contiguous\(\)"):
        criterion((leaf[:1] * 1).expand(N, C), ids)
    logits = leaf * 1
    Loss(fl.mse)(leaf, before)  # a batch like it was seen
    with pytest.raises(ValueError, match="overwrite_logits: the gradient overlaps .* labels"):
        Loss(fl.mse, overwrite_logits=True)(logits, logits.detach())
    near(logits.detach(), before)
    # What another operation has kept for its own gradient.
    value = criterion(leaf.tanh(), ids)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()
    near(leaf.detach(), before)


# -------------------------------------------------------------------------------------------------
# Memory that is kept


@pytest.fixture
def kept(monkeypatch):
    """A criterion that keeps memory for the smallest gradients, too; logits and labels."""
    monkeypatch.setattr(tensors, "_SMALL", 0)
    return Loss(fl.cross_entropy, keep_memory=True), logits_of(N, C).detach(), ids_of(N)


def gradient(criterion, logits, ids, dtype=torch.float64):
    logits = logits.to(dtype).requires_grad_()
    return grad_of(3 * criterion(logits, ids), logits)[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_memory_is_kept_for_the_next_gradient(kept, dtype):
    criterion, logits, ids = kept
    addresses = set()
    for n in (N, N, N - 2):  # the last batch of an epoch
        given = logits[:n], ids[:n], dtype
        grad = gradient(criterion, *given)
        near(grad, gradient(CRITERION, *given))
        addresses.add(grad.data_ptr())
        del grad
    assert len(addresses) == 1


HOLDERS = {
    "loss": lambda loss, logits: loss,  # its gradient is not asked for yet
    "grad": lambda loss, logits: grad_of(loss, logits)[0],
    "view": lambda loss, logits: grad_of(loss, logits)[0][:1].view(-1)[1:],
    "array": lambda loss, logits: grad_of(loss, logits)[0].numpy()[::2],
    "storage": lambda loss, logits: grad_of(loss, logits)[0].untyped_storage(),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_memory_that_somebody_holds_is_not_written(kept, holder):
    criterion, logits, ids = kept
    logits.requires_grad_()
    held, alike = (HOLDERS[holder](f(logits, ids), logits) for f in (criterion, CRITERION))
    grads = [gradient(f, 2 * logits.detach(), ids) for f in (criterion, CRITERION)]
    near(*grads)
    if holder == "loss":
        held, alike = (grad_of(loss, logits)[0] for loss in (held, alike))
    assert bytes(np.ascontiguousarray(held)) == bytes(np.ascontiguousarray(alike))


def test_kept_memory_and_gradients_that_add_up(kept):
    criterion, logits, ids = kept
    logits.requires_grad_()
    for _ in range(3):
        criterion(logits, ids).backward()
    expected = grad_of(CRITERION(logits, ids), logits)[0]
    near(logits.grad, 3 * expected)
    held = grad_of(criterion(logits, ids), logits)[0]
    for other in (copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
        assert repr(other) == "Loss(CrossEntropy(ignore_index=-100), keep_memory=True)"
        assert gradient(other, 2 * logits.detach(), ids).data_ptr() != held.data_ptr()
    near(held, expected)
    with pytest.raises(ValueError, match="overwrite_logits=True leaves no memory"):
        Loss(fl.mse, overwrite_logits=True, keep_memory=True)


def test_kept_memory_of_threads(kept):
    """Each thread has memory of its own while it needs it."""
    from concurrent.futures import ThreadPoolExecutor

    criterion, logits, ids = kept

    def step(factor):
        return [gradient(f, factor * logits, ids) for f in (criterion, CRITERION)]

    with ThreadPoolExecutor(4) as pool:
        for pair in pool.map(step, torch.linspace(0.1, 2, 24).tolist()):
            near(*pair)


# -------------------------------------------------------------------------------------------------
# Compilers


def test_operators_are_what_they_say():
    logits, ids, weight = logits_of(N, C), ids_of(N), torch.rand(N, dtype=torch.float64)
    for criterion, x, y in ((CRITERION, logits, ids), (Loss(fl.mse), logits, logits.detach() + 1)):
        inputs = criterion._text, x, y, weight, torch.tensor(3.0)
        torch.library.opcheck(operators.value_and_grad, inputs)
        constant = criterion._text, x.detach(), *inputs[2:]
        torch.library.opcheck(operators.value, constant)
        torch.library.opcheck(operators.hvp, (*constant, torch.ones_like(x)))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_compiled_graphs_are_whole(reduction):
    torch._dynamo.reset()
    criterion = Loss(fl.CrossEntropy(reduction=reduction))
    linear = torch.nn.Linear(5, C).double()

    def step(x, ids, weight, normalizer):
        return criterion(linear(x), ids, weight, normalizer)

    whole = torch.compile(step, fullgraph=True, backend="aot_eager")
    for n in (N, N + 1, N + 2):
        x, ids = torch.randn(n, 5, dtype=torch.float64), ids_of(n)
        weight = torch.rand(n, dtype=torch.float64)
        normalizer = n if reduction == "mean" else None
        for more in ((None, None), (weight, normalizer)):
            ours, theirs = whole(x, ids, *more), step(x, ids, *more)
            near(ours, theirs)
            near(
                grad_of(ours.sum(), linear.weight)[0],
                grad_of(theirs.sum(), linear.weight)[0],
            )
            with torch.no_grad():
                near(whole(x, ids, *more), theirs.detach())
    with pytest.raises(ValueError, match=r"labels\[1\] is 9"):
        whole(x, torch.where(torch.arange(n) == 1, 9, ids), None, None)


@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
def test_code_that_pytorch_compiles(tmp_path, monkeypatch):
    """What `torch.compile` does unless told, in which the loss is one call; that of the factor in
    `backward` is compiled.
    """
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    linear, x, ids = torch.nn.Linear(5, C).double(), torch.randn(N, 5).double(), ids_of(N)

    def step(x, ids):
        return CRITERION(linear(x), ids)

    # Without what takes the compiler longer than the code.
    options = {"cpp_cache_precompile_headers": False, "cpp.vec_isa_ok": False, "compile_threads": 1}
    ours, theirs = torch.compile(step, fullgraph=True, options=options)(x, ids), step(x, ids)
    near(ours, theirs)
    near(grad_of(3 * ours, linear.weight)[0], grad_of(3 * theirs, linear.weight)[0])


def test_compilers_refuse_derivatives_by_labels():
    torch._dynamo.reset()
    whole = torch.compile(Loss(fl.mse), fullgraph=True, backend="aot_eager")
    with pytest.raises(Exception, match=r"write labels.detach\(\)"):
        whole(logits_of(N), logits_of(N))


@compiled
def test_the_first_call_of_all_within_a_compiled_graph(tmp_path):
    """Nothing is compiled yet: neither is the compiler of kernels traced, nor the graph broken."""
    code = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of PyTorch within PyTorch
import torch, fastloss as fl, fastloss.torch
criterion = torch.compile(fl.torch.Loss(fl.mse), fullgraph=True, backend="aot_eager")
x = torch.ones(3, requires_grad=True)
criterion(x, torch.zeros(3)).backward()
print(x.grad.tolist())
"""
    found = run_python(code, FASTLOSS_CACHE_DIR=str(tmp_path), timeout=300)
    assert found == str([float(np.float32(2 / 3))] * 3)


def test_losses_of_one_text_are_told_apart():
    class Twice(fl.SquaredError):
        def scalar(self, y_true, y_pred):
            loss, grad, hess = super().scalar(y_true, y_pred)
            return 2 * loss, 2 * grad, 2 * hess

    Twice.__name__ = "SquaredError"
    twice = Loss(Twice())
    assert repr(twice.loss) == repr(fl.mse)
    assert twice._text != Loss(fl.mse)._text == Loss(fl.SquaredError())._text
    assert operators.of_text(twice._text).loss == twice.loss
    with pytest.raises(KeyError, match="build fastloss.torch.Loss of it"):
        operators.of_text("Nothing()")


# -------------------------------------------------------------------------------------------------
# The module


def test_copies_pickles_and_states():
    criterion = Loss(fl.CrossEntropy(label_smoothing=0.1), overwrite_logits=True)
    text = "Loss(CrossEntropy(ignore_index=-100, label_smoothing=0.1), overwrite_logits=True)"
    assert repr(criterion) == text
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), criterion)
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    model.load_state_dict(model.state_dict())
    file = io.BytesIO()
    torch.save(criterion, file)
    file.seek(0)
    copies = copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))
    logits, ids = logits_of(N, C).detach(), ids_of(N)
    for other in (*copies, torch.load(file, weights_only=False)):
        assert repr(other) == text
        assert other.loss == criterion.loss
        assert other(logits, ids) == criterion(logits, ids)


def test_other_libraries_know_what_predictions_stand_for():
    assert isinstance(CRITERION, torch.nn.CrossEntropyLoss)
    assert (CRITERION.ignore_index, CRITERION.reduction) == (-100, "mean")
    assert Loss(fl.CrossEntropy(label_smoothing=0.1)).label_smoothing == 0.1
    binary = Loss(fl.binary_cross_entropy_with_logits)
    assert isinstance(binary, torch.nn.BCEWithLogitsLoss)
    for loss in (fl.mse, fl.binary_cross_entropy, fl.multi_margin):
        assert not isinstance(Loss(loss), (torch.nn.CrossEntropyLoss, torch.nn.BCEWithLogitsLoss))


class Losses(torch.utils.data.Dataset):
    """Numbers that workers compute by a loss."""

    def __init__(self):
        self.criterion = CRITERION

    def __len__(self):
        return 4

    def __getitem__(self, i):
        logits = torch.arange(8.0).view(2, 4).requires_grad_()
        value = self.criterion(logits * i, torch.tensor([i, 0]))
        return value.detach(), grad_of(value, logits)[0]


@compiled
# JAX, where other tests imported it, warns of any fork; workers do not use it.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_data_loader(start):
    dataset = Losses()
    here = [dataset[i] for i in range(4)]  # and so before the fork
    loader = torch.utils.data.DataLoader(dataset, 2, num_workers=1, multiprocessing_context=start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        found = list(loader)
    near(torch.cat([values for values, _ in found]), torch.stack([value for value, _ in here]))
    near(torch.cat([grads for _, grads in found]), torch.stack([grad for _, grad in here]))


# -------------------------------------------------------------------------------------------------
# Bad input


GIVEN = torch.zeros(N, C)
IDS = torch.zeros(N, dtype=torch.int64)
REFUSED = {
    "ids": ((GIVEN, IDS + C), ValueError, r"labels\[0\] is 4, but class ids go from 0 to 3"),
    "floats": ((GIVEN, IDS.float()), TypeError, "labels has dtype float32, but class ids"),
    "classes": ((GIVEN, GIVEN[:, :2]), ValueError, "labels has shape .* and logits has shape"),
    "weight": ((GIVEN, IDS, IDS - 1.0), ValueError, r"^weight\[0\] is -1.0"),
    "shape": ((GIVEN, IDS, IDS[:2]), ValueError, "^weight has shape"),
    "normalizer": ((GIVEN, IDS, None, 0), ValueError, "normalizer is 0"),
    "soft": ((GIVEN, GIVEN + 2), ValueError, r"labels\[0, 0\] is 2.0, but must lie between"),
    "axes": (
        (GIVEN.view(N, 2, 2), IDS),
        ValueError,
        "the axis of classes, the second, is the last",
    ),
    "array": ((GIVEN.numpy(), IDS), TypeError, r"logits must be a tensor.*torch.as_tensor\(logits"),
    "pair": ((GIVEN, (IDS, IDS)), TypeError, r"make soft labels, torch.zeros_like\(logits\).sc"),
    "list": ((GIVEN, [0] * N), TypeError, r"labels must be a tensor.*torch.as_tensor\(labels"),
    "device": ((GIVEN.to("meta"), IDS), ValueError, r"on the device meta.*logits.cpu\(\)"),
    "sparse": ((GIVEN.to_sparse(), IDS), TypeError, r"write logits.to_dense\(\)"),
    "bits": ((GIVEN.to(torch.float8_e5m2), IDS), TypeError, r"write logits.float\(\)"),
    "count": (
        (GIVEN, IDS, None, torch.ones((), requires_grad=True)),
        ValueError,
        "^normalizer must",
    ),
    "record": ((GIVEN, GIVEN.clone().requires_grad_()), ValueError, r"write labels.detach\(\)"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("recorded", [False, True])
def test_what_is_refused(name, recorded):
    inputs, error, message = REFUSED[name]
    if recorded and isinstance(inputs[0], torch.Tensor):
        inputs = inputs[0].detach().clone().requires_grad_(), *inputs[1:]
    with pytest.raises(error, match=message):
        CRITERION(*inputs)


REMEDIES = {
    "floats": (fl.cross_entropy, GIVEN, IDS.float(), "labels.to(torch.int64)"),
    "one-hot": (fl.MultiMargin(), GIVEN, GIVEN.long(), "torch.argmax(labels, axis=-1)"),
    "column": (fl.cross_entropy, GIVEN, IDS[:, None], "torch.reshape(labels, (6,))"),
    "row": (fl.mse, GIVEN[:, :1], GIVEN[:, 0], "torch.reshape(labels, logits.shape)"),
    "signs": (fl.hinge, GIVEN, GIVEN - 1, "(labels + 1) / 2"),
    "signed ids": (fl.cross_entropy, GIVEN[:, :2], IDS - 1, "(labels + 1) // 2"),
    "nan": (
        fl.cross_entropy,
        GIVEN,
        torch.where(torch.arange(N) == 1, torch.nan, IDS),
        "torch.where(torch.isnan(labels), -100, labels).to(torch.int64)",
    ),
    "complex": (fl.mse, GIVEN + 0j, GIVEN, "torch.real(logits)"),
}


@pytest.mark.parametrize("name", REMEDIES)
def test_messages_say_what_to_write_with_tensors(name):
    loss, logits, labels, remedy = REMEDIES[name]
    criterion = Loss(loss)
    with pytest.raises((TypeError, ValueError), match=re.escape(remedy)):
        criterion(logits, labels)
    cured = eval(remedy, {"torch": torch, "logits": logits, "labels": labels})
    criterion(*((cured, labels) if "(logits)" in remedy else (logits, cured)))


def test_swapped_arguments():
    with pytest.raises(TypeError, match="swapped.* logits come first, labels second"):
        CRITERION(IDS, GIVEN)


@pytest.mark.parametrize(
    "name", ["loss", "reduction", "ignore_index", "label_smoothing", "overwrite_logits"]
)
def test_options_of_a_module_are_not_set(name):
    """Else it would say that it computes another loss than it does."""
    criterion = pickle.loads(pickle.dumps(Loss(fl.CrossEntropy(label_smoothing=0.1))))
    with pytest.raises(AttributeError, match=f"{name} cannot be set.*build another one"):
        setattr(criterion, name, getattr(criterion, name))


def test_only_losses_are_taken():
    with pytest.raises(TypeError, match="loss must be a loss of fastloss, got function"):
        Loss(torch.nn.functional.cross_entropy)
    with pytest.raises(TypeError, match=r"loss is the class CrossEntropy: .* CrossEntropy\(\)"):
        Loss(fl.CrossEntropy)


def test_a_refused_call_overwrites_nothing():
    logits = (GIVEN.clone().requires_grad_() * 1).squeeze()
    with pytest.raises(ValueError, match="class ids"):
        Loss(fl.cross_entropy, overwrite_logits=True)(logits, IDS + C)
    assert not logits.any()
    assert module_of_losses.Loss is Loss
