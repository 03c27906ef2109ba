"""The kernel system: fingerprints, backends, plain Python, and the machine code of the loops."""

import gc
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numba.core import ir
from plain import forget, partly_long, plain_python
from processes import need_layer, run_python
from registry import CASES

import fastloss as fl
from fastloss.call import blocks as _blocks
from fastloss.call import operands, plan
from fastloss.compiler import fast_compile, fingerprint, jit
from fastloss.compiler.bits import PAIRS, join_pairs, settle, split_pairs, stream, transpose
from fastloss.compiler.flags import allocating, formula, manner_of, unfused
from fastloss.compiler.snapshot import is_own
from fastloss.kernels.args import COMPUTE, Args
from fastloss.kernels.blocks import over_blocks
from fastloss.kernels.form import Form
from fastloss.kernels.survey import survey
from trust.kinds import KINDS

# ---------------------------------------------------------------------------------------------
# Fingerprints


def helper_one(x):
    return x + 1


def helper_two(x):
    return x + 2


def make(inner, number):
    def outer(x):
        return inner(x) * number

    return outer


def test_fingerprint_follows_what_the_code_depends_on():
    reference = jit.fingerprint(make(helper_one, 2.0))
    assert jit.fingerprint(make(helper_one, 2.0)) == reference
    assert jit.fingerprint(make(helper_two, 2.0)) != reference
    assert jit.fingerprint(make(helper_one, 3.0)) != reference
    assert jit.fingerprint(make(helper_one, 2)) != reference  # 2 == 2.0, but not compiled alike


def test_fingerprint_follows_marks():
    def plain(x):
        return x

    before = jit.fingerprint(plain)
    marked = [jit.fingerprint(mark(plain)) for mark in (unfused, allocating, formula)]
    assert len({before, *marked}) == 4


def test_fingerprint_follows_which_of_two_functions_is_called_where():
    def both(first, second, third):
        def outer(x):
            return first(x) + second(x) * third(x)

        return outer

    a, b = helper_one, helper_two
    calls = [(a, b, a), (a, b, b), (a, a, b), (b, a, a), (b, a, b), (b, b, a), (a, a, a)]
    assert len({jit.fingerprint(both(*each)) for each in calls}) == len(calls)


def test_fingerprint_of_a_recursive_function_ends():
    def countdown(n):
        return 0 if n == 0 else countdown(n - 1)

    assert jit.fingerprint(countdown).complete


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_of_losses_are_known_completely(case, monkeypatch):
    """And functions outside of the kernels, which users write as well, are marked as formulas."""
    outside = []
    read_function = fingerprint._Reader.read_function

    def read(reader, function):
        if not is_own(function):
            outside.append(manner_of(function).weak)
        read_function(reader, function)

    class Known(Exception):
        pass

    def specialised(function, *_):
        assert jit.fingerprint(function).complete
        raise Known

    monkeypatch.setattr(jit, "specialised", specialised)
    monkeypatch.setattr(fingerprint._Reader, "read_function", read)
    monkeypatch.setattr(plan, "_kernels", {})
    forget()
    loss = case.reduced("sum")  # one that has no kernels yet
    y_true, y_pred = case.data()
    for verb in (loss, loss.value_and_grad):
        with pytest.raises(Known):
            verb(y_true, y_pred)
    assert all(outside)


@pytest.mark.long
def test_a_numba_that_is_newer_than_those_that_were_tested():
    """It compiles in its own way, to the same bits; what is private to it may be gone."""
    code = """
import sys
from dataclasses import dataclass
import numba
import numpy as np
from numba.core import untyped_passes
import fastloss as fl

if sys.argv[1] == "newer":
    numba.__version__ = "1000.0rc1"
    del untyped_passes.WithLifting

@dataclass(frozen=True)
class Own(fl.ElementwiseLoss):
    def scalar(self, y_true, y_pred):
        return 0.1 * (1 - y_pred), y_pred / 3

y_pred = np.linspace(-3, 3, 300, dtype=np.float32)
value, grad = Own().value_and_grad(np.ones(300, np.float32), y_pred)
print(value.hex(), grad.tobytes().hex())
print("fastloss.compiler.fast_compile" in sys.modules)
"""
    *tested, has_private = run_python(code, "tested").splitlines()
    assert has_private == "True"
    for _ in range(2):  # compiled, then loaded
        assert run_python(code, "newer").splitlines() == [*tested, "False"]


