"""How the released model's data and weights are made; not part of the package."""
