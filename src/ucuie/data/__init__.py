"""Data sets: the catalogue, converters to unified JSONL, capability subsets, the training mixture."""

from ucuie.data.catalogue import Dataset, catalogue, dataset_named
from ucuie.data.conversion import UNIFIED, ConversionReport, convert, convert_format
from ucuie.data.draft import Fault
from ucuie.data.examples import normalised_text, read_examples, write_examples
from ucuie.data.formats import FORMATS, ExportReport, Format, export, export_splits, format_named
from ucuie.data.gold import read_gold, read_predictions, read_types
from ucuie.data.mixture import (
    DatasetShare,
    MixtureOptions,
    build_mixture,
    generator_for,
    sample_examples,
    write_low_resource,
    write_zero_shot_folds,
    zero_shot_folds,
)
from ucuie.data.statistics import Statistics, schema_of_data, stats
from ucuie.data.training import SchemaAugmentation, capability_subset, narrow_schema, vary_schema, with_schema

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
    "build_mixture",
    "capability_subset",
    "catalogue",
    "convert",
    "convert_format",
    "dataset_named",
    "export",
    "export_splits",
    "format_named",
    "generator_for",
    "narrow_schema",
    "normalised_text",
    "read_examples",
    "read_gold",
    "read_predictions",
    "read_types",
    "sample_examples",
    "schema_of_data",
    "stats",
    "vary_schema",
    "with_schema",
    "write_examples",
    "write_low_resource",
    "write_zero_shot_folds",
    "zero_shot_folds",
]
