"""CoNLL04 with its entities in place of its relations; the catalogue has the relations.

    python -m making.conll04 --source raw/conll04 --output runs/data/conll04_entities

What the corpus calls "Other" is left out: it is no type that anybody asks for.
"""

import argparse
from pathlib import Path

from ucuie.data import dataset_named
from ucuie.data.catalogue import Dataset, Label
from ucuie.data.conversion import ConversionReport, write_folder
from ucuie.data.draft import Draft, Fault
from ucuie.data.labels import examples_of
from ucuie.data.readers import read_drafts
from ucuie.schema import Split

LABELS = {"Peop": "person", "Loc": "location", "Org": "organization"}


def entities_of_conll04() -> Dataset:
    """The row that the catalogue would have for the entities."""
    labels = {label: Label(name=name) for label, name in LABELS.items()}
    update = {"name": "conll04_entities", "task": "NER", "labels": labels}
    return dataset_named("conll04").model_copy(update=update)


def convert(source: Path, output: Path) -> ConversionReport:
    """Writes a file for each split."""
    dataset = entities_of_conll04()

    def drafts(split: Split) -> list[Draft | Fault]:
        files = dataset.sources[split]
        paths = [source / path for path in files.paths]
        return [_known(draft) for draft in read_drafts(files.reader, paths, {"records": "entities"})]

    splits = ((split, examples_of(dataset, split, drafts(split))) for split in dataset.sources)
    return write_folder(dataset, splits, output, spacing=None, strict=True)


def _known(draft: Draft | Fault) -> Draft | Fault:
    """The draft without records of labels that are left out."""
    if isinstance(draft, Fault):
        return draft
    return Draft(draft.place, draft.text, tuple(one for one in draft.records if one.frame in LABELS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder with train_triples.json ...")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    convert(options.source, options.output)


if __name__ == "__main__":
    main()
