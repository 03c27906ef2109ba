"""What ships, what importing costs, what is public, and which floor may lean on which."""

import ast
import doctest
import inspect
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.metadata import entry_points, requires
from importlib.resources import files

import pytest
from house import (
    FILES,
    HOSTS,
    MAP,
    PAGE,
    first_sentence,
    floor_of,
    graph,
    house,
    imports_of,
    name_of,
    part_of,
    tree_of,
)
from processes import run_python
from registry import CASES, LINKED

import fastloss as fl
from fastloss.catalogue import entries

# Importing Numba takes longer than all else, so only what runs after the first call may do it.
NUMBA_FILES = {
    "compiler/jit.py",
    "compiler/arguments.py",
    "compiler/fast_compile.py",
    "compiler/fingerprint.py",
    "compiler/weak_numbers.py",
    "compiler/intrinsics.py",
    "compiler/moves.py",
    "compiler/spans.py",
    "compiler/numba_api.py",
    "study/roof.py",  # a kernel of its own; only the comparison imports it
}
PRIVATE = r"numba\.(?!types|extending)|llvmlite"
# What is used if it is there: late, but by files that are imported by those who have it.
AT_ONCE = {
    "_chunks.py",
    "dask.py",
    "torch/module.py",
    "torch/operators.py",
    "torch/tensors.py",
}
OPTIONAL = {
    "evaluation/frames.py": {"pandas"},
    "evaluation/tensors.py": {"ml_dtypes"},
    "evaluation/files/formats.py": {"ml_dtypes"},
    "evaluation/files/progress.py": {"rich"},
    "dask.py": {"dask"},
    "_chunks.py": {"dask"},
    "spark.py": {"pyarrow", "pyspark"},
    **{f"{host}.py": {host} for host in HOSTS},
    **{f"torch/{name}.py": {"torch"} for name in ("module", "operators")},
    "torch/tensors.py": {"torch", "ml_dtypes"},
}
# The modules of hosts that there are.
HOST_MODULES = sorted(HOSTS & {part_of(path) for path in FILES})


# -------------------------------------------------------------------------------------------------
# The floors


def is_upward(path, module):
    package, *parts = [*module.split("."), "__init__"][:2]
    return package == "fastloss" and floor_of(parts[0]) > floor_of(part_of(path))


def test_nothing_imports_upward():
    assert [
        f"{name_of(path)} imports {module}"
        for path in FILES
        if name_of(path) != "__init__.py"  # the names people import come from everywhere below
        for module, _ in imports_of(path)
        if is_upward(path, module)
    ] == []


def test_no_files_import_each_other():
    """Not in functions either, nor for type checkers alone."""
    TopologicalSorter(graph()).prepare()  # or CycleError, which names the files


def test_the_map_of_the_house_is_that_of_its_files():
    page = PAGE.read_text(encoding="utf-8")
    assert MAP.search(page).group() == house(), "python -m tests.house writes the map anew"


def test_every_file_says_what_it_is():
    assert [path for path in FILES if not first_sentence(path).endswith((".", "?"))] == []


def test_files_that_contributing_names_exist():
    root = PAGE.parent
    names = set(re.findall(r"`([\w/.-]+\.py)`", PAGE.read_text(encoding="utf-8")))
    every = {path.relative_to(root).as_posix() for path in root.glob("*/**/*.py")}
    assert names
    missing = {name for name in names if not any(f"/{path}".endswith(f"/{name}") for path in every)}
    assert not missing


def test_only_the_compiler_imports_numba():
    assert [
        f"{name_of(path)} imports {module}"
        for path in FILES
        if name_of(path) not in NUMBA_FILES
        for module, at_once in imports_of(path)
        if at_once and module.partition(".")[0] in ("numba", "llvmlite")
    ] == []


def test_what_is_private_to_numba_is_named_in_one_file():
    """Whenever it is imported. What it is for stands there, too."""
    others = [path for path in FILES if name_of(path) != "compiler/numba_api.py"]
    assert [
        (name_of(path), module)
        for path in others
        for module, _ in imports_of(path)
        if re.match(PRIVATE, module)
    ] == []
    assert [
        (name_of(path), node.value)
        for path in others
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(rf"({PRIVATE})[a-z_.]*", node.value)
        and node.value != "llvmlite"  # the name of what is installed
    ] == []


def test_only_numpy_and_numba_are_needed_at_run_time():
    always = {"fastloss", "numpy", "numba", "llvmlite"} | sys.stdlib_module_names
    wrong = []
    for path in FILES:
        name = name_of(path)
        if part_of(path) in ("demo", "study"):  # which come with extras
            continue
        allowed = always | OPTIONAL.get(name, set())
        late = set() if name in AT_ONCE else OPTIONAL.get(name, set())
        for module, at_once in imports_of(path):
            package = module.partition(".")[0]
            if package not in allowed or (at_once and package in late):
                wrong.append(f"{name} imports {module}{' at once' * at_once}")
    assert wrong == []


