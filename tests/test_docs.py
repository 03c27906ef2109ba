"""The site has every public name and every page, its formulas are translated, and links lead on."""

import ast
import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
from house import FILES, HOSTS, SOURCE, part_of, tree_of
from plain import plain

import fastloss as fl
from docs._site import docstrings, formulas
from fastloss import cli
from fastloss.catalogue import entries
from fastloss.evaluation.tasks import TASKS
from tools.links import dead_links

pytestmark = plain

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
    for path in DOCS.rglob("*.md")
}
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = "\n".join(text for page, text in PAGES.items() if page.startswith("reference/"))
# What users import: all parts of the house but those that the page of promises keeps to itself.
(KEPT,) = re.findall(r"\*\*Where the code is\*\*: (.*?) are folders", PAGES["stability"], re.DOTALL)
PARTS = {part_of(path) for path in FILES if not part_of(path).startswith("_")}
PUBLIC = sorted(PARTS - set(re.findall(r"`(?:fastloss\.)?(\w+)`", KEPT)))


def public_names(module):
    """Those of its `__all__`, or, of hosts, which need not be there, all without an underscore."""
    path = SOURCE / f"{module}.py"
    if path.exists() and "__all__" not in path.read_text(encoding="utf-8"):
        defined = (ast.FunctionDef, ast.ClassDef)
        names = [node.name for node in tree_of(path).body if isinstance(node, defined)]
        return {name for name in names if not name.startswith("_")}
    return set(import_module(f"fastloss.{module}" if module else "fastloss").__all__)


def documented():
    """All names in the reference, in full."""
    module = ""
    of_pages = r"^(?:\.\. (?:py:)?([\w-]+)::)? +(\S+)$|^\.\. (torch-loss)::$"
    for kind, name, of_torch in re.findall(of_pages, REFERENCE, re.MULTILINE):
        if of_torch:
            yield "fastloss.torch.Loss"
        elif kind == "currentmodule":
            module = name
        elif kind == "automodule":
            yield from (f"{name}.{each}" for each in import_module(name).__all__)
        elif kind == "losses":
            found = [entry for entry in entries() if entry.family == name]
            yield from (f"fastloss.{each}" for e in found for each in (e.name, *e.instances))
        else:
            yield name if name.startswith("fastloss.") else f"{module}.{name}"


# -------------------------------------------------------------------------------------------------
# Pages


