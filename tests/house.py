"""The house: its floors, what each file imports, and the map of it in CONTRIBUTING.md.

`python -m tests.house` writes the map anew, which `test_package.py` compares with the files.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import fastloss as fl

SOURCE = Path(fl.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
MAP = re.compile(r"(?<=<!-- house:begin -->\n).*(?=<!-- house:end -->)", re.DOTALL)

# The libraries in which losses are used, each by the module of its name, which imports its host
# only when it is used.
HOSTS = {"catboost", "jax", "lightgbm", "scipy", "sklearn", "torch", "xgboost"}

# The floors, ground floor first: a file imports from its own floor and from those below, whether
# at once, in a function or for type checkers alone.
FLOORS = [
    {"compiler"},
    {"kernels"},
    {"call", "scalar"},
    {"bases"},
    {"losses"},
    {"evaluation"},
    {"__init__"},
    {"catalogue", "dask", "spark", "_chunks", "hosts", *HOSTS},
    {"cli", "demo", "study"},
    {"__main__"},
]


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def part_of(path: Path) -> str:
    """The file or folder of the house that a source file is, or lies in."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def floor_of(part: str) -> int:
    for height, parts in enumerate(FLOORS):
        if part in parts:
            return height
    raise AssertionError(f"{part} has no floor: say in FLOORS of tests/house.py where it stands")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> tuple[tuple[str, bool], ...]:
    """The modules that a file imports, in full, and whether each import runs with the file."""
    return tuple(_imports_of(path))


def _imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    package = ["fastloss", *path.relative_to(SOURCE).parts[:-1]]
    at_once = set()
    waiting: list[ast.AST] = [tree_of(path)]
    while waiting:
        node = waiting.pop()
        at_once.add(node)
        for child in ast.iter_child_nodes(node):
            deferred = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            typing_only = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            if not deferred and not typing_only:
                waiting.append(child)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in at_once
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            for alias in node.names:  # `from . import cache` imports a module by its name
                whole = f"{module}.{alias.name}"
                yield (whole if _is_module(whole) else module), node in at_once


def _is_module(name: str) -> bool:
    path = SOURCE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def graph() -> dict[str, set[str]]:
    """The files that each file imports, at whatever time."""
    return {
        name_of(path): {
            name_of(_file_of(module))
            for module, _ in imports_of(path)
            if module.partition(".")[0] == "fastloss"
        }
        for path in FILES
    }


def _file_of(module: str) -> Path:
    path = SOURCE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def first_sentence(path: Path) -> str:
    """That of its docstring, which says what the file is."""
    paragraph = (ast.get_docstring(tree_of(path)) or "").partition("\n\n")[0]
    return re.split(r"(?<=\.) (?=[A-Z])", " ".join(paragraph.split()), maxsplit=1)[0]


def house() -> str:
    """The map: floors and folders from the top down, and so the files of each folder."""
    imported = graph()

    @cache
    def height(name: str) -> int:
        return 1 + max((height(other) for other in imported[name]), default=0)

    lines = ["", "| file | what it is |", "|---|---|"]
    for floor in reversed(FLOORS):
        for part in sorted(floor):
            paths = [path for path in FILES if part_of(path) == part]
            # What a folder is stands first, then what imports the most.
            paths.sort(
                key=lambda path: (
                    path.parent,
                    path.name != "__init__.py",
                    -height(name_of(path)),
                )
            )
            for path in paths:
                name = name_of(path)
                if part != "__init__" and path.name == "__init__.py":
                    name = f"**{name.removesuffix('__init__.py')}**"
                else:
                    name = f"`{name}`"
                text = first_sentence(path).replace("|", r"\|")
                lines.append(f"| {name} | {text} |")
    return "\n".join([*lines, "", ""])


if __name__ == "__main__":
    PAGE.write_text(MAP.sub(lambda _: house(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
