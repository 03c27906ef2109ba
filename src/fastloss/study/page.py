"""The report of a study: one HTML file that needs nothing else, and a summary in Markdown."""

import base64
import html
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.figure import Figure

from ..evaluation.report import frame
from . import charts, jobs, report, suites, tables
from .bootstrap import LEVEL
from .contender import FASTLOSS
from .report import Result
from .run import Document
from .tables import Table
from .workloads import EVALUATION, RANDOM


class Picture(NamedTuple):
    title: str
    figure: Figure


class Part(NamedTuple):
    """A section of the report; the summary has the same without the pictures."""

    title: str
    text: str
    content: Sequence[Picture | Table]


_EXPLAINED = (
    "Times are medians of rounds in which all took turns, beside their bootstrap intervals of "
    f"{LEVEL:.0%} and their minima. In brackets: how many times faster fastloss is, the median of "
    f"the rounds and its interval. {tables.LOST} marks where another is faster than fastloss, in "
    "its best or in its median time; ~ marks times whose middle half is spread over more than "
    f"{report.NOISY:.0%}. Turns are too short where a call of less than a millisecond cannot be "
    "repeated: it begins with waking up. "
    "The roof is a kernel that only reads the inputs and, for a gradient, "
    "writes an array of its size. Gradients go into a given array, or over the predictions, where "
    "a contender can do that, and else into a new one. "
    "NumPy and SciPy compute on one thread."
)
_FAILED = "What failed, or did not fit"
_TEXTS = {
    suites.SIZES: "Milliseconds over the number of elements.",
    suites.CLASSES: "The same number of elements in longer and longer rows.",
    suites.CALLS: "What a call costs when there is hardly anything to compute.",
    suites.THREADS: "fastloss on its pool and on Numba's parallel loops, beside the roof of as "
    "many threads.",
    suites.MEMORY: "The peak of resident memory during a call, beyond its arguments, each in a "
    "process of its own. A new array for the gradient counts; buffers made before the call do not.",
    suites.DATA: "Logits at random; rising along each row; whole, so that many are equal; so far "
    "apart that their exponentials overflow and vanish; and with the label far ahead.",
    EVALUATION: "All numbers of a scorecard, from logits and class ids (losses, accuracies, "
    "ranks, calibration, tables of classes); and what others have of two classes, of several "
    "labels, of numbers, of rankings and of two sets of logits, while fastloss finds all it has.",
    suites.HOSTS: "The objective of a booster alone, a whole training with it, and a loss with its "
    "backward pass, which is called a step.",
    suites.COLD: "From the import of the library to its first loss and gradient, in fresh "
    "processes, after the import of NumPy. Who keeps compiled code on disk is shown without and "
    "with what an earlier process left there.",
    suites.JOBS: "Each in a process of its own, after a warm-up. Memory is that at the peak of "
    "the job, beyond what was there before it, and of the whole process, libraries and compiler "
    "included; both without the pages of files, which the system takes back if it needs the room.",
}


def parts(document: Document) -> Iterator[Part]:
    results: list[Result] = document["results"]
    compared = [result for result in results if result["section"] in suites.TASKS]
    if compared:
        yield Part("Where another is faster", _losses_text(compared), _losing(compared))
        yield Part("All cells at once", _OVERALL, _overall(compared))
    for section, title in suites.SECTIONS.items():
        mine = [result for result in results if result["section"] == section]
        if mine:
            left_out = document["left_out"].get(section, ())
            note = f" Left out, as it compiles anew for every shape: {', '.join(left_out)}."
            text = _TEXTS.get(section, "") + note * bool(left_out)
            yield Part(title, text.strip(), _content(section, mine))


_OVERALL = (
    "A cell is a workload and a task. Curves are performance profiles (Dolan and More, 2002): in "
    "which share of all cells each is at most so many times slower than the fastest. Means are "
    "over the cells that both compute. Errors are those of the loss, or of the gradient if that is "
    "larger, against the formula in float64."
)


def _overall(results: Sequence[Result]) -> list[Picture | Table]:
    found: list[Picture | Table] = [Picture("Performance profile", charts.profile(results))]
    if any(report.error(cell) is not None for result in results for cell in result["cells"]):
        found.append(Picture("Error against time", charts.errors(results)))
    return [*found, tables.overall(results)]


def _losses_text(results: Sequence[Result]) -> str:
    cells = [(r, cell) for r in results for cell in r["cells"] if not report.is_ours(cell)]
    lost = [(r, cell) for r, cell in cells if report.beats_fastloss(r, cell)]
    clearly = sum(report.ratio(cell, report.find(r, FASTLOSS) or {}).high < 1 for r, cell in lost)
    return (
        f"Another is faster than fastloss in {len(lost)} of {len(cells)} cells, by its minimum or "
        f"its median; in {clearly} of them the whole interval of their ratio says so."
    )


def _losing(results: Sequence[Result]) -> list[Table]:
    table = tables.losing(results)
    return [table] if table.rows else []


def _content(section: str, results: Sequence[Result]) -> list[Picture | Table]:
    if section in suites.TASKS:
        return [*_pictures(section, results), tables.comparison(results)]
    if section == suites.THREADS:
        picture = Picture("Time over threads", charts.over_threads(results))
        return [picture, tables.threads(results)]
    if section == suites.JOBS:
        content: list[Picture | Table] = []
        for result in results:
            title = _job_title(result)
            picture = Picture(title, charts.job(result))
            content += [picture, tables.jobs(result)._replace(title=title)]
        return content
    draw, table = {
        suites.MEMORY: (charts.memory, tables.memory),
        suites.COLD: (charts.cold, tables.cold),
        suites.HOSTS: (charts.host, tables.hosts),
    }[section]
    pictures = [Picture(_name(result), draw(result)) for result in results]
    return [*pictures, table(results)]


