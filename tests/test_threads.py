"""The pool: every task once, every error once, no hang, whatever the process goes through.

What could kill or hang a process runs in a process of its own with a time limit.
"""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from contextlib import suppress
from queue import SimpleQueue

import numba
import numpy as np
import pytest
from processes import need_layer, run_python

from fastloss.call import blocks as _blocks
from fastloss.call import cpus as _cpus
from fastloss.call import pool as _pool
from fastloss.call import threads as _threads
from fastloss.kernels.args import Args

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
needs_signals = pytest.mark.skipif(os.name == "nt", reason="no POSIX signals on this system")

# What the scripts below begin with. `meet` succeeds only if two threads run its tasks.
PRELUDE = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork with threads
from fastloss.call import threads as t

def meet():
    barrier = threading.Barrier(2)
    t.run(lambda i: barrier.wait(20), 2)

def check():
    hits = [0] * 50
    def task(i):
        time.sleep(1e-4)
        hits[i] += 1
    t.run(task, len(hits))
    assert hits == [1] * len(hits), hits

def forked(child, seconds=20):
    # Run child() in a forked process; a hang or a failure there is an error here.
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            child()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(status)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, f"the child ended with status {status}"
            return
        time.sleep(0.002)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")
"""


def python(code, *, timeout=60, prelude=PRELUDE, file=None, **environment):
    """Run code in a fresh interpreter, which must end well and quietly; return what it printed."""
    code = prelude + textwrap.dedent(code)
    arguments = ["-c", code]
    if file is not None:
        file.write_text(code, encoding="utf-8")
        arguments = [str(file)]
    environment = {
        "FASTLOSS_NUM_THREADS": "2",
        "FASTLOSS_BACKEND": "",
        "NUMBA_THREADING_LAYER": "default",
        **environment,
    }
    result = subprocess.run(
        [sys.executable, "-X", "faulthandler", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert result.returncode == 0, f"status {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert result.stderr == ""
    return result.stdout.strip()


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    """A pool of the test's own, whose workers end with it."""
    monkeypatch.delenv("FASTLOSS_NUM_THREADS", raising=False)
    monkeypatch.delenv("FASTLOSS_BACKEND", raising=False)
    monkeypatch.setattr(_threads, "_default_num_threads", None)
    monkeypatch.setattr(_threads, "_num_threads", None)
    monkeypatch.setattr(_threads, "_backend", None)
    fresh = _threads.Pool()
    monkeypatch.setattr(_threads, "_pool", fresh)
    yield fresh
    assert fresh.slot == {}
    fresh.run(print, 0, 1)


def ran_on(n_tasks, **options):
    """The threads on which the tasks of one call ran, in the order of the tasks."""
    threads = [None] * n_tasks

    def task(i):
        time.sleep(1e-3)
        threads[i] = threading.current_thread()

    _threads.run(task, n_tasks, **options)
    return threads


def meet(n_threads):
    """Succeeds only if that many threads are in tasks of one call at the same time."""
    barrier = threading.Barrier(n_threads)
    _threads.run(lambda i: barrier.wait(20), n_threads)


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(1e-3)


# ------------------------------------------------------------------------------- the tasks


