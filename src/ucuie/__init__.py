"""UC-UIE: typed, source-grounded information extraction with one model and one schema language."""
