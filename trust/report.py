"""The pages of docs/trust/: Markdown that is made of stored results alone."""

import json
import platform
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fastloss as fl
from fastloss.call.cpus import available_cpus, cpu_model

ROOT = Path(__file__).parent.parent
PACKAGES = ("numpy", "numba", "scipy", "scikit-learn", "torch", "optax", "dask", "joblib")


def folder() -> Path:
    return ROOT / "docs" / "trust"


def path(name: str, kind: str) -> Path:
    return folder() / f"{name}.{kind}"


def stored(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path(name, "json").read_text(encoding="utf-8"))
    return content


def write(name: str, experiment: Any, content: dict[str, Any]) -> None:
    path(name, "md").write_text(page(name, experiment, content), encoding="utf-8")
    if hasattr(experiment, "draw"):
        experiment.draw(content["result"], path(name, "png"))


def page(name: str, experiment: Any, content: dict[str, Any]) -> str:
    """The whole text of a page."""
    result = content["result"]
    parts = [f"# {experiment.TITLE}", experiment.page(result).strip()]
    if result.get("missing"):
        parts.append(f"Not installed and left out: {', '.join(result['missing'])}.")
    if hasattr(experiment, "draw"):
        parts.insert(1, f"![{experiment.TITLE}]({name}.png)")
    machine = content["machine"]
    versions = ", ".join(f"{package} {known}" for package, known in machine["versions"].items())
    made = f"Made on {machine['date']} by `make trust NAME={name}`: {machine['cpu']}"
    parts.append(f"{made}, {machine['cpus']} CPUs, {machine['system']}, {versions}.")
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: bool = False) -> str:
    """A Markdown table; with `numbers`, all columns but the first are aligned to the right."""
    lines = [head, ["---"] + ["---:" if numbers else "---"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(content: Any) -> str:
    return str(content).replace("|", "\\|").replace("\n", "<br>")


def machine() -> dict[str, Any]:
    """What a result may depend on."""
    return {
        "date": date.today().isoformat(),
        "cpu": cpu_model(),
        "cpus": available_cpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version(), "fastloss": fl.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