@pytest.mark.parametrize("n_threads", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("n_tasks", [0, 1, 2, 3, 5, 8, 9, 100, 3000])
def test_every_task_runs_exactly_once(n_tasks, n_threads):
    _threads.set_num_threads(n_threads)
    for _ in range(20):
        hits = [0] * n_tasks

        def task(i, hits=hits):
            hits[i] += 1

        _threads.run(task, n_tasks)
        assert hits == [1] * n_tasks


def test_exactly_once_when_tasks_overlap():
    _threads.set_num_threads(4)
    for _ in range(50):
        done = []

        def task(i, done=done):
            time.sleep(1e-5 * (i % 3))
            done.append(i)

        _threads.run(task, 30)
        assert sorted(done) == list(range(30))


@numba.njit(nogil=True)
def sine_sum(x, start, stop):
    total = 0.0
    for i in range(start, stop):
        total += np.sin(x[i])
    return total


def test_a_kernel_gives_the_same_bits_for_any_number_of_threads():
    x = np.random.default_rng(0).normal(size=200_000)
    block = 1_000
    results = []
    for n_threads in (1, 2, 3, 4, 8, 2, 1):
        _threads.set_num_threads(n_threads)
        for _ in range(5):
            partial = np.full(x.size // block, np.nan)

            def task(i, partial=partial):
                partial[i] = sine_sum(x, i * block, (i + 1) * block)

            _threads.run(task, partial.size)
            results.append(partial.tobytes())
    assert set(results) == {results[0]}
    assert np.frombuffer(results[0]).sum() == pytest.approx(np.sin(x).sum(), rel=1e-12)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_as_many_threads_as_set_take_part(n_threads):
    _threads.set_num_threads(n_threads)
    meet(n_threads)
    assert len(set(ran_on(50))) <= n_threads


def test_no_more_workers_than_tasks(pool):
    _threads.set_num_threads(8)
    _threads.run(lambda i: None, 3)
    assert len(pool.bells) == 2


def test_workers_are_named_daemons():
    _threads.set_num_threads(3)
    meet(3)
    workers = set(ran_on(60)) - {threading.current_thread()}
    assert {worker.name for worker in workers} <= {"fastloss-1", "fastloss-2"}
    assert all(worker.daemon for worker in workers)


@pytest.mark.parametrize("why", ["not parallel", "one thread", "one task"])
def test_serial_on_the_calling_thread_in_order(why, pool):
    _threads.set_num_threads(1 if why == "one thread" else 4)
    n_tasks = 1 if why == "one task" else 20
    order = []

    def task(i):
        order.append((i, threading.get_ident()))

    _threads.run(task, n_tasks, parallel=why != "not parallel")
    assert order == [(i, threading.get_ident()) for i in range(n_tasks)]
    assert pool.bells == []


def test_two_threads_that_both_find_the_pool_free(pool):
    class Race(dict):
        def __bool__(self):  # a look before the other thread's entry
            return False

    _threads.set_num_threads(2)
    other = _pool.PoolCall(print, 0)
    pool.slot = Race(call=other)
    assert set(ran_on(5)) == {threading.current_thread()}
    assert pool.slot == {"call": other}
    pool.slot = {}


def test_a_worker_that_does_not_wake_up_is_not_waited_for(pool):
    _threads.set_num_threads(2)
    silent = SimpleQueue()  # a bell that nobody hears
    pool.bells.append(silent)
    for _ in range(3):
        assert set(ran_on(5)) == {threading.current_thread()}
    assert silent.qsize() == 1  # and calls do not pile up for it


def test_a_worker_that_wakes_up_late_does_not_enter_a_finished_call(pool):
    call = _pool.PoolCall(print, 3)
    bell = SimpleQueue()
    call.bells = [bell]
    pool.slot["call"] = call
    assert not call.anyone_inside()
    pool._join(bell)
    assert len(call.indices) == 3
    assert call.seats == {bell: _pool._CLOSED}
    pool.slot.clear()


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_keeps_the_callers_arrays_alive(fails):
    class Data:
        pass

    def call(data):
        barrier = threading.Barrier(2)

        def task(i):
            barrier.wait(20)
            if fails:
                raise ValueError(data)

        with suppress(ValueError):
            _threads.run(task, 2)

    _threads.set_num_threads(2)
    gc.disable()  # a reference cycle would keep gigabytes until the next collection
    try:
        data = Data()
        gone = weakref.ref(data)
        call(data)
        del data
        wait_for(lambda: gone() is None)
    finally:
        gc.enable()


# -------------------------------------------------------------------- the tasks of a call

ENOUGH = _blocks.LEAST_TASK


def tasks_of(n_blocks, work, n_threads):
    """The blocks of each task, or None of a call that is for one thread."""
    cut = _blocks.Cut(n_blocks << 15, work, 1, 1, 1 << 15, n_blocks, 1)
    _threads.set_num_threads(n_threads)
    if _blocks.backend_for(False, False, work) == "serial":
        return None
    tasks = []

    def kernel(*arguments):
        args = Args(*arguments)
        tasks.append((args.first, args.last))

    _blocks.run_on_pool(kernel, cut.args(()), cut, work)
    return sorted(tasks)


def test_a_call_is_shared_if_it_makes_two_tasks_and_the_caller_has_the_larger():
    assert tasks_of(32, 2 * ENOUGH - 1, 2) is None
    for n_threads in (2, 64):
        assert tasks_of(2, 2 * ENOUGH, n_threads) == [(0, 1), (1, 2)]
        assert tasks_of(4, 2 * ENOUGH, n_threads) == [(0, 3), (3, 4)]
        assert tasks_of(8, 2 * ENOUGH, n_threads) == [(0, 5), (5, 8)]
        assert tasks_of(16, 2 * ENOUGH, n_threads) == [(0, 9), (9, 16)]
        assert tasks_of(4, 20 * ENOUGH, n_threads) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    four_each = [(0, 5), *((first, first + 4) for first in range(5, 29, 4)), (29, 32)]
    assert tasks_of(32, 16 * ENOUGH, 2) == four_each


def test_one_thread_makes_tasks_only_for_interrupts():
    most = _blocks.TASK >> 15
    assert tasks_of(32, 4 * _blocks.TASK, 1) is None
    assert tasks_of(most, 10**12, 1) == [(0, most)]
    assert tasks_of(most + 7, 10**12, 1) == [(0, most), (most, most + 7)]


@pytest.mark.parametrize("n_threads", [2, 5, 64])
@pytest.mark.parametrize("n_blocks", [2, 3, 7, 32, 1000])
def test_tasks_are_worth_waking_a_thread(n_blocks, n_threads):
    for work in (2 * ENOUGH, 3 * ENOUGH + 1, 31 * ENOUGH, 1000 * ENOUGH, 10**12):
        tasks = tasks_of(n_blocks, work, n_threads)
        assert [first for first, _ in tasks] == [0, *(last for _, last in tasks[:-1])]
        assert tasks[-1][1] == n_blocks
        sizes = [last - first for first, last in tasks]
        assert min(sizes) > 0
        assert len(sizes) > 1
        assert max(sizes[1:]) <= sizes[0] <= _blocks.TASK >> 15
        assert len(sizes) <= -(-work // ENOUGH) or sizes[0] == _blocks.TASK >> 15
        if n_blocks >= 4 * n_threads and work >= 4 * n_threads * ENOUGH:
            assert len(tasks) >= 3 * n_threads


# ------------------------------------------------------------------------------ exceptions


@pytest.mark.parametrize("n_threads", [1, 2, 4])
@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, IndexError])
@pytest.mark.parametrize("where", [0, 1, 57, 99])
def test_an_exception_reaches_the_caller(where, error, n_threads):
    _threads.set_num_threads(n_threads)

    def task(i):
        if i == where:
            raise error(f"task {i}")

    for _ in range(5):
        with pytest.raises(error, match=f"^task {where}$"):
            _threads.run(task, 100)
    assert len(ran_on(10)) == 10
    meet(n_threads)


@pytest.mark.parametrize("who", ["caller", "worker"])
def test_no_thread_is_inside_a_task_when_the_exception_arrives(who):
    _threads.set_num_threads(2)
    caller = threading.current_thread()
    for _ in range(5):
        barrier = threading.Barrier(2)
        begun, ended = [], []

        def task(i, barrier=barrier, begun=begun, ended=ended):
            begun.append(i)
            if i < 2:
                barrier.wait(20)
                if (threading.current_thread() is caller) == (who == "caller"):
                    raise ValueError(i)
            time.sleep(0.01)
            ended.append(i)

        with pytest.raises(ValueError):
            _threads.run(task, 500)
        assert len(begun) == len(ended) + 1
        assert len(begun) < 500  # and the rest was not begun


def test_an_interrupt_goes_before_an_earlier_error():
    _threads.set_num_threads(2)
    caller = threading.current_thread()
    barrier = threading.Barrier(2)

    def task(i):
        barrier.wait(20)
        if threading.current_thread() is not caller:
            raise ValueError
        time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _threads.run(task, 2)


# ------------------------------------------------------------------- calls within and beside


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_nested_calls(n_threads):
    _threads.set_num_threads(n_threads)
    hits = [[[0] * 5 for _ in range(6)] for _ in range(8)]
    same_thread = []

    def outer(i):
        def middle(j):
            def inner(k):
                hits[i][j][k] += 1
                same_thread.append(threading.get_ident() == thread)

            _threads.run(inner, 5)

        thread = threading.get_ident()
        _threads.run(middle, 6)

    _threads.run(outer, 8)
    assert hits == [[[1] * 5] * 6] * 8
    if n_threads > 1:
        assert all(same_thread)


@pytest.mark.parametrize("n_callers", [4, 16])
def test_calls_from_many_threads(n_callers):
    _threads.set_num_threads(3)
    wrong = []

    def caller():
        try:
            for n_tasks in range(1, 60):
                hits = [0] * n_tasks

                def task(i, hits=hits):
                    if i % 7 == 0:
                        time.sleep(1e-5)
                    hits[i] += 1

                _threads.run(task, n_tasks)
                assert hits == [1] * n_tasks
        except BaseException as error:
            wrong.append(error)

    callers = [threading.Thread(target=caller) for _ in range(n_callers)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(50)
    assert not any(thread.is_alive() for thread in callers)
    assert wrong == []


def test_a_busy_pool_is_not_waited_for():
    _threads.set_num_threads(2)
    begun, go_on = threading.Event(), threading.Event()

    def task(i):
        begun.set()
        assert go_on.wait(20)

    other = threading.Thread(target=_threads.run, args=(task, 4))
    other.start()
    assert begun.wait(20)
    assert set(ran_on(5)) == {threading.current_thread()}
    go_on.set()
    other.join(20)
    meet(2)


# ------------------------------------------------------------------------------- interrupts


@needs_signals
def test_interrupt_during_a_long_call():
    python("""
        import signal
        # Whoever runs these tests in the background may have switched it off.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        t.set_num_threads(2)
        inside = [0] * 20_000
        def task(i):
            inside[i] = 1
            time.sleep(0.005)
            inside[i] = 0
        for delay in (0.05, 0.051, 0.0525, 0.054):
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                t.run(task, len(inside))
            except KeyboardInterrupt:
                # One task may be lost: the calling thread's own, in which it was interrupted.
                assert sum(inside) <= 1
                inside[:] = [0] * len(inside)
            else:
                raise AssertionError("not interrupted")
            check()
            meet()
        """)


@needs_signals
def test_interrupted_again_and_again_while_waiting_for_a_worker():
    python("""
        import signal
        # Whoever runs these tests in the background may have switched it off.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        t.set_num_threads(2)
        barrier = threading.Barrier(2)
        ended = []
        caller = threading.current_thread()
        def task(i):
            barrier.wait(20)
            if threading.current_thread() is not caller:
                for _ in range(30):
                    time.sleep(0.01)
                    os.kill(os.getpid(), signal.SIGINT)
                ended.append(i)
        try:
            t.run(task, 2)
        except KeyboardInterrupt:
            assert len(ended) == 1, "returned while a worker was inside"
        else:
            raise AssertionError("not interrupted")
        time.sleep(0.05)
        check()
        meet()
        """)


@needs_signals
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer")
def test_a_storm_of_interrupts_at_any_moment():
    python(
        """
        import signal
        sys.stderr = None  # which Python tells of an interrupt while an object is deleted
        def interrupt(signum, frame):
            while frame is not None:
                if frame.f_code is t.run.__code__:  # else this script's own code would need care
                    raise KeyboardInterrupt
                frame = frame.f_back
        signal.signal(signal.SIGALRM, interrupt)
        interrupted = whole = 0
        end = time.monotonic() + 3
        try:
            while time.monotonic() < end:
                inside = []
                def task(i):
                    if threading.current_thread().name.startswith("fastloss"):
                        inside.append(i)
                        try:
                            time.sleep(1e-5)
                        finally:
                            inside.remove(i)
                if interrupted % 5 == 0:
                    t.set_num_threads(1)  # the next call starts its workers anew
                t.set_num_threads(3)
                first = 1e-5 + 2e-4 * ((whole * 7 + interrupted) % 11)
                signal.setitimer(signal.ITIMER_REAL, first, 1e-3)
                try:
                    t.run(task, 10)
                    whole += 1
                except KeyboardInterrupt:
                    interrupted += 1
                left_behind = list(inside)
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert not left_behind, left_behind
                assert t._pool.slot == {}
        finally:
            sys.stderr = sys.__stderr__
        assert interrupted > 100, interrupted
        check()
        meet()
        # Nobody but the pool's own two workers is left. Those are counted that serve: when an
        # interrupt falls into `Thread.start`, Python itself may keep an entry of a thread that
        # never came to life, or one that waits for its starter for ever, in `threading`'s lists.
        def serving():
            count = 0
            for frame in sys._current_frames().values():
                while frame is not None and frame.f_code is not t.Pool._serve.__code__:
                    frame = frame.f_back
                count += frame is not None
            return count
        end = time.monotonic() + 20  # one that was told to end may have to wait for a CPU
        while serving() > 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert serving() <= 2, serving()
        assert len(t._pool.bells) <= 2
        """,
        timeout=60,
    )


# ------------------------------------------------------------------------------------- fork


@needs_fork
def test_fork_before_and_after_use():
    python("""
        forked(check)
        meet()
        def child():
            check(); meet()
            forked(lambda: (check(), meet()))
        for _ in range(5):
            forked(child)
        check(); meet()
        """)


@needs_fork
def test_fork_from_another_thread():
    python("""
        meet()
        failures = []
        def forker():
            try:
                for _ in range(5):
                    forked(lambda: (check(), meet()))
            except BaseException as error:
                failures.append(error)
        thread = threading.Thread(target=forker)
        thread.start()
        check()
        thread.join()
        assert failures == []
        check(); meet()
        """)


@needs_fork
def test_fork_while_other_threads_are_in_calls():
    python("""
        stop = []
        failures = []
        def caller():
            try:
                while not stop:
                    check()
            except BaseException as error:
                failures.append(error)
        callers = [threading.Thread(target=caller) for _ in range(3)]
        for thread in callers: thread.start()
        for _ in range(20):
            forked(lambda: (check(), meet()))
        stop.append(True)
        for thread in callers: thread.join(20)
        assert failures == []
        check(); meet()
        """)


@needs_fork
def test_fork_inside_a_task():
    python("""
        caller = threading.current_thread()
        def rest_of_the_call_in_the_child():
            # Tasks that workers had taken are lost there, so the call must not seem to succeed.
            forks = []
            barrier = threading.Barrier(2)
            def task(i):
                if i < 2:
                    barrier.wait(20)
                if threading.current_thread() is caller and not forks:
                    forks.append(os.fork())
                while not forks:
                    time.sleep(1e-3)
            error = None
            try:
                t.run(task, 40)
            except RuntimeError as e:
                error = e
            if forks[0] == 0:
                try:
                    assert "forked" in str(error)
                    check(); meet()
                    os._exit(0)
                finally:
                    os._exit(1)
            assert error is None
            assert os.waitpid(forks[0], 0)[1] == 0
        rest_of_the_call_in_the_child()
        # The usual case, a child that does its work inside the task and ends.
        t.run(lambda i: forked(lambda: (check(), meet())), 4)
        check(); meet()
        """)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.long
def test_multiprocessing_after_use_in_the_parent(method, tmp_path):
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    python(
        f"""
        import multiprocessing
        def work(k):
            check()
            meet()
            return k * k
        if __name__ == "__main__":
            check(); meet()
            with multiprocessing.get_context("{method}").Pool(2) as processes:
                assert processes.map_async(work, range(8)).get(40) == [k * k for k in range(8)]
            check(); meet()
        """,
        file=tmp_path / "main.py",
    )


# --------------------------------------------------------------------------------- shutdown


@pytest.mark.parametrize("used_before", [False, True])
def test_call_from_an_atexit_handler(used_before):
    out = python(f"""
        import atexit
        atexit.register(lambda: (check(), print("done")))
        if {used_before}:
            check()
        """)
    assert out == "done"


def test_call_while_the_interpreter_is_torn_down():
    out = python("""
        class Late:
            def __del__(self, run=t.run):
                hits = []
                run(hits.append, 5)
                print(sorted(hits), flush=True)
        late = Late()
        late.itself = late  # a cycle, which lives until the last collection
        check()
        """)
    assert out == "[0, 1, 2, 3, 4]"


@pytest.mark.long
def test_exit_while_a_daemon_thread_is_in_a_call():
    for milliseconds in (0, 3, 10):
        python(f"""
            def forever():
                while True:
                    t.run(lambda i: time.sleep(1e-3 * (i % 2)), 4)
            for _ in range(2):
                threading.Thread(target=forever, daemon=True).start()
            check()
            time.sleep({milliseconds} / 1000)
            """)


def test_exit_while_a_daemon_thread_is_in_a_kernel():
    python("""
        import numba
        import numpy as np

        @numba.njit(nogil=True)
        def kernel(x, n):
            for _ in range(n):
                for i in range(x.size):
                    x[i] = x[i] * 0.999 + 1.0

        x = np.ones((4, 1000))
        kernel(x[0], 1)
        def forever():
            while True:
                t.run(lambda i: kernel(x[i], 1000), 4)
        threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.02)
        """)


# ------------------------------------------------------------------------ number of threads


def no_threads(self):
    raise RuntimeError("can't start new thread")


def test_threads_that_cannot_be_started(pool, monkeypatch):
    _threads.set_num_threads(4)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_threads)
        assert set(ran_on(6)) == {threading.current_thread()}
        try:
            raise KeyError
        except KeyError:  # an error that the caller is handling is none of ours
            assert set(ran_on(6)) == {threading.current_thread()}
    meet(4)
    _threads.set_num_threads(8)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_threads)
        meet(4)  # with those there are
    assert len(pool.bells) == 3


