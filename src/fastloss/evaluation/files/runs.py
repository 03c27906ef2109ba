"""A run of a command: the pass over rows in files, and the end of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from ...call.arrays import Array
from ..report import terminal
from . import one_pass
from .checkpoint import Checkpoint, Saved
from .one_pass import Outcome, Work
from .output import Output
from .part import FileError, Unreadable
from .reading import Checked, FileRows
from .row_output import RowOutput

Writer = Callable[[IO[bytes]], Any]


class Run:
    """What is read, and what is kept until the end: of an interrupted run for a later one."""

    def __init__(
        self,
        rows: Mapping[str, FileRows],
        checkpoint: Checkpoint | None = None,
        row_output: RowOutput | None = None,
        pictures: Mapping[str, Any] = {},
    ) -> None:
        self.rows = rows
        self.checkpoint = checkpoint
        self.row_output = row_output
        self.pictures = pictures  # what sums are built with for pictures alone
        self.first = next(iter(rows.values()))

    def read(self, start: int, stop: int, *first: str) -> tuple[list[Array], dict[str, Any]]:
        """Some rows of each: those that are named, in this order, and the others by name."""
        arrays: dict[str, Any] = {
            name: each.borrow(start, stop) for name, each in self.rows.items()
        }
        return [arrays.pop(name) for name in first], arrays

    def outcome(
        self,
        kind: Any,
        settings: Mapping[str, Any],
        update: Callable[[Any, int, int], None],
        end_of: Callable[[int, int], int] = lambda start, stop: stop,
    ) -> Outcome[Any]:
        """The outcome of a pass that updates sums of this kind with all rows, chunk by chunk."""

        def located_update(sums: Any, start: int, stop: int) -> None:
            with self._discarding(), _located(f"in the rows from {start:,} on, counted from there"):
                try:
                    update(sums, start, stop)
                    sums.settle()
                finally:
                    for each in self.rows.values():
                        each.give_back()

        work = Work(
            str(self.first),
            self.first.n_rows,
            sum(each.row_bytes for each in self.rows.values()),
            lambda saved: self._begin(kind, settings, saved),
            located_update,
            self._notes,
            self.checkpoint,
            self.row_output,
            end_of,
        )
        try:
            outcome = one_pass.run(work)
        except BaseException:
            self._drop_unknown()
            raise
        with self._discarding():
            for each in self.rows.values():
                each.check_unchanged()
        return outcome

    def end(
        self, outcome: Outcome[Any], text: str, files: Sequence[tuple[Output, Writer]] = ()
    ) -> int:
        """Write and print, as far as each can be done, and return the exit status."""
        problems = [] if outcome.problem is None else [outcome.problem]
        for output, write in files:
            try:
                with output.replaced() as file:
                    write(file)
            except OSError as error:
                problems.append(f"{output} cannot be written: {error.strerror or error}")
        unprinted = terminal.show(text)
        if unprinted is not None:
            problems.append(unprinted)
        if outcome.complete and not problems:
            self._discard()
            return 0
        if outcome.problem is None:
            outcome.save()  # of all rows, so that a later run has only to write and print
        self._drop_unknown()
        how = ""
        if self.checkpoint is not None and self.checkpoint.is_ours:
            how = f"; --resume goes on from {self.checkpoint.output}"
        if not outcome.complete:
            ended = "interrupted" if outcome.signal is not None else "ended"
            done = f"{outcome.n_done:,} of {self.first.n_rows:,} rows"
            problems.append(f"{ended}; partial, of {done}")
        for problem in problems:
            terminal.say(f"fastloss: {problem}{how if problem is problems[-1] else ''}")
        return 2 if outcome.signal is None else 128 + outcome.signal

    def _begin(self, kind: Any, settings: Mapping[str, Any], saved: Saved | None) -> Any:
        if saved is None or self.checkpoint is None:
            with _located("the options"):
                sums = kind(**settings, **self.pictures)
        else:
            try:
                self.pictures = saved.notes["pictures"]
                sums = kind.from_state(saved.sums, **settings, **self.pictures)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise self.checkpoint.refused(error) from None
            for name, checked in saved.notes["checked"].items():
                self.rows[name].checked = Checked(*checked)
        if self.row_output is not None:
            before = (None, 0) if saved is None else (saved.notes["rows"], saved.n_done)
            self.row_output.begin(*before)
        return sums

    def _notes(self) -> dict[str, Any]:
        return {
            "pictures": self.pictures,
            "checked": {name: each.checked for name, each in self.rows.items()},
            "rows": None if self.row_output is None else self.row_output.name,
        }

    @contextmanager
    def _discarding(self) -> Iterator[None]:
        """Inputs that have to be mended make what was done with them useless."""
        try:
            yield
        except Unreadable:
            raise
        except ValueError:
            self._discard()
            raise

    def _discard(self) -> None:
        """Remove what only a later run would need."""
        if self.checkpoint is not None:
            self.checkpoint.remove()
        if self.row_output is not None:
            self.row_output.remove()

    def _drop_unknown(self) -> None:
        """Remove results of rows that no state knows of: no later run could go on with them."""
        known = self.checkpoint is not None and self.checkpoint.is_ours
        if self.row_output is not None and not known:
            self.row_output.remove()


@contextmanager
def _located(where: str) -> Iterator[None]:
    """What the library says of its arguments is raised with the place in the files."""
    try:
        yield
    except FileError:
        raise
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
