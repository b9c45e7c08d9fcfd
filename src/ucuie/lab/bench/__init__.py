"""Performance of the parts, measured side by side in one process."""
