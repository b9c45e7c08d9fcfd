"""The laboratory: the paper's experiments, benches, and what only they need. No part of the library."""
