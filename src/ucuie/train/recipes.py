"""Recipes: configurations of training runs for well-known backbones, which come with the package."""

from pathlib import Path

from ucuie.errors import ConfigError, did_you_mean, show

FOLDER = Path(__file__).with_name("recipe_files")


def recipe_names() -> list[str]:
    """The names, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def config_path(name: str) -> Path:
    """The file of a configuration, given by its path or by the name of a recipe.

    Raises:
        ConfigError: there is neither.
    """
    path = Path(name)
    if path.exists():
        return path
    names = recipe_names()
    if name in names:
        return FOLDER / f"{name}.yaml"
    raise ConfigError(f"there is no file {show(name)}, nor a recipe of that name{did_you_mean(name, names)}")
