"""A study: the steps of a suite, one after the other, and the document of what they found.

{"format": 2, "suite": "quick", "processes": 1, "machine": {...}, "complete": true,
 "not_available": [names], "left_out": {section: names}, "problems": [texts],
 "results": [{"section": "speed", ...}, ...]}
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

import psutil

import fastloss as fl

from . import cold, compare, hosts, jobs, memory, scaling, suites
from .contender import FASTLOSS, Contender
from .contenders import LIBRARIES, Binned, OneThread, Prange
from .libraries import TorchMetrics
from .machine import libraries, machine
from .measure import MIN_ROUNDS, rounds_of, timed
from .report import Result
from .suites import SPEED, Suite
from .workloads import TASKS, Workload, make_data, needed_bytes

Document = dict[str, Any]
T = TypeVar("T")
FORMAT = 2  # 1 kept no time of single rounds


class Step(NamedTuple):
    section: str
    title: str
    run: Callable[[], list[Result]]


class Study:
    """What the steps of one run share."""

    def __init__(
        self, suite: Suite, contenders: Sequence[Contender], files: Sequence[str], folder: Path
    ) -> None:
        """`files` are those of users' contenders, and `folder` has room for a large file."""
        self.suite, self.files, self.folder = suite, files, folder
        self.contenders = [who for who in contenders if who.available()]
        self.document: Document = {
            "format": FORMAT,
            "suite": suite.name,
            "processes": suite.processes,
            "machine": machine([who.package for who in self.contenders]),
            "complete": False,
            "not_available": self._not_available(contenders),
            "left_out": dict(suite.left_out),
            "problems": [],
            "results": [],
        }

    def _not_available(self, contenders: Sequence[Contender]) -> list[str]:
        """Of contenders and hosts."""
        cases = [case for case in self.suite.hosts if not case.available()]
        names = [who.name for who in contenders if who not in self.contenders]
        return list(dict.fromkeys([*names, *(case.host for case in cases)]))

    def steps(self) -> list[Step]:
        suite = self.suite
        found = [
            Step(section, workload.name, partial(self._compare, section, workload))
            for section, workloads in suite.comparisons.items()
            for workload in workloads
        ]
        for section, workloads, run in (
            (suites.THREADS, suite.threads, self._threads),
            (suites.MEMORY, suite.memory, self._memory),
            (suites.COLD, suite.cold, self._cold),
        ):
            found += [Step(section, each.name, partial(run, each)) for each in workloads]
        found += [Step(suites.HOSTS, case.name, partial(self._host, case)) for case in suite.hosts]
        if suite.mapped_gib:
            found.append(Step(suites.JOBS, jobs.TRAINING, self._training))
            found.append(Step(suites.JOBS, jobs.EVALUATION, self._evaluation))
        return found

    def run(self) -> Iterator[tuple[Step, list[Result]]]:
        """Every step with its results, which also go into the document."""
        for step in self.steps():
            found = self._tried(f"{step.section}, {step.title}", step.run) or []
            # Of what has no cells, all failed, as the problems tell.
            results = [
                {"section": step.section, **result}
                for result in found
                if result.get("cells", result.get("rows"))
            ]
            self.document["results"] += results
            yield step, results
        self.document["machine"]["libraries"] = libraries()  # now that they have been used
        self.document["complete"] = True

    def _tried(self, what: str, call: Callable[[], T]) -> T | None:
        """What fails is told: it must not cost the results of hours."""
        try:
            return call()
        except Exception as error:
            self._problem(f"{what}: {error or type(error).__name__}")
            return None

    def _problem(self, text: str) -> None:
        self.document["problems"].append(text)

    def _fits(self, workload: Workload, section: str) -> bool:
        needed = needed_bytes(workload)
        if psutil.virtual_memory().available >= needed:
            return True
        self._problem(f"{section}, {workload.name}: needs {needed / 2**30:.0f} GiB of memory")
        return False

    # ---------------------------------------------------------------------------------------------
    # The sections

    def _compare(self, section: str, workload: Workload) -> list[Result]:
        if not self._fits(workload, section):
            return []
        left_out = self.suite.left_out.get(section, ())
        field = [who for who in self.contenders if who.name not in left_out]
        if section != SPEED:  # where all ways to call fastloss are shown
            field = [who for who in field if not isinstance(who, (OneThread, Prange))]
        asked = workload, suites.TASKS[section], field
        seconds, failures = self.suite.seconds, self.document["problems"]
        if self.suite.processes == 1:
            return compare.measure(*asked, seconds, failures)
        return compare.measure_in_processes(
            self.suite.processes, *asked, self.files, seconds, failures
        )

    def _threads(self, workload: Workload) -> list[Result]:
        if not self._fits(workload, suites.THREADS):
            return []
        data, results = make_data(workload), []
        for task in TASKS:
            found = scaling.jobs(workload, task, data, fl.get_num_threads())
            for job in found.values():
                with job.setting():
                    job.call()  # compiled here
            names = {f"{name}, {n}": (name, n) for name, n in found}
            named = {name: found[key] for name, key in names.items()}
            times = timed(named, self.suite.seconds, MIN_ROUNDS)
            rows = scaling.rows({names[name]: summary for name, summary in times.items()})
            results.append({**_of(workload), "task": task, "rows": rows})
        return results

    def _memory(self, workload: Workload) -> list[Result]:
        if not self._fits(workload, suites.MEMORY):
            return []
        cells = [
            self._tried(
                f"{suites.MEMORY}, {workload.name}, {who.name}",
                partial(memory.measure, workload, who.name, task, self.files),
            )
            for who in self._libraries()
            for task in memory.tasks_of(who)
        ]
        return [{**_of(workload), "cells": [cell for cell in cells if cell]}]

    def _cold(self, workload: Workload) -> list[Result]:
        cells = []
        for who in self._libraries():
            what = f"{suites.COLD}, {workload.name}, {who.name}"
            cells += self._tried(what, partial(self._starts, workload, who)) or []
        return [{**_of(workload), "cells": cells}]

    def _starts(self, workload: Workload, who: Contender) -> list[Result]:
        rounds = [cold.starts(workload, who, self.files) for _ in range(self.suite.starts)]
        cells = []
        for what in rounds[0] or ():
            starts = [found[what] for found in rounds if found]
            cells.append(
                {
                    "contender": who.name,
                    "what": what,
                    "imports": rounds_of([each.imports for each in starts]),
                    "call": rounds_of([each.call for each in starts]),
                    **rounds_of([sum(each) for each in starts]),
                }
            )
        return cells

    def _host(self, case: hosts.Case) -> list[Result]:
        if not case.available():
            return []
        return [hosts.result(case, timed(hosts.jobs(case), self.suite.seconds, MIN_ROUNDS))]

    def _training(self) -> list[Result]:
        return [self._job(jobs.Job(jobs.TRAINING, self.suite.epochs))]

    def _evaluation(self) -> list[Result]:
        rows = jobs.rows_of(self.suite.mapped_gib * 2**30)
        with jobs.file_of_logits(self.folder, rows) as job:
            return [self._job(job)]

    def _job(self, job: jobs.Job) -> Result:
        """All in turn, round after round, each time in a fresh process."""
        names = []
        for name in job.contenders:
            needed = job.needed_bytes(name)
            if psutil.virtual_memory().available < needed:
                text = f"needs {needed / 2**30:.0f} GiB of memory"
                self._problem(f"{suites.JOBS}, {job.name}, {name}: {text}")
            else:
                names.append(name)
        found: dict[str, list[Result]] = {name: [] for name in names}
        for _ in range(self.suite.starts):
            for name in names:
                found[name].append(jobs.measure(job, name, "seconds"))
        cells = []
        for name, rounds in found.items():
            cell = jobs.measure(job, name, "bytes")
            times = rounds_of([each["seconds"] for each in rounds])
            # Not of the process whose memory was watched, which that slows down.
            cell["loss_seconds"] = median(each["loss_seconds"] for each in rounds)
            cells.append({"contender": name, **cell, **times})
        return {"job": job.name, "size": job.size, "cells": cells}

    def _libraries(self) -> list[Contender]:
        """One way for each: variants of fastloss need no process of their own."""
        return [
            who
            for who in self.contenders
            if who.name == FASTLOSS or not who.name.startswith(FASTLOSS)
            if not isinstance(who, TorchMetrics)  # which has no losses
        ]


def everyone(users: Sequence[Contender]) -> list[Contender]:
    """All who can take part in a study: one way for each, and variants of fastloss."""
    return [*LIBRARIES, Binned(), OneThread(), Prange(), TorchMetrics(), *users]


def _of(workload: Workload) -> Result:
    fields = workload._asdict()
    del fields["main"]
    return fields
