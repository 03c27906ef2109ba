"""What a study measures: the suites `quick` and `full`, and a choice from one of them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..catalogue import entries
from . import scorecard
from .contender import ALL_DTYPES
from .hosts import CASES, Case, boosting, steps
from .workloads import (
    BINARY,
    COMPARISON,
    CROSS_ENTROPY,
    EVALUATED,
    EVALUATION,
    GRADIENT,
    IN_PLACE,
    LOGITS,
    LOSS,
    LOSSES,
    MULTILABEL,
    NUMBERS,
    RANKING,
    REGRESSION,
    SOFT_LABELS,
    Workload,
)

# The parts of a report, with their titles. The first ones compare contenders at workloads, as does
# EVALUATION, which has the name of its only task.
SPEED, FAMILIES, DTYPES, SIZES, CLASSES, CALLS, DATA = (
    "speed",
    "families",
    "dtypes",
    "sizes",
    "classes",
    "calls",
    "data",
)
THREADS, MEMORY, COLD, HOSTS, JOBS = "threads", "memory", "cold", "hosts", "jobs"
SECTIONS = {
    SPEED: "Speed",
    FAMILIES: "Every family of losses",
    DTYPES: "Dtypes",
    SIZES: "From small to large",
    CLASSES: "From few classes to many",
    CALLS: "Small calls",
    DATA: "Data that are not random",
    EVALUATION: "Evaluation",
    THREADS: "Threads",
    MEMORY: "Memory",
    COLD: "Cold start",
    HOSTS: "Within other libraries",
    JOBS: "Whole jobs",
}
# Of the sections that compare contenders.
TASKS = {
    SPEED: (LOSS, GRADIENT, IN_PLACE),
    FAMILIES: (LOSS, GRADIENT),
    DTYPES: (LOSS, GRADIENT),
    SIZES: (GRADIENT,),
    CLASSES: (GRADIENT,),
    CALLS: (LOSS, GRADIENT),
    DATA: (LOSS, GRADIENT),
    EVALUATION: (EVALUATION,),
}


class Suite(NamedTuple):
    """Workloads for each section; an empty section is left out."""

    name: str
    seconds: float  # for each workload, all contenders and tasks together; at least some rounds
    comparisons: dict[str, tuple[Workload, ...]]
    threads: tuple[Workload, ...]
    memory: tuple[Workload, ...]
    cold: tuple[Workload, ...]
    hosts: tuple[Case, ...]
    processes: int  # in which each workload is timed, as its memory lies elsewhere in each
    starts: int  # processes of a cold start or a whole job, of which each is one round
    epochs: int  # of the training
    mapped_gib: float  # of the file of logits; 0: no whole jobs
    # Who takes no part in a section, as it would take too long.
    left_out: dict[str, tuple[str, ...]]


def _ce(*shape: int, dtype: str = "float32") -> Workload:
    return Workload("cross_entropy", shape, dtype)


def _of_all_numbers(*workloads: Workload) -> tuple[Workload, ...]:
    return tuple(each._replace(numbers=numbers) for each in workloads for numbers in NUMBERS)


_BINARY = "binary_cross_entropy_with_logits"
_ONE_OF_EACH_FAMILY = ("huber", "binary_cross_entropy", "kl_divergence", "focal", "dice")

QUICK = Suite(
    name="quick",
    seconds=2.0,
    comparisons={
        SPEED: (
            _ce(100_000, 10),
            _ce(16_384, 1_000),
            _ce(1_024, 32_768),
            Workload("mse", (4_000_000,)),
            Workload(_BINARY, (4_000_000,)),
        ),
        FAMILIES: tuple(
            Workload(w.loss, (1_000_000,) if len(w.shape) == 1 else (10_000, 100))
            for w in LOSSES
            if w.loss in _ONE_OF_EACH_FAMILY
        ),
        DTYPES: tuple(_ce(4_096, 1_000, dtype=dtype) for dtype in ALL_DTYPES),
        SIZES: tuple(Workload("mse", (8**k * 32,)) for k in range(0, 7, 2)),
        CLASSES: tuple(_ce(2**20 // 4**k, 4**k) for k in (1, 3, 5, 7, 9)),
        CALLS: tuple(_ce(rows, 10) for rows in (1, 32, 1_024)),
        DATA: _of_all_numbers(_ce(4_096, 1_000), Workload(_BINARY, (1_000_000,))),
        EVALUATION: (
            _ce(65_536, 100),
            _ce(4_096, 1_000),
            Workload(BINARY, (1_000_000,)),
            Workload(MULTILABEL, (2_000, 20)),
            Workload(REGRESSION, (1_000_000,)),
            Workload(RANKING, (200, 100)),
            Workload(COMPARISON, (100_000, 10)),
        ),
    },
    threads=(_ce(16_384, 1_000), Workload("mse", (4_000_000,))),
    memory=(_ce(2_048, 8_192),),
    cold=(_ce(32, 10),),
    hosts=(*boosting((20_000, 10), (20_000,)), *steps((32, 10), (1_024, 1_000))),
    processes=1,
    starts=3,
    epochs=20,
    mapped_gib=0.25,
    # It compiles for seconds for every shape.
    left_out=dict.fromkeys((FAMILIES, DTYPES, SIZES, CLASSES, CALLS, DATA), ("torch.compile",)),
)

FULL = Suite(
    name="full",
    seconds=6.0,
    comparisons={
        SPEED: (
            _ce(32, 10),
            _ce(1_000_000, 10),
            _ce(65_536, 100),
            _ce(65_536, 1_000),
            _ce(8_192, 32_768),
            *(w for w in CROSS_ENTROPY if w.labels == SOFT_LABELS),
            Workload("categorical_cross_entropy", (65_536, 100)),
            Workload("mse", (32_000_000,)),
            Workload("mae", (32_000_000,)),
            Workload("binary_cross_entropy", (32_000_000,)),
            Workload(_BINARY, (32_000_000,)),
        ),
        FAMILIES: LOSSES,
        DTYPES: tuple(
            _ce(*shape, dtype=dtype)
            for shape in ((1_000_000, 10), (65_536, 1_000), (2_048, 32_768))
            for dtype in ALL_DTYPES
        ),
        SIZES: (
            *(Workload("mse", (8**k * 32,)) for k in range(8)),  # 32 to 64 Mi
            *(_ce(4**k, 100) for k in range(11)),
        ),
        CLASSES: tuple(_ce(2**24 // 2**k, 2**k) for k in (1, 2, 3, 5, 7, 9, 11, 13, 15, 17, 18)),
        CALLS: (
            *(_ce(rows, 10) for rows in (1, 8, 32, 128, 1_024)),
            Workload("mse", (32,)),
            Workload("mse", (320,)),
        ),
        DATA: _of_all_numbers(
            _ce(1_000_000, 10), _ce(65_536, 1_000), Workload(_BINARY, (32_000_000,))
        ),
        EVALUATION: scorecard.WORKLOADS,
    },
    threads=(
        _ce(65_536, 1_000),
        _ce(1_000_000, 10),
        _ce(8_192, 32_768),
        Workload("mse", (32_000_000,)),
    ),
    memory=(_ce(8_192, 32_768), Workload("mse", (64 * 2**20,))),
    cold=(_ce(32, 10), Workload("mse", (320,))),
    hosts=CASES,
    processes=3,
    starts=7,
    epochs=60,
    mapped_gib=4.0,
    left_out={},
)

SUITES = {suite.name: suite for suite in (QUICK, FULL)}


class Selection(NamedTuple):
    """A part of a suite; of what is empty, all."""

    sections: Sequence[str] = ()
    losses: Sequence[str] = ()
    shapes: Sequence[tuple[int, ...]] = ()
    dtypes: Sequence[str] = ()

    def wants(self, workload: Workload) -> bool:
        return (
            (not self.losses or workload.loss in self.losses)
            and (not self.shapes or workload.shape in self.shapes)
            and (not self.dtypes or workload.dtype in self.dtypes)
        )

    def own_workloads(self) -> Iterable[Workload]:
        """Those that a loss and a shape make, whether a suite has them or not."""
        for loss in self.losses:
            for shape in self.shapes:
                for dtype in self.dtypes or ("float32",):
                    yield Workload(loss, shape, dtype)


def select(suite: Suite, selection: Selection) -> Suite:
    """The chosen part of a suite. What it lacks is added to the first of the chosen sections.

    A ValueError says that nothing is left.
    """
    chosen = selection.sections or tuple(SECTIONS)
    for section in chosen:
        if section not in SECTIONS:
            raise ValueError(f"no section is called {section}: there are {', '.join(SECTIONS)}")

    def those(section: str, workloads: tuple[Workload, ...]) -> tuple[Workload, ...]:
        return tuple(filter(selection.wants, workloads)) if section in chosen else ()

    comparisons = {name: those(name, them) for name, them in suite.comparisons.items()}
    known = {workload for them in comparisons.values() for workload in them}
    new = tuple(workload for workload in selection.own_workloads() if workload not in known)
    first = next((name for name in chosen if name in comparisons), None)
    for workload in new:
        place = EVALUATION if workload.loss in EVALUATED and workload.loss != LOGITS else first
        if place == EVALUATION and workload.loss not in EVALUATED:
            raise ValueError(f"what is evaluated is {', '.join(EVALUATED)}: --loss {LOGITS}")
        if place in chosen and place is not None:
            comparisons[place] += (workload,)
    # Whole jobs and hosts have no loss or shape to choose.
    is_whole = not any(selection[1:])
    has_jobs = JOBS in chosen and is_whole
    part = suite._replace(
        comparisons=comparisons,
        threads=those(THREADS, suite.threads),
        memory=those(MEMORY, suite.memory),
        cold=those(COLD, suite.cold),
        hosts=suite.hosts if HOSTS in chosen and is_whole else (),
        mapped_gib=suite.mapped_gib if has_jobs else 0.0,
    )
    others = part.threads, part.memory, part.cold, part.hosts
    if not (any(comparisons.values()) or any(others) or has_jobs):
        raise ValueError(
            f"nothing of the suite {suite.name} is like that; with both a loss and a shape, "
            "any workload can be measured"
        )
    return part


def check(selection: Selection) -> None:
    """A ValueError names a loss that does not exist, or a shape that it cannot have."""
    known = {name: 1 + (e.kind == "row-wise") for e in entries() for name in e.instances}
    known |= EVALUATED
    for loss in selection.losses:
        if loss not in known:
            raise ValueError(f"no loss is called {loss}: see fastloss losses")
    for workload in selection.own_workloads():
        if len(workload.shape) < known[workload.loss]:
            raise ValueError(f"{workload.loss} takes rows: give it a shape such as 1000x10")
        if workload.loss in EVALUATED and len(workload.shape) > known[workload.loss] == 1:
            raise ValueError(f"{workload.loss} takes a line: give it a shape such as 1000")