# ---------------------------------------------------------------------------------------------
# Machine code

X86 = platform.machine().lower() in ("x86_64", "amd64")


def assembly(loss, form, width):
    """The code of a kernel, made anew: what comes from the store cannot be looked into."""
    number = np.dtype(form.arithmetic)
    label = np.dtype(form.true)
    args = Args(
        phase=COMPUTE,
        options=loss._family.options(form, width),
        scale=1.0,
        streamed=False,
        first=0,
        last=0,
        block=1,
        true_width=1,
        width=1,
        weight=np.empty(0),
        losses_out=np.empty(0, number),
        hess_out=np.empty(0, form.pred),
        y_true=np.empty(0, label),
        y_pred=np.empty(0, form.pred),
        grad_out=np.empty(0, form.pred),
        weights=np.empty(1),
        partials=np.empty(1),
    )
    functions = survey(form, loss._family.limits(form)), loss._family.kernel(form)
    function = over_blocks(*functions, form, type(args.options))
    return "\n".join(jit.specialised(function, args).inspect_asm().values())


@pytest.fixture
def no_store(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FASTLOSS_CACHE_DIR", str(tmp_path / "file"))


@pytest.mark.skipif(not X86, reason="looks for instructions of x86-64")
@pytest.mark.usefixtures("no_store")
@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float32", "float64"])
class TestVectorised:
    """Loops compile to packed arithmetic on whole vectors, without calls to the C library."""

    def check(self, code, dtype):
        suffix = {"float32": "ps", "float64": "pd"}[dtype]
        packed = re.findall(rf"\bv?(?:mul|fmadd\d+|fnmadd\d+|fmsub\d+){suffix}\b.*[yz]mm", code)
        assert len(packed) >= 2
        assert not re.search(r"\b(?:exp|log|log1p|pow)f?\b", code)

    @pytest.mark.parametrize(
        "loss",
        [
            fl.SquaredError(),
            fl.AbsoluteError(),
            fl.BinaryCrossEntropy(),
            fl.BinaryCrossEntropyWithLogits(),
        ],
        ids=lambda loss: type(loss).__name__,
    )
    def test_elementwise(self, loss, dtype):
        form = Form(dtype, dtype, "", dtype, False, False, True, False)
        self.check(assembly(loss, form, 1), dtype)

    @pytest.mark.parametrize("width", [3, 1_000, 30_000])
    def test_cross_entropy(self, dtype, width):
        loss = fl.CrossEntropy()
        rows = loss._family.rows(width, dtype)
        form = Form("int64", dtype, "", dtype, True, False, True, False, rows)
        self.check(assembly(loss, form, width), dtype)


ASSEMBLY = """
import sys
sys.path.insert(0, sys.argv[1])
from test_kernels import cross_entropy_of_rows, assembly

print(assembly(*cross_entropy_of_rows(with_grad=sys.argv[2] == "gradient"), 1000))
"""


def cross_entropy_of_rows(with_grad):
    """Cross-entropy of long rows of float32, and the form of its kernel."""
    loss = fl.CrossEntropy()
    rows = loss._family.rows(1000, "float32")
    return loss, Form("int64", "float32", "", "float32", True, False, with_grad, False, rows)


def innermost_loops(code):
    """The instructions of each loop in which there is no other."""
    instructions, places, loops = [], {}, []
    for line in code.splitlines():
        if label := re.match(r"([.\w$]+):", line):
            places[label[1]] = len(instructions)
        elif re.match(r"\t[a-z]", line):
            instructions.append(line)
            jump = re.match(r"\tj\w+\t(\S+)", line)
            if jump and jump[1] in places:
                loops.append((places[jump[1]], len(instructions)))
    return [
        instructions[first:last]
        for first, last in loops
        if not any((first, last) != (a, b) and first <= a and b <= last for a, b in loops)
    ]


@pytest.mark.skipif(not X86, reason="counts instructions of x86-64")
@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "verb", "most"),
    [
        ("256-fused", "loss", 21),
        ("256-fused", "gradient", 26),
        ("512", "loss", 18.75),
        ("512", "gradient", 22.75),
    ],
)
def test_exponentials_take_few_instructions(tmp_path, kind, verb, most):
    """For each vector of logits, with all that sums and gradient need; in fused products."""
    (tmp_path / "file").touch()
    environment = {**KINDS[kind].environment, "FASTLOSS_CACHE_DIR": str(tmp_path / "file")}
    code = run_python(ASSEMBLY, str(Path(__file__).parent), verb, **environment)
    # Each exponential shifts its exponent into place once.
    loops = [(len(loop), "".join(loop).count("vpslld\t$23")) for loop in innermost_loops(code)]
    assert min(n / n_exponentials for n, n_exponentials in loops if n_exponentials) <= most