def _pictures(section: str, results: Sequence[Result]) -> list[Picture]:
    """A bar chart for each workload, or curves where a section is about a length."""
    curves = {
        suites.SIZES: charts.over_sizes,
        suites.CLASSES: charts.over_classes,
        suites.CALLS: charts.over_small,
    }
    if section in curves:
        return [Picture(suites.SECTIONS[section], curves[section](results))]
    workloads: dict[str, list[Result]] = {}
    for result in results:  # those whose data differ side by side
        workloads.setdefault(_name({**result, "numbers": RANDOM}), []).append(result)
    return [Picture(name, charts.bars_of_workload(them)) for name, them in workloads.items()]


def _name(result: Result) -> str:
    if "host" in result:
        return f"{result['host']}, {report.shape_text(result)}, {result['what']}"
    parts = [result["loss"], report.shape_text(result), result["dtype"]]
    return ", ".join(parts + report.kinds(result))


def _job_title(result: Result) -> str:
    size = f"{result['size']:,}"
    return f"{jobs.TITLES[result['job']]}, {size} {jobs.UNITS[result['job']]}"


def _facts(document: Document) -> list[tuple[str, str]]:
    """What the results depend on, and what is missing."""
    machine = document["machine"]
    versions = [f"{name} {version}" for name, version in machine["versions"].items()]
    caches = [f"{name} {size}" for name, size in machine["caches"].items()]
    facts = [
        ("suite", document["suite"]),
        ("processes", f"each workload was timed in {document['processes']}"),
        ("date", machine["date"]),
        ("CPU", f"{machine['cpu']}, {machine['cpus']} CPUs, {_quota(machine['quota'])}"),
        ("SMT, boost", ", ".join(_SWITCHES[machine[name]] for name in ("smt", "boost"))),
        ("governor", machine["governor"] or "unknown"),
        ("load before", "unknown" if machine["load"] is None else f"{machine['load']:.2f}"),
        ("caches", ", ".join(caches) or "unknown"),
        ("memory", f"{machine['memory'] / 2**30:,.1f} GiB"),
        ("huge pages", machine["huge_pages"] or "unknown"),
        ("threads", str(machine["threads"])),
        (
            "system",
            f"{machine['system']}, {machine['kernel']}, {machine['libc'] or 'libc unknown'}",
        ),
        ("BLAS and OpenMP", "; ".join(machine["libraries"]) or "unknown"),
        ("versions", ", ".join(versions)),
        ("noise", _noise(document)),
    ]
    if document["not_available"]:
        facts.append(("not installed, or not working here", ", ".join(document["not_available"])))
    if not document["complete"]:
        facts.append(("incomplete", "the run was interrupted"))
    return facts


_SWITCHES = {True: "on", False: "off", None: "unknown"}


def _quota(cpus: float | None) -> str:
    return "no quota" if cpus is None else f"a quota of {cpus:g}"


def _noise(document: Document) -> str:
    timed = [each for result in document["results"] for each in report.timings(result)]
    noisy = sum(map(report.is_noisy, timed))
    text = f"{noisy} of {len(timed)} times are spread over more than {report.NOISY:.0%}"
    text += ": this machine was busy" * (noisy > report.BUSY * len(timed))
    short = sum(map(report.is_short, timed))
    return text + f"; turns of {short} are too short" * bool(short)


# -------------------------------------------------------------------------------------------------
# Markdown


def markdown(document: Document) -> str:
    facts = [f"- {name}: {text}" for name, text in _facts(document)]
    blocks = ["# A study of losses", "\n".join(facts)]
    if document["problems"]:
        items = "\n".join(f"- {text}" for text in document["problems"])
        blocks += [f"## {_FAILED}", items]
    blocks.append(_EXPLAINED)
    for part in parts(document):
        blocks += [f"## {part.title}", part.text]
        for each in part.content:
            if isinstance(each, Table):
                blocks += [f"### {each.title}" if each.title else "", tables.markdown(each)]
    return "\n\n".join(filter(None, blocks)) + "\n"


# -------------------------------------------------------------------------------------------------
# HTML


def page(document: Document) -> str:
    """The whole file."""
    found = list(parts(document))
    links = [f'<a href="#{_anchor(part)}">{html.escape(part.title)}</a>' for part in found]
    body = ["<h1>A study of losses</h1>", frame.facts(_facts(document)), _problems(document)]
    body += [f"<nav>{''.join(links)}</nav>", f"<p>{html.escape(_EXPLAINED)}</p>"]
    for part in found:
        body.append(f'<h2 id="{_anchor(part)}">{html.escape(part.title)}</h2>')
        body.append(f"<p>{html.escape(part.text)}</p>" if part.text else "")
        for each in part.content:
            if isinstance(each, Picture) and each.title != part.title:
                body.append(f"<h3>{html.escape(each.title)}</h3>")
            body.append(tables.as_html(each) if isinstance(each, Table) else _image(each))
    return frame.document("fastloss: a study of losses", body)


def _anchor(part: Part) -> str:
    return part.title.lower().replace(" ", "-")


def _problems(document: Document) -> str:
    items = "".join(f"<li>{html.escape(text)}</li>" for text in document["problems"])
    return f'<div class="problems">{_FAILED}:<ul>{items}</ul></div>' if items else ""


def _image(picture: Picture) -> str:
    """As an image of its own: drawings of one page would share the names of their parts."""
    buffer = io.BytesIO()
    # The same names and no date: the same results are the same file.
    with rc_context({"svg.hashsalt": "fastloss"}):
        picture.figure.savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    title = html.escape(picture.title)
    return f'<img alt="{title}" src="data:image/svg+xml;base64,{data}">'