def test_an_interrupt_that_hides_behind_the_error_of_a_lock(pool, monkeypatch):
    # As `Thread.start` raises it when an interrupt makes it lose the lock that it waits with.
    def interrupted(self):
        start(self)
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("release unlocked lock")

    _threads.set_num_threads(2)
    start = threading.Thread.start
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ran_on(6)
    assert pool.bells == []
    meet(2)


def test_shutting_down_starts_no_thread(pool, monkeypatch):
    _threads.set_num_threads(4)
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    threads = ran_on(6)
    monkeypatch.undo()
    assert set(threads) == {threading.current_thread()}


def test_workers_that_are_too_many_end():
    before = threading.active_count()
    for _ in range(100):
        _threads.set_num_threads(5)
        _threads.run(lambda i: None, 10)
        _threads.set_num_threads(1)
        _threads.run(lambda i: None, 10)
    wait_for(lambda: threading.active_count() <= before)


def test_workers_end_also_if_the_number_was_lowered_during_a_call(pool):
    _threads.set_num_threads(4)
    meet(4)
    _threads.run(lambda i: _threads.set_num_threads(2), 1)
    _threads.set_num_threads(4)
    meet(4)
    _threads.run(lambda i: _threads.set_num_threads(2), 8)  # the pool is busy
    _threads.run(lambda i: None, 8)
    assert len(pool.bells) == 1
    meet(2)


