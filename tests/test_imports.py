import subprocess
import sys

import pytest

HEAVY = {"accelerate", "llguidance", "peft", "tensorboard", "torch", "transformers"}


@pytest.mark.parametrize(
    "module", ["ucuie", "ucuie.schema", "ucuie.metrics", "ucuie.data", "ucuie.language", "ucuie.cli"]
)
def test_what_needs_no_model_loads_no_torch(module: str) -> None:
    # A process of its own: other tests have loaded torch into this one.
    program = f"import sys, {module}; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert HEAVY.isdisjoint(modules.split())


def test_the_command_loads_converters_and_scorers_only_where_they_are_needed() -> None:
    program = "import sys, ucuie.cli; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert {"ucuie.data", "ucuie.metrics", "numpy"}.isdisjoint(modules.split())


def test_a_model_elsewhere_needs_no_torch() -> None:
    program = "import sys, ucuie.extract.remote, ucuie.render.formats; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert {"torch", "transformers"}.isdisjoint(modules.split())
