"""Data sets: the catalogue, converters to unified JSONL, capability subsets, the training mixture."""

from ucuie.data.capabilities import (
    CapabilitySubsets,
    capability_example,
    capability_subset,
    capability_subsets,
)
from ucuie.data.catalogue import Dataset, catalogue, dataset_named
from ucuie.data.conversion import ConversionReport, SplitReport, convert, convert_format
from ucuie.data.draft import Fault
from ucuie.data.examples import read_examples, scan_examples, write_examples
from ucuie.data.formats import FORMATS, ExportReport, Format, export
from ucuie.data.mixture import (
    DatasetShare,
    LeakGuard,
    Mixture,
    MixtureOptions,
    SchemaAugmentation,
    augment_schema,
    build_mixture,
    generator_for,
    held_out_texts,
    normalised_text,
    sample_examples,
)
from ucuie.data.statistics import SplitStatistics, Statistics, stats

__all__ = [
    "FORMATS",
    "CapabilitySubsets",
    "ConversionReport",
    "Dataset",
    "DatasetShare",
    "ExportReport",
    "Fault",
    "Format",
    "LeakGuard",
    "Mixture",
    "MixtureOptions",
    "SchemaAugmentation",
    "SplitReport",
    "SplitStatistics",
    "Statistics",
    "augment_schema",
    "build_mixture",
    "capability_example",
    "capability_subset",
    "capability_subsets",
    "catalogue",
    "convert",
    "convert_format",
    "dataset_named",
    "export",
    "generator_for",
    "held_out_texts",
    "normalised_text",
    "read_examples",
    "sample_examples",
    "scan_examples",
    "stats",
    "write_examples",
]