def test_default_number_of_threads(monkeypatch):
    assert _threads.get_num_threads() == _threads.available_cpus()
    _threads.set_num_threads(np.int64(3))
    assert _threads.get_num_threads() == 3
    assert type(_threads.get_num_threads()) is int
    monkeypatch.setenv("FASTLOSS_NUM_THREADS", " 7 ")
    monkeypatch.setattr(_threads, "_default_num_threads", None)
    assert _threads.get_num_threads() == 3
    _threads.set_num_threads(None)
    assert _threads.get_num_threads() == 7


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "2 3", "9" * 5000])
def test_bad_number_in_the_environment(value, monkeypatch):
    monkeypatch.setenv("FASTLOSS_NUM_THREADS", value)
    if value.startswith("9"):  # more digits than Python converts
        value = "9999"
    for _ in range(2):
        with pytest.raises(ValueError, match="FASTLOSS_NUM_THREADS") as caught:
            _threads.run(print, 2)
        assert value in str(caught.value)
        assert "set_num_threads" in str(caught.value)
    _threads.set_num_threads(2)
    meet(2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FASTLOSS_NUM_THREADS", "nonsense"),
        ("FASTLOSS_NUM_THREADS", "99999999999"),
        ("FASTLOSS_BACKEND", "nonsense"),
    ],
)
def test_bad_environment_is_told_at_the_first_call_however_small(name, value):
    """And not at the import: the program may still set what is wrong."""
    code = """
        import fastloss as fl
        def refused(use):
            try:
                use()
            except ValueError as error:
                return NAME in str(error) and VALUE in str(error)
        for _ in range(2):
            assert refused(lambda: fl.mse([1.0], [3.0]))
            assert refused(lambda: fl.cross_entropy.grad([0], [[1.0, 2.0]]))
            assert refused(lambda: fl.mse.jit().scalar)
            assert refused(lambda: fl.evaluate([0], [[1.0, 2.0]]))
        fl.set_num_threads(2)
        fl.set_backend("pool")
        assert fl.mse([1.0], [3.0]) == 4.0
    """
    both = {"NUMBA_DISABLE_JIT": "1", name: value}
    python(code.replace("NAME", repr(name)).replace("VALUE", repr(repr(value))), **both)