# ---------------------------------------------------------------------------------------------
# The same bits, whoever computes them

RESULTS = """
import sys
import numpy as np
import fastloss as fl

rng = np.random.default_rng(0)
logits = rng.normal(size=(3001, 301)).astype(np.float32)
labels = rng.integers(0, 301, 3001)
numbers = rng.normal(size=(2, 900_001))
for threads in map(int, sys.argv[1:]):
    fl.set_num_threads(threads)
    loss, grad = fl.cross_entropy.value_and_grad(labels, logits)
    error, slope = fl.mse.value_and_grad(*numbers, sample_weight=np.abs(numbers[0]))
    print(loss.hex(), error.hex(), hash(grad.tobytes()), hash(slope.tobytes()))
"""


@pytest.mark.long
def test_backends_and_thread_counts_give_the_same_bits():
    counts = ("1", "2", "3", "4", "8")
    pool = run_python(RESULTS, *counts, PYTHONHASHSEED="0").splitlines()
    assert len(pool) == len(counts)
    assert len(set(pool)) == 1
    need_layer("omp", "tbb")
    # Numba starts no more threads than this allows.
    environment = {"FASTLOSS_BACKEND": "prange", "NUMBA_NUM_THREADS": "8", "PYTHONHASHSEED": "0"}
    assert run_python(RESULTS, *counts, **environment).splitlines() == pool


@pytest.mark.long
def test_prange_is_used_where_it_is_chosen():
    need_layer("omp", "tbb")
    code = """
import numpy as np
import numba
import fastloss as fl
from fastloss.call import plan

numba.set_num_threads(1)
fl.set_backend("prange")
big = np.ones(2**21)
print(fl.mse(big, big + 1), fl.mse(big[::2], big[::2] + 1), fl.mse(big[:9], big[:9] + 1))
print(sorted(prange for _, prange in plan._kernels), numba.get_num_threads())
ids, logits = np.zeros(2**20, int), np.zeros((2**20, 2))
print(fl.cross_entropy(ids, logits, class_mask=np.tile([True, False], (2**20, 1))))
"""
    output = run_python(code).split("\n")
    assert output == ["1.0 1.0 1.0", "[False, True] 1", "0.0"]