def modules_imported_by(code):
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    )
    return [line.rpartition("|")[2].strip() for line in result.stderr.splitlines()]


def test_importing_does_not_import_numba():
    modules = modules_imported_by("import fastloss")
    assert "fastloss" in modules
    assert not [name for name in modules if name.startswith(("fastloss.study", "fastloss.demo"))]
    assert not [name for name in modules if name.partition(".")[0] in ("numba", "llvmlite", "dask")]
    # What evaluates takes twice the time of all the rest; it comes with its first name.
    assert not [name for name in modules if name.startswith("fastloss.evaluation")]
    # What NumPy imports late takes a fifth of the time of all that fastloss needs.
    late = {"numpy.ma", "numpy.random"} - set(modules_imported_by("import numpy"))
    assert not late & set(modules)


def test_what_evaluates_is_there_when_it_is_asked_for():
    code = """
import sys
import fastloss
print({*fastloss.__all__} <= {*dir(fastloss)}, "fastloss.evaluation" in sys.modules)
from fastloss import *
print(evaluate is fastloss.evaluate, "evaluate" in vars(fastloss), hasattr(fastloss, "evaluat"))
"""
    assert run_python(code).split("\n")[:2] == ["True False", "True True False"]


def test_modules_that_were_not_imported_are_told_from_names_that_are_none():
    code = """
import fastloss
for name in "torch", "evaluat":
    try:
        getattr(fastloss, name)
    except AttributeError as error:
        print(error)
"""
    first, second, *_ = run_python(code).split("\n")
    assert first.endswith("'torch' before it is imported: write import fastloss.torch")
    assert second.endswith("'evaluat'")
    assert not hasattr(fl, "no.name")  # and not an error of the import


def test_importing_modules_of_hosts_imports_no_host():
    imports = "; ".join(["import fastloss", *(f"import fastloss.{name}" for name in HOST_MODULES)])
    modules = modules_imported_by(imports)
    assert {f"fastloss.{name}" for name in HOST_MODULES} <= set(modules)
    assert not HOSTS & set(modules)
    assert "numba" not in modules


# -------------------------------------------------------------------------------------------------
# What ships


@pytest.mark.long
def test_compiling_does_not_import_scipy():
    pytest.importorskip("scipy")
    code = """
import sys
import numba
import numpy as np
import fastloss as fl
fl.mse([1.0], [2.0])
print("numba.np.arraymath" in sys.modules, "scipy.linalg" in sys.modules)
product = numba.njit(lambda a: a @ a)
print(product(np.full((2, 2), 2.0)).tolist(), "scipy.linalg" in sys.modules)
"""
    assert run_python(code).split("\n")[:2] == ["True False", "[[8.0, 8.0], [8.0, 8.0]] True"]


def test_types_are_shipped():
    assert files("fastloss").joinpath("py.typed").is_file()


def test_run_time_needs_numpy_and_numba_alone():
    always = [line for line in requires("fastloss") or [] if "extra ==" not in line]
    assert sorted(line.partition(">")[0] for line in always) == ["numba", "numpy"]


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="fastloss")
    assert command.value == "fastloss.cli:main"


# -------------------------------------------------------------------------------------------------
# What is public


def test_all_is_sorted_and_exists():
    assert sorted(fl.__all__) == fl.__all__
    assert [name for name in fl.__all__ if not hasattr(fl, name)] == []


def test_nothing_public_is_left_out():
    public = {
        name
        for name, value in vars(fl).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(fl.__all__)


def has_example(name):
    value = getattr(fl, name)
    documented = value if inspect.isroutine(value) or inspect.isclass(value) else type(value)
    examples = doctest.DocTestFinder(recurse=False).find(documented, name)
    return any(test.examples for test in examples)


def test_public_names_are_documented_with_an_example():
    # The bases are documented by what derives from them: `ElementwiseLoss` shows how.
    names = sorted(set(fl.__all__) - {"Loss", "RowwiseLoss"})
    assert [name for name in names if not has_example(name)] == []


def test_public_methods_are_documented():
    assert [
        f"{name}.{method}"
        for name in sorted(set(fl.__all__))
        if inspect.isclass(value := getattr(fl, name))
        for method, function in inspect.getmembers(value, inspect.isroutine)
        # `link` and `scalar` are formulas, which the docstring of the loss states.
        if (method == "__call__" or not method.startswith("_"))
        and method not in ("link", "scalar")
        and not inspect.getdoc(function)
    ] == []


def test_ready_made_instances_have_default_options():
    instances = [value for value in vars(fl).values() if isinstance(value, fl.Loss)]
    assert instances
    for instance in instances:
        default = type(instance)()
        assert instance in (default, type(instance)(reduction="sum")), instance


def test_every_loss_is_held_against_a_formula():
    """What the catalogue lists is what the registry of tests has references for."""
    covered = {type(case.loss).__name__ for case in CASES} | {
        type(loss).__name__ for loss in LINKED
    }
    assert {entry.name for entry in entries()} == covered