@pytest.mark.parametrize(
    ("n", "error"),
    [
        (0, ValueError),
        (-3, ValueError),
        (8193, ValueError),
        (True, TypeError),
        (2.0, TypeError),
        ("2", TypeError),
        (np.bool_(True), TypeError),
    ],
)
def test_bad_number_of_threads(n, error):
    _threads.set_num_threads(3)
    with pytest.raises(error, match=r"n must be .*got .*: pass") as caught:
        _threads.set_num_threads(n)
    assert repr(n) in str(caught.value)
    assert _threads.get_num_threads() == 3


@needs_fork
def test_a_forked_child_counts_its_own_cpus():
    python(
        """
        assert t.get_num_threads() == 5
        def child():
            assert t.get_num_threads() == 4
        os.environ["FASTLOSS_NUM_THREADS"] = "4"
        assert t.get_num_threads() == 5
        forked(child)
        """,
        FASTLOSS_NUM_THREADS="5",
    )


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity here")
def test_affinity_of_one_cpu():
    python(
        """
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        assert t.available_cpus() == 1
        assert t.get_num_threads() == 1
        check()
        t.set_num_threads(2)
        check(); meet()
        """,
        FASTLOSS_NUM_THREADS="",
    )


def cgroup_cpus(folder, membership, files):
    for name, text in files.items():
        path = folder / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "membership").write_text(membership)
    return _cpus.cgroup_cpus(str(folder / "membership"), str(folder / "root"))


