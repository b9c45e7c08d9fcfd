"""How good a model is: predictions on gold data, and scores that mean how often they are right."""
