"""The quality of a model: predictions on gold data, and scores that mean how often they are right."""