V1 = "5:cpuacct:/\n4:cpu,cpuset:/a/b\n2:memory:/a\n"
NONE = 2.0**31


@pytest.mark.parametrize(
    ("membership", "files", "cpus"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n", "a/cpu.max": "max 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "800000 100000\n", "a/cpu.max": "300000 100000\n"}, 3.0),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "max 100000\n"}, NONE),
        ("0::/a\n", {"a/b/cpu.max": "100000 100000\n", "c/cpu.max": "100000 100000\n"}, NONE),
        ("0::/\n", {"cpu.max": "250000 50000\n"}, 5.0),
        ("0::/host/path\n", {"cpu.max": "400000 100000\n"}, 4.0),
        ("0::/../other\n", {"cpu.max": "400000 100000\n"}, 4.0),
        ("0::/a:b\n", {"a:b/cpu.max": "400000 100000\n"}, 4.0),
        ("1:name=x:/\n0::/a\n", {"unified/a/cpu.max": "200000 100000\n"}, 2.0),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "50000", "cpu/a/b/cpu.cfs_period_us": "100000"}, 0.5),
        (V1, {"cpu,cpuset/a/cpu.cfs_quota_us": "9", "cpu,cpuset/a/cpu.cfs_period_us": "3"}, 3.0),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, NONE),
        (V1, {"cpu/cpu.cfs_quota_us": "100000\n"}, NONE),
        (V1, {"memory/a/cpu.max": "1 1"}, NONE),
        ("0::/a\n", {"a/cpu.max": "garbage"}, NONE),
        ("0::/a\n", {"a/cpu.max": "1 0"}, NONE),
        ("0::/a\n", {"a/cpu.max": "\u00b2 \u00b3"}, NONE),
        ("0::/a\0b\n", {}, NONE),
        ("garbage\n::\n:\n\n", {}, NONE),
        ("", {}, NONE),
    ],
)
def test_cgroup_quota(membership, files, cpus, tmp_path):
    assert cgroup_cpus(tmp_path, membership, files) == cpus


