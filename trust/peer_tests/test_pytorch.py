"""Losses and gradients at the inputs that PyTorch's tests of its criteria use."""

import pytest
import torch
from torch.testing._internal.common_modules import module_db

from . import pytorch
from .recorder import instead


def samples():
    for info in module_db:
        name = info.module_cls.__name__
        if not name.endswith("Loss"):
            continue
        if info.module_cls not in pytorch.CRITERIA:
            lacking = pytest.mark.skip(f"fastloss has no {name}")
            yield pytest.param(info.module_cls, None, None, id=name, marks=lacking)
            continue
        for dtype in (torch.float32, torch.float64):
            torch.manual_seed(20240229)
            inputs = info.module_inputs_func(info, "cpu", dtype, requires_grad=False, training=True)
            for number, given in enumerate(inputs):
                case = f"{name}-{given.desc}-{str(dtype)[6:]}-{number}"
                yield pytest.param(info.module_cls, given, dtype, id=case)


@pytest.mark.parametrize(("criterion", "given", "dtype"), list(samples()))
def test_loss_and_gradient(criterion, given, dtype):
    made, arguments = given.constructor_input, given.forward_input.args
    module = criterion(*made.args, **made.kwargs)
    arguments = [argument.detach() for argument in arguments]
    answer = instead(pytorch.ours, pytorch.theirs, pytorch.REFUSALS)
    loss, grad = answer(module, *arguments)
    their_loss, their_grad = pytorch.theirs(module, *arguments)
    same = {"check_dtype": False, "equal_nan": True}
    torch.testing.assert_close(torch.as_tensor(loss).to(dtype), their_loss, **same)
    torch.testing.assert_close(torch.as_tensor(grad), their_grad, **same)
