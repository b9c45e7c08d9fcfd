"""Data sets: the catalogue, converters to unified JSONL, capability subsets, the training mixture."""

from ucuie.data.augmentation import (
    SchemaAugmentation,
    augment_schema,
    narrow_schema,
    vary_schema,
    with_schema,
)
from ucuie.data.capabilities import (
    capability_example,
    capability_subset,
    capability_subsets,
)
from ucuie.data.catalogue import Dataset, catalogue, dataset_named
from ucuie.data.conversion import convert
from ucuie.data.draft import Fault
from ucuie.data.examples import read_examples, scan_examples, write_examples
from ucuie.data.formats import FORMATS, ExportReport, Format, export, export_splits, format_named
from ucuie.data.gold import read_gold, read_predictions, read_types
from ucuie.data.leaks import normalised_text
from ucuie.data.mixture import DatasetShare, MixtureOptions, build_mixture, dataset_folders
from ucuie.data.own_files import UNIFIED, convert_format
from ucuie.data.sampling import (
    generator_for,
    low_resource,
    sample_examples,
    zero_shot_folds,
)
from ucuie.data.schemas import schema_of_data, schema_of_examples
from ucuie.data.statistics import Statistics, stats
from ucuie.data.trials import write_low_resource, write_zero_shot_folds
from ucuie.data.unified_folder import ConversionReport

__all__ = [
    "FORMATS",
    "UNIFIED",
    "ConversionReport",
    "Dataset",
    "DatasetShare",
    "ExportReport",
    "Fault",
    "Format",
    "MixtureOptions",
    "SchemaAugmentation",
    "Statistics",
    "augment_schema",
    "build_mixture",
    "capability_example",
    "capability_subset",
    "capability_subsets",
    "catalogue",
    "convert",
    "convert_format",
    "dataset_folders",
    "dataset_named",
    "export",
    "export_splits",
    "format_named",
    "generator_for",
    "low_resource",
    "narrow_schema",
    "normalised_text",
    "read_examples",
    "read_gold",
    "read_predictions",
    "read_types",
    "sample_examples",
    "scan_examples",
    "schema_of_data",
    "schema_of_examples",
    "stats",
    "vary_schema",
    "with_schema",
    "write_examples",
    "write_low_resource",
    "write_zero_shot_folds",
    "zero_shot_folds",
]
