"""Training: the two stages of UC-UIE on the Hugging Face Trainer."""

from ucuie.train.config import TrainConfig

__all__ = ["TrainConfig"]
