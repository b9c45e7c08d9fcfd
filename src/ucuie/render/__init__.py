"""Extractions, scores and data sets in other shapes: tables, files, graphs, data frames."""
