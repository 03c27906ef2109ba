"""The site has every public name and every page, its formulas are translated, and links lead on."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
from plain import plain

import fastloss as fl
from docs._site import docstrings, formulas
from fastloss.catalogue import entries
from tools.links import dead_links

pytestmark = plain

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
    for path in DOCS.rglob("*.md")
}
REFERENCE = "\n".join(text for page, text in PAGES.items() if page.startswith("reference/"))
PUBLIC = ("fastloss", "fastloss.scalar", "fastloss.study")
HOSTS = ("xgboost", "lightgbm", "catboost", "torch", "jax", "sklearn", "scipy", "dask")


def public_names():
    for module in PUBLIC:
        for name in import_module(module).__all__:
            yield f"{module}.{name}"


# -------------------------------------------------------------------------------------------------
# Pages


@pytest.mark.parametrize("name", list(public_names()))
def test_every_public_name_has_an_entry_in_the_reference(name):
    module, _, last = name.rpartition(".")
    losses = {last: entry for entry in entries() for last in (entry.name, *entry.instances)}
    if module == "fastloss" and last in losses:
        name = losses[last].family
        assert f".. losses:: {name}\n" in REFERENCE
    elif module == "fastloss.scalar":
        assert f".. automodule:: {module}\n" in REFERENCE
    else:
        assert re.search(rf"\b{re.escape(name)}$", REFERENCE, re.MULTILINE), name


@pytest.mark.parametrize("host", HOSTS)
def test_every_host_has_an_entry_in_the_reference(host):
    assert f"fastloss.{host}\n" in REFERENCE or f".. {host}-loss::" in REFERENCE


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
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


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
    lines = ["|a| of x_ in `y_*|`:", "", "    f(x) -> y", "", ">>> 2 | 1", "3"]
    assert docstrings.rewritten(lines) == [
        r"\|a\| of x\_ in `y_*|`:",
        *("", "::", "", "    f(x) -> y", ""),
        *(">>> 2 | 1", "3"),
    ]