@pytest.mark.parametrize("module", ["", *PUBLIC])
def test_every_public_name_has_an_entry_in_the_reference(module):
    prefix = f"fastloss.{module}." if module else "fastloss."
    names = {prefix + name for name in public_names(module)}
    assert names, f"{module} has no public names: the page of promises may name it"
    assert sorted(names - set(documented())) == []


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_every_host_is_told_where_hosts_are(host):
    row = rf"^\| \[?([\w-]+).*? \| `fastloss\.{host}` \|"
    (name,) = re.findall(row, PAGES["hosts"], re.MULTILINE)
    assert name in README
    assert f"`{host}`" in PAGES["install"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(rf"^{host} = \[", project, re.MULTILINE), "no extra of its name"
    assert (ROOT / "tests" / "hosts" / f"test_{host}.py").exists()


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_told_where_tasks_are(task):
    is_the_usual = task == "multiclass"
    assert ("evaluation" if is_the_usual else f"evaluate_{task}") in PAGES
    assert is_the_usual or f'task="{task}"' in PAGES["evaluation"]
    scorecard = TASKS[task].scorecard.__name__
    (row,) = re.findall(rf'^ *\| `"{task}"` .*', fl.evaluate.__doc__, re.MULTILINE)
    assert f"`{scorecard}`" in row
    assert f"fastloss.{scorecard}" in set(documented())


def test_names_on_pages_exist():
    for page, text in PAGES.items():
        for name in re.findall(r"`fl\.(\w+)", text):
            assert name in PUBLIC or hasattr(fl, name), f"{page}: fl.{name}"


def test_every_command_is_told_on_a_page():
    text = "\n".join(PAGES.values())
    (commands,) = (each for each in cli._parser()._actions if isinstance(each.choices, dict))
    missing = [name for name in commands.choices if f"fastloss {name}" not in text]
    assert missing == []


@pytest.mark.parametrize("page", sorted([ROOT / "README.md", *DOCS.glob("*.md")]), ids=str)
def test_pages_say_what_to_install_for_their_code(page):
    text = page.read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```(.*?)^```", text, re.MULTILINE | re.DOTALL))
    imported = set(re.findall(r"^(?:>>> )? *(?:import|from) (\w+)", code, re.MULTILINE))
    told = re.findall(r"pip install ([^`]*)`|\"fastloss\[(.*?)\]\"", text)
    installed = {"fastloss", "numpy", "numba"} | set(re.findall(r"\w+", str(told)))
    assert sorted(imported - sys.stdlib_module_names - installed) == []


def test_every_page_is_in_a_toctree():
    listed = ["index"]
    for page, text in PAGES.items():
        for block in re.findall(r"^```{toctree}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            names = [line for line in block.split() if not line.startswith((":", "1", "2"))]
            listed += [(Path(page).parent / name).as_posix() for name in names]
    assert sorted(listed) == sorted(PAGES)


def anchors(text):
    """Of headings, as repositories and the site make them."""
    headings = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")]), ids=str)
def test_links_of_pages_lead_somewhere(page):
    text = re.sub(r"`[^`]*`", "", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http:", "https:")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


def test_dead_links_of_a_site_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="x"><a href="b.html#y"><a href="#x"><a href="#z"><a href="https://example.org/">'
    )
    (tmp_path / "b.html").write_text('<a href="a.html#x"><a href="c.html"><img src="d.png">')
    assert dead_links(tmp_path) == [
        "a.html has a dead link: #z",
        "a.html has a dead link: b.html#y",
        "b.html has a dead link: c.html",
        "b.html has a dead link: d.png",
    ]


# -------------------------------------------------------------------------------------------------
# Formulas


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 (y_pred - y_true)", r"2 (y_{\text{pred}} - y_{\text{true}})"),
        ("alpha_y (1 - p_y)^gamma", r"\alpha_{y} (1 - p_{y})^{\gamma}"),
        ("m^-p + m^(2 - p) / (2 - p)", r"m^{-p} + m^{2 - p} / (2 - p)"),
        ("sum of exp(x_j)", r"\sum \exp(x_{j})"),
        ("sum over j != y of z_j", r"\sum_{j \ne y} z_{j}"),
        ("-(sum of the others)", r"-(\text{sum of the others})"),
        ("1e-16, 0 at the kink", r"10^{-16}, 0\text{ at the kink}"),
        ("f''(l) sigmoid(-x)", r"f''(l) \operatorname{sigmoid}(-x)"),
    ],
)
def test_formulas_become_tex(text, expected):
    assert formulas.tex(text) == expected


def test_a_block_of_formulas_is_aligned():
    block = [
        "loss     = r^2 / 2            if |r| <= delta",
        "           -r                 otherwise",
        "hessian  = 1;        majorizer = min(1, delta / |r|)",
    ]
    assert formulas.math(block).splitlines() == [
        r"\begin{array}{rl}",
        r"\text{loss} &= r^{2} / 2 \qquad \text{ if }|r| \le \delta \\",
        r" & -r \qquad \text{ otherwise} \\",
        r"\text{hessian} &= 1 \\",
        r"\text{majorizer} &= \min(1, \delta / |r|)",
        r"\end{array}",
    ]


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_all_formulas_of_losses_are_translated(entry):
    """Every line has its name before the sign, and all that opens closes."""
    lines = docstrings.rewritten(inspect.getdoc(getattr(fl, entry.name)).splitlines())
    blocks = "\n".join(lines).split(".. math::")[1:]
    assert len(blocks) >= len(entry.formulas) > 0
    for block in blocks:
        tex = block.partition(r"\end{array}")[0]
        assert tex.count("{") == tex.count("}")
        rows = [line for line in tex.split("\n") if line.strip()][1:]
        assert rows
        for row in rows:
            assert row.count(" &") == 1, row


def test_text_of_docstrings_has_no_markup_but_code():
    lines = ["|a| of x_ in `y_*|`:", "", "    f(x) ± y", "", "    f(x)", "", ">>> 2 | 1", "3"]
    lines += ["", "| a | `b_` |", "|---|---|", "| 1 | x_ |"]
    assert docstrings.rewritten(lines) == [
        r"\|a\| of x\_ in `y_*|`:",
        *("", ".. code-block:: text", "", "    f(x) ± y", ""),
        *("::", "", "    f(x)", ""),
        *(">>> 2 | 1", "3", ""),
        *(".. list-table::", "    :header-rows: 1", ""),
        *("    * - a", "      - `b_`", "    * - 1", r"      - x\_"),
    ]