def test_cgroup_files_that_are_not_there(tmp_path):
    assert _cpus.cgroup_cpus(str(tmp_path / "nothing"), str(tmp_path)) == NONE


@pytest.mark.parametrize(("quota", "cpus"), [(0.01, 1), (1.0, 1), (1.5, 2), (3.2, 4), (1e6, 6)])
def test_quota_is_rounded_up_and_caps_the_affinity(quota, cpus, monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 6, raising=False)
    monkeypatch.setattr(_cpus, "cgroup_cpus", lambda: quota)
    assert _cpus.available_cpus() == cpus


# ---------------------------------------------------------------------------------- backend


def test_the_pool_is_the_default_backend():
    assert _threads.get_backend() == "pool"
    _threads.set_backend("pool")
    assert _threads.get_backend() == "pool"


@pytest.mark.parametrize("name", ["omp", "", "Pool", None, 3])
def test_bad_backend(name):
    with pytest.raises(ValueError, match='name must be "pool" or "prange", got') as caught:
        _threads.set_backend(name)
    assert repr(name) in str(caught.value)
    assert _threads.get_backend() == "pool"


def test_bad_backend_in_the_environment(monkeypatch):
    monkeypatch.setenv("FASTLOSS_BACKEND", "gpu")
    for _ in range(2):
        with pytest.raises(ValueError, match="FASTLOSS_BACKEND.*'gpu'"):
            _threads.get_backend()
    _threads.set_backend("pool")
    assert _threads.get_backend() == "pool"


REFUSED = """
    def refused(use):
        try:
            use()
        except RuntimeError as error:
            print(error)
        else:
            raise AssertionError("not refused")
    """


