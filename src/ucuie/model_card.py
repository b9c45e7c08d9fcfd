"""The README.md of a model folder: what the model is, how to use it, what it was trained on, what it reached."""

from collections.abc import Iterator, Mapping
from typing import Any


def model_card(
    name: str,
    *,
    backbone: str,
    num_parameters: int,
    training: Mapping[str, Any],
    scores: Mapping[str, Any],
) -> str:
    """The card in Markdown, with the metadata that model hubs read on top."""
    lines = [
        "---",
        "library_name: ucuie",
        "pipeline_tag: token-classification",
        "tags: [information-extraction, named-entity-recognition, relation-extraction, event-extraction]",
        "---",
        "",
        f"# {name}",
        "",
        "Extracts entities, relations, events and opinions from text, after a schema of yours, with character "
        "offsets. Made with [ucuie](https://pypi.org/project/ucuie/).",
        "",
        f"- Parameters: {num_parameters / 1e6:,.1f} million, adapter included",
        f"- Backbone: {'in this folder' if backbone == 'backbone' else f'`{backbone}`'}",
        "",
        "## Use",
        "",
        "```python",
        "from ucuie import Extractor",
        "",
        f'extractor = Extractor.from_pretrained("{name}")',
        'result = extractor.extract("Ada Lovelace lived in London.", ["person", "city"])',
        "```",
        "",
        "## Training",
        "",
        *(list(_described(training)) or ["Nothing was written down about it."]),
        "",
        "## Scores",
        "",
        *(list(_described(scores)) or ["It was not evaluated."]),
    ]
    return "\n".join(lines) + "\n"


def _described(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Nested mappings as nested lists."""
    for key, value in values.items():
        label = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            yield f"{indent}- {label}:"
            yield from _described(value, indent + "  ")
        elif isinstance(value, list | tuple):
            yield f"{indent}- {label}: {', '.join(map(_said, value))}"
        else:
            yield f"{indent}- {label}: {_said(value)}"


def _said(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) and abs(value) >= 1 else str(value)
