"""How the embedded model `ucuie-mini` is made, its backbone included."""
