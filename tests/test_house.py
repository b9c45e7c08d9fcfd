"""The house keeps its order: few files at the root, modules and functions of a size, one word per idea."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tools.house_map import ARCHITECTURE, CONTRIBUTING, PACKAGE, with_map

MOST_ROOT_FILES = 6
LEAST_LINES, MOST_LINES = 60, 400
MOST_FUNCTION_LINES, MOST_PARAMETERS = 60, 8
MOST_PRIVATE_REACHES = 10

SMALL_OR_LARGE = {
    # Equations of the paper, or a value that the command reads before anything heavy is loaded.
    "train/objective.py", "model/operating_point.py",
}  # fmt: skip
LONG_FUNCTIONS: set[str] = set()
# spaCy hands a component its configuration as parameters.
MANY_PARAMETERS = {"integrations/spacy_component.py:make_component"}
TWO_MEANINGS: set[str] = set()
"""Public names that two modules have, each for the same idea on its own side."""


@cache
def modules() -> dict[str, ast.Module]:
    """The modules of the package by their paths in it."""
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def test_few_files_stand_at_the_root() -> None:
    assert len([path for path in modules() if "/" not in path]) <= MOST_ROOT_FILES


def test_modules_have_a_size_that_is_read_at_one_go() -> None:
    unusual = {
        path
        for path in modules()
        if "/" in path
        and Path(path).name != "__init__.py"
        and not LEAST_LINES <= len((PACKAGE / path).read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    }
    assert unusual == SMALL_OR_LARGE


def test_functions_fit_on_a_screen() -> None:
    long = {
        f"{path}:{node.name}"
        for path, node in functions()
        if (node.end_lineno or 0) - node.lineno >= MOST_FUNCTION_LINES
    }
    assert long == LONG_FUNCTIONS


def test_functions_take_few_parameters() -> None:
    # A flag of the command is a parameter, and many belong to one command.
    many = {
        f"{path}:{node.name}"
        for path, node in functions()
        if not path.startswith("cli/")
        and len(
            {one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
            - {"self", "cls"}
        )
        > MOST_PARAMETERS
    }
    assert many == MANY_PARAMETERS


def test_no_public_name_has_two_meanings() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                places[node.name].add(path)
    # A command is called like what it does.
    doubled = {
        name
        for name, paths in places.items()
        if not name.startswith("_") and len({path for path in paths if not path.startswith("cli/")}) > 1
    }
    assert doubled == TWO_MEANINGS


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {path: set(imported(tree)) - {path} for path, tree in modules().items()}
    left = dict(graph)
    while free := [path for path, targets in left.items() if not targets & left.keys()]:
        for path in free:
            del left[path]
    # What only leads to a circle is none of it.
    while leading := [path for path in left if not any(path in targets for targets in left.values())]:
        for path in leading:
            del left[path]
    assert left == {}


def imported(tree: ast.Module) -> Iterator[str]:
    """The modules that one imports, in functions and for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "ucuie":
            folder = PACKAGE.joinpath(*(node.module or "").split(".")[1:])
            for name in node.names:
                for path in (folder / f"{name.name}.py", folder.with_suffix(".py"), folder / "__init__.py"):
                    if path.is_file():
                        yield str(path.relative_to(PACKAGE))
                        break


def test_every_module_is_on_the_map() -> None:
    for page in (CONTRIBUTING, ARCHITECTURE):
        text = page.read_text(encoding="utf-8")
        assert with_map(page, text) == text, "python tools/house_map.py writes it anew"


@cache
def modules_of_tests() -> dict[str, ast.Module]:
    folder = Path(__file__).parent
    return {
        str(path.relative_to(folder)): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.py"))
    }


def test_no_two_tests_have_one_name() -> None:
    names = Counter(
        node.name
        for tree in modules_of_tests().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_tests_reach_into_few_privates() -> None:
    reaches = [
        f"{path}:{node.lineno} {node.attr}"
        for path, tree in modules_of_tests().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in ("_", "_exit")  # spaCy's place for what others add, and os._exit
        and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    ]
    assert len(reaches) <= MOST_PRIVATE_REACHES, reaches
