"""What a model folder says about its model: `ucuie.json` for programs, the model card for people.

Knows neither weights nor tokenizers; needs no torch.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ucuie.errors import ModelError, show

FORMAT_VERSION = 1
INFO_FILE = "ucuie.json"
CARD_FILE = "README.md"
BACKBONE_FOLDER = "backbone"
REPAIR = "copy or download the whole folder again"


class ModelInfo(BaseModel):
    """The contents of `ucuie.json`.

    Args:
        format_version: of the folder.
        backbone: a hub id, an absolute path, or a path below the folder, such as "backbone".
        backbone_fingerprint: of the backbone that the model was trained on.
        tokenizer_sha256: of that backbone's tokenizer.
        instruction_pool_hash: of the wordings it was trained with.
        num_parameters: of backbone and adapter.
        window_tokens: longer texts are read in windows of so many tokens, which is what nearly all texts of
            its training stayed within; None reads as a whole what fits into the context.
        training: data and settings of the training, as the one who trained it wrote them down.
        scores: what the model reached, every number under the name of its scorer.
        files: SHA-256 of every file below the folder, without the card and `ucuie.json` itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    backbone: str
    backbone_fingerprint: str
    tokenizer_sha256: str
    instruction_pool_hash: str
    num_parameters: int
    window_tokens: int | None = None
    training: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    files: dict[str, str] = {}

    def to_json(self) -> str:
        """The content of the file."""
        return self.model_dump_json(indent=1) + "\n"


def read_info(folder: Path) -> ModelInfo:
    """The `ucuie.json` of a model folder.

    Raises:
        ModelError: it is missing, damaged, or of another format.
    """
    path = folder / INFO_FILE
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}; {REPAIR}") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {show(version)}, this ucuie reads {FORMAT_VERSION}; "
            "a newer one may read it: pip install --upgrade ucuie"
        )
    try:
        return ModelInfo.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_url=False)
        )
        raise ModelError(f"{path} is damaged ({faults}); {REPAIR}") from None


def write_info(folder: Path, info: ModelInfo, *, name: str) -> None:
    """Writes `ucuie.json` and the card of a model of that name into a folder."""
    (folder / INFO_FILE).write_text(info.to_json(), "utf-8")
    (folder / CARD_FILE).write_text(model_card(name, info), "utf-8")


def model_card(name: str, info: ModelInfo) -> str:
    """The card in Markdown, with the metadata that model hubs read on top."""
    is_apart = info.backbone != BACKBONE_FOLDER
    return _CARD.format(
        name=name,
        millions=f"{info.num_parameters / 1e6:,.1f}",
        backbone=f"`{info.backbone}`" if is_apart else "in this folder",
        training="\n".join(_listed(info.training)) or "Nothing was written down about it.",
        scores="\n".join(_listed(info.scores)) or "It was not evaluated yet.",
    )


_CARD = """\
---
library_name: ucuie
pipeline_tag: token-classification
tags: [information-extraction, named-entity-recognition, relation-extraction, event-extraction]
---

# {name}

Extracts entities, relations, events and opinions from text, after a schema of yours, with character offsets.
Made with `ucuie`.

- Parameters: {millions} million, adapter included
- Backbone: {backbone}

## Use

```python
from ucuie import Extractor

extractor = Extractor.from_pretrained("{name}")
result = extractor.extract("Ada Lovelace lived in London.", ["person", "city"])
```

## Training

{training}

## Scores

{scores}
"""


def _listed(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Nested mappings as nested lists of Markdown."""
    for key, value in values.items():
        label = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            yield f"{indent}- {label}:"
            yield from _listed(value, indent + "  ")
        elif isinstance(value, list | tuple):
            yield f"{indent}- {label}: {', '.join(map(_said, value))}"
        else:
            yield f"{indent}- {label}: {_said(value)}"


def _said(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) and abs(value) >= 1 else str(value)