@pytest.mark.skipif(not X86, reason="a processor of x86-64")
@pytest.mark.long
def test_halves_without_instructions_for_them(tmp_path):
    """LLVM would call a function that nothing provides, and the process would abort."""
    code = """
import numpy as np
from fastloss.compiler import bits, intrinsics, jit

def decode(stored, out):
    for i in range(stored.size):
        out[i] = half_as_float(stored[i])

def encode(numbers, out):
    for i in range(numbers.size):
        out[i] = float_as_half(numbers[i])

half_as_float, float_as_half = bits.half_as_float, bits.float_as_half
stored = np.arange(2**16, dtype=np.uint16)
single, again = np.empty(stored.size, np.float32), np.empty(stored.size, np.uint16)
jit.dispatcher(decode)(stored, single)
np.testing.assert_array_equal(single, stored.view(np.float16).astype(np.float32))
numbers = np.random.default_rng(0).integers(0, 2**32, 10**6, dtype=np.uint32).view(np.float32)
middles = (single[:31743] + single[1:31744]) / 2
numbers = np.concatenate([numbers, single, middles, -middles, np.float32([65519.99, 65520])])
again = np.empty(numbers.size, np.uint16)
jit.dispatcher(encode)(numbers, again)
with np.errstate(all="ignore"):
    expected = numbers.astype(np.float16)
np.testing.assert_array_equal(again.view(np.float16), expected)
number = ~np.isnan(numbers)
np.testing.assert_array_equal(again[number], expected.view(np.uint16)[number])
print(hasattr(intrinsics, "half_as_float"))
"""
    old = {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": ""}
    assert run_python(code, FASTLOSS_CACHE_DIR=str(tmp_path), **old) == "False"
    run_python(code, FASTLOSS_CACHE_DIR=str(tmp_path))


# ---------------------------------------------------------------------------------------------
# Primitives that move numbers


def test_conditions_that_are_known_are_left_out(monkeypatch):
    with_grad, out, left = True, np.zeros(3), []

    def inner(x, n):
        if with_grad and n > 0:
            x[0] = 1.0
        if not with_grad:
            x[1] = 1.0
        return n > 2 or with_grad

    def outer(x, n):
        if inner(x, n):
            x[2] = 1.0

    def run_pass(self, state):
        changed = drop(self, state)
        statements = [s for block in state.func_ir.blocks.values() for s in block.body]
        sources = [s.value for s in statements if isinstance(s, ir.Assign)]
        conditions = [s for s in sources if isinstance(s, ir.Global) and s.value is bool]
        left.append((len(conditions), sum(isinstance(s, ir.Branch) for s in statements)))
        return changed

    drop = fast_compile._DropConditions.run_pass
    monkeypatch.setattr(fast_compile._DropConditions, "run_pass", run_pass)
    jit.dispatcher(outer)(out, 2)
    assert left == [(2, 2)]
    np.testing.assert_array_equal(out, [1.0, 0.0, 1.0])


@pytest.mark.parametrize("collecting", [True, False])
def test_garbage_is_collected_as_before_after_a_compilation(collecting):
    @dataclass(frozen=True)
    class Wrong(fl.ElementwiseLoss):
        def scalar(self, y_true, y_pred):
            return y_pred.no_such_attribute, 0.0

    try:
        (gc.enable if collecting else gc.disable)()
        with pytest.raises(TypeError, match="no_such_attribute"):
            Wrong()([1.0], [2.0])
        assert gc.isenabled() == collecting
    finally:
        gc.enable()


@pytest.mark.parametrize("side", [4, 8, 16])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transpose_as_in_plain_python(dtype, side):
    def move(source, target):
        transpose(source, 3, 21, target, 5, 19, side)

    source = np.arange(400, dtype=dtype)
    plain, compiled = np.zeros(400, dtype), np.zeros(400, dtype)
    move(source, plain)
    jit.dispatcher(move)(source, compiled)
    np.testing.assert_array_equal(compiled, plain)
    square = source[3 : 3 + 21 * side].reshape(side, 21)[:, :side]
    there = [plain[5 + 19 * j :][:side] for j in range(side)]
    np.testing.assert_array_equal(there, square.T)
    assert np.count_nonzero(plain) == side * side


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pairs_as_in_plain_python(dtype):
    def move(source, halves, pairs):
        split_pairs(source, halves, 3 * PAIRS)
        join_pairs(halves, pairs, 3 * PAIRS)

    source = np.arange(1, 8 * PAIRS + 1, dtype=dtype)
    n = 6 * PAIRS
    for function in (move, jit.dispatcher(move)):
        halves, pairs = np.zeros_like(source), np.zeros_like(source)
        function(source, halves, pairs)
        np.testing.assert_array_equal(halves[:n], [*source[:n:2], *source[1:n:2]])
        np.testing.assert_array_equal(pairs[:n], source[:n])
        assert not halves[n:].any()
        assert not pairs[n:].any()


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_streamed_numbers_arrive_where_they_belong(dtype):
    def write(source, out):
        stream(source, out)
        settle()

    compiled = jit.dispatcher(write)
    source = np.arange(1, 401, dtype=dtype)
    for start in range(0, 70, 3):
        for size in (0, 1, 2, 15, 16, 17, 63, 64, 65, 130, 300):
            memory = np.zeros(400, dtype)
            compiled(source, memory[start : start + size])
            np.testing.assert_array_equal(memory[start : start + size], source[:size])
            assert not memory[:start].any()
            assert not memory[start + size :].any()


@partly_long(2, "width", [10, 300, 1, 9_000])
def test_streamed_gradients_have_the_same_bits(monkeypatch, width):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200_000 // width, width)).astype(np.float32)
    labels = rng.integers(0, width, len(logits))
    calls = [
        lambda: fl.cross_entropy.value_and_grad(labels, logits)[1],
        lambda: fl.cross_entropy.grad_hess(labels, logits)[1],
        lambda: fl.mse.grad(logits * 2, logits),
    ]
    expected = [call() for call in calls]
    monkeypatch.setattr(_blocks, "STREAMED", 0)
    for loss in (fl.cross_entropy, fl.mse):
        loss._family.calls.clear()  # which know a way that does not stream
    for call, result in zip(calls, expected, strict=True):
        np.testing.assert_array_equal(call(), result)


@pytest.mark.parametrize("width", [10, 70, 9_000])
def test_rows_that_are_left_out_are_streamed_as_zeros(monkeypatch, width):
    rng = np.random.default_rng(0)
    n_rows = 3 + 1_000 // width  # more than a group
    logits = rng.normal(size=(n_rows, width)).astype(np.float32)
    labels = rng.integers(0, width, n_rows)
    labels[::2] = -1
    loss = fl.CrossEntropy(ignore_index=-1)
    with plain_python():
        expected = loss.grad_hess(labels, logits)
        monkeypatch.setattr(_blocks, "STREAMED", 0)
        found = tuple(np.full_like(logits, np.nan) for _ in expected)
        loss.grad_hess(labels, logits, out=found)
    np.testing.assert_array_equal(found, expected)
    assert not np.any(np.array(found)[:, ::2])


# ---------------------------------------------------------------------------------------------
# Without the compiler


RESULTS_IN_PLAIN_PYTHON = """
import numpy as np
import fastloss as fl

rng = np.random.default_rng(0)
logits = rng.normal(size=(4, 3)).astype(np.float32)
probabilities = rng.uniform(0.1, 0.9, (4, 3))
results = [
    fl.cross_entropy.value_and_grad([0, 1, 2, 0], logits)[1].tolist(),
    fl.CrossEntropy(label_smoothing=0.1)(probabilities, logits),
    fl.categorical_cross_entropy([0, 1, 2, 0], probabilities),
    fl.binary_cross_entropy_with_logits.grad(probabilities, probabilities).tolist(),
    fl.mse.value_and_grad([1, 2], np.float16([3, 4]), sample_weight=[1, 2])[0],
]
"""


def test_numba_may_be_switched_off():
    """A process has then the numbers of `plain_python`, with which tests compare compiled code."""
    told = "from fastloss.compiler import jit\nprint(repr([results, sum(jit.counts.values())]))"
    found, n_kernels = eval(run_python(RESULTS_IN_PLAIN_PYTHON + told, NUMBA_DISABLE_JIT="1"))
    names = {}
    with plain_python():
        exec(RESULTS_IN_PLAIN_PYTHON, names)
    assert (found, n_kernels) == (names["results"], 0)


# ---------------------------------------------------------------------------------------------
# Blocks


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 1000, 4097])
def test_pairwise_sum(size):
    numbers = np.random.default_rng(size).normal(size=size)
    assert _blocks.pairwise_sum(numbers.tolist()) == pytest.approx(
        numbers.sum(), rel=1e-12, abs=1e-12
    )


def test_pairwise_sum_is_a_tree():
    """Numbers at the same place always meet in the same order: ((a + b) + (c + d)) + ..."""
    a, b, c, d, e = 1e16, 1.0, -1e16, 1.0, 0.5
    assert _blocks.pairwise_sum([a, b, c, d, e]) == ((a + b) + (c + d)) + e


def test_strided_input_is_staged_in_parts():
    """No copy of the whole exists: the buffers of a task are what STRIDED_TASK says."""
    largest = 0
    original = operands.Strided.read

    def read(self, start, stop):
        nonlocal largest
        largest = max(largest, stop - start)
        return original(self, start, stop)

    data = np.random.default_rng(0).normal(size=(2, 500_000))
    expected = fl.mse(data[0], data[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operands.Strided, "read", read)
        spread = np.empty((2, 1_000_000))
        spread[:, ::2] = data
        assert fl.mse(spread[0, ::2], spread[1, ::2]) == expected
    assert 0 < largest <= _blocks.STRIDED_TASK