@pytest.mark.parametrize("how", ["set", "environment"])
@pytest.mark.parametrize("layer", ["workqueue", "nonsense"])
@pytest.mark.long
def test_prange_is_refused_where_it_would_abort(layer, how):
    out = python(
        REFUSED
        + f"""
    if {how == "set"}:
        refused(lambda: t.set_backend("prange"))
        assert t.get_backend() == "pool"
    else:
        refused(t.get_backend)
        refused(t.get_backend)
        t.set_backend("pool")
        assert t.get_backend() == "pool"
    check()
    """,
        NUMBA_THREADING_LAYER=layer,
        FASTLOSS_BACKEND="prange" if how == "environment" else "",
    )
    assert "workqueue" in out if layer == "workqueue" else "could not" in out
    assert "install tbb" in out
    assert ("FASTLOSS_BACKEND" in out) == (how == "environment")


@pytest.mark.parametrize("layer", ["omp", "tbb"])
@pytest.mark.long
def test_prange_is_accepted(layer):
    need_layer(layer)
    environment = {"NUMBA_THREADING_LAYER": layer}
    python("t.set_backend('prange'); assert t.get_backend() == 'prange'", **environment)
    environment["FASTLOSS_BACKEND"] = "prange"
    python("assert t.get_backend() == t.get_backend() == 'prange'", **environment)


@needs_fork
@pytest.mark.parametrize("how", ["set", "environment"])
@pytest.mark.long
def test_a_forked_child_is_on_the_pool(how):
    need_layer("omp")
    out = python(
        REFUSED
        + f"""
    if {how == "set"}:
        t.set_backend("prange")
    assert t.get_backend() == "prange"
    check()
    def child():
        assert t.get_backend() == "pool"
        refused(lambda: t.set_backend("prange"))
        t.set_backend("pool")
        assert t.get_backend() == "pool"
        check(); meet()
        forked(lambda: (check(), meet()))
        sys.stdout.flush()
    forked(child)
    assert t.get_backend() == "prange"
    """,
        NUMBA_THREADING_LAYER="omp",
        FASTLOSS_BACKEND="prange" if how == "environment" else "",
    )
    assert "fork" in out
    assert "spawn" in out


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells of a fork")
@pytest.mark.parametrize("openmp", [False, True])
@pytest.mark.long
def test_a_child_that_was_forked_before_the_import_is_on_the_pool(openmp):
    """If OpenMP was loaded by then: its threads may be missing, and nobody could tell."""
    if openmp:
        pytest.importorskip("sklearn._loss")
    need_layer("omp")
    out = python(
        f"""
        import os
        if {openmp}:
            import sklearn._loss  # brings OpenMP
        child = os.fork()
        if child == 0:
            from fastloss.call import threads as _threads
            print(_threads.get_backend(), flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """,
        prelude="",
        NUMBA_THREADING_LAYER="omp",
        FASTLOSS_BACKEND="prange",
    )
    assert out == ("pool" if openmp else "prange")


def test_functions_are_read_while_another_thread_imports_numba():
    code = """
import sys, threading
from fastloss.compiler.snapshot import _in_plain_python, is_extended, is_versioned
thread = threading.Thread(target=__import__, args=["numba"])
thread.start()
while "numba" not in sys.modules:
    pass
print(_in_plain_python(), is_versioned(sys), is_extended(len))
thread.join()
"""
    assert run_python(code, NUMBA_DISABLE_JIT="0") == "False True False"


def test_neither_import_nor_use_of_the_pool_imports_numba():
    python("""
        check()
        assert t.get_backend() == "pool"
        assert "numba" not in sys.modules
        """)


# -------------------------------------------------------------------------------------------------
# Where workers run


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs several CPUs, and threads that can be moved",
)
def test_workers_run_on_the_other_cpus_of_the_caller():
    """The mask of a worker is that of its caller, less the CPU that the caller is on."""
    code = """
import os, threading, time
from fastloss.call import threads as _threads

_threads.set_num_threads(2)
allowed = os.sched_getaffinity(0)

def masks():
    seen = []
    def task(i):
        time.sleep(0.01)
        if threading.current_thread() is not threading.main_thread():
            seen.append(os.sched_getaffinity(0))
    while not seen:
        _threads.run(task, 8)
    return seen

assert all(mask < allowed and len(mask) == len(allowed) - 1 for mask in masks())
one = {min(allowed)}
os.sched_setaffinity(0, one)
assert all(mask == one for mask in masks())
print(os.sched_getaffinity(0) == one)
"""
    assert run_python(code) == "True"
