"""All that knows Numba, and what plain functions say to it: the floor below the kernels.

A kernel is a plain function. It says how it is compiled with marks (`flags.py`), and what one line
of it does to the machine with primitives (`bits.py`). From there on:

    interrupts      the way in: Numba is imported at a first call, and Ctrl-C waits meanwhile
    jit             compiles a function with all that it reaches, or finds it in the store
    snapshot        what the function of a loss reads from outside, read once
    fingerprint     what compiled code depends on: its name, and its key in the store
    store           compiled code on disk
    intrinsics      the primitives as LLVM instructions
    moves           those that move many numbers at once
    spans           windows of arrays as Numba types
    weak_numbers    numbers in the functions of losses take the precision of the data
    passes          the steps of a compilation that see to that
    fast_compile    what only makes compiling faster, with versions of Numba that were tested
    processor       what the processor can do
    numba_api       all that is private to Numba and LLVM, and what each is for

Nothing here but `flags`, `bits`, `snapshot`, `store`, `processor` and `interrupts` may be imported
before the first call, as the rest imports Numba.
"""
