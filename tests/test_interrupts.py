"""Ctrl-C during a first call, which imports Numba, compiles or loads, breaks nothing."""

import os
import signal
import threading

import pytest
from processes import run_python

import fastloss as fl
from fastloss.compiler.interrupts import _Waiting, undisturbed

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no POSIX signals on this system")


@pytest.fixture(autouse=True)
def handlers():
    """Handlers that raise, of two signals."""
    numbers = signal.SIGINT, signal.SIGUSR1
    before = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGUSR1, stop)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


class Stop(Exception):
    pass


def stop(number, frame):
    assert frame is not None
    raise Stop


def test_a_handler_runs_when_the_work_is_done():
    done = []

    @undisturbed
    def work(times):
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            done.append(signal.getsignal(signal.SIGINT))

    with pytest.raises(KeyboardInterrupt):
        work(3)
    assert len(done) == 3
    assert done[0] is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert work(0) is None


def test_every_signal_is_told_and_no_error_is_lost():
    @undisturbed
    def work():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGUSR1)
        raise ValueError

    with pytest.raises((KeyboardInterrupt, Stop)) as caught:
        work()
    chain, error = [], caught.value
    while error is not None:
        chain.append(type(error))
        error = error.__context__
    assert {*chain[:2]} == {KeyboardInterrupt, Stop}
    assert chain[2:] == [ValueError]


def test_work_inside_of_work_puts_handlers_off_to_the_end():
    done = []

    @undisturbed
    def inner():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("inner")

    @undisturbed
    def outer():
        inner()
        done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        outer()
    assert done == ["inner", "outer"]


def test_a_handler_that_was_not_put_back_is_run_all_the_same():
    waiting = _Waiting()
    waiting.begin()
    waiting.over = True  # an interrupt came before the handlers were put back
    with pytest.raises(Stop):
        os.kill(os.getpid(), signal.SIGUSR1)
    undisturbed(dict)()
    assert signal.getsignal(signal.SIGUSR1) is stop


def test_on_other_threads_nothing_is_put_off():
    seen = []
    work = undisturbed(lambda: seen.append(signal.getsignal(signal.SIGINT)))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert seen == [signal.default_int_handler]


needs_timer = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer")


@needs_timer
def test_a_function_of_a_loss_is_compiled_undisturbed():
    """By its first call from Python, in whose middle the timer ends."""
    scalar = fl.Huber(delta=0.75).jit("float32").scalar
    compiled = []

    def interrupt(number, frame):
        compiled.append(len(scalar.signatures))
        raise Stop

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Stop):
            scalar(0.0, 0.5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert compiled == [1]
    assert scalar(0.0, 0.5) == (0.125, 0.5, 1.0)


@needs_timer
@pytest.mark.long
def test_a_storm_of_interrupts_over_first_calls(tmp_path):
    """Without putting them off, Numba's registries break, or LLVM aborts, within a few of these."""
    code = """
import signal
import sys
from dataclasses import dataclass
import fastloss as fl

def interrupt(number, frame):
    raise KeyboardInterrupt

def made(factor):
    @dataclass(frozen=True)
    class Own(fl.ElementwiseLoss):
        def scalar(self, y_true, y_pred):
            return factor * y_pred, factor

    return Own()

signal.signal(signal.SIGALRM, interrupt)
sys.stderr = None  # which Python tells of an interrupt while an object is deleted
interrupted = 0
# The first imports Numba and compiles, or loads.
for factor, first, every in ((2.0, 0.002, 0.021), (3.0, 0.05, 0.033)):
    loss = made(factor)
    for verb, expected in ((loss, 3 * factor), (loss.grad, factor)):
        for _ in range(4):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, first, every)
                    verb([0.0], [3.0])
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
        assert verb([0.0], [3.0]) == expected
print(interrupted)
"""
    assert int(run_python(code, FASTLOSS_CACHE_DIR=str(tmp_path))) >= 3
