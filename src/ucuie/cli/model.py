"""`ucuie model`: what a model folder says, its card, and the way to a hub and back."""

from pathlib import Path
from typing import Annotated

import typer

from ucuie.cli.common import Json, Quiet, flag, output_file, print_json, results, talk_console
from ucuie.errors import ConfigError, ModelError, show
from ucuie.templates import counted

model_app = typer.Typer(
    no_args_is_help=True, help="Look at model folders, send them to a hub, fetch models and backbones."
)

Folder = Annotated[
    str, typer.Argument(metavar="MODEL", help="Model folder, or the name of a model of the package.")
]
RepoId = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository of a hub.")]
Endpoint = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Address of the hub; left out, HF_ENDPOINT or https://huggingface.co."),
]


@model_app.command()
def push(
    model: Folder,
    repo_id: RepoId,
    private: Annotated[
        bool, flag("--private", "A repository that is made now is for its owner alone.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Branch, made if need be; left out, the main one.")
    ] = None,
    embed_backbone: Annotated[bool, flag("--embed-backbone", "Send a copy of the backbone along.")] = False,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME", help="Hub id of just the backbone that the folder names by a path."
        ),
    ] = None,
    dry_run: Annotated[bool, flag("--dry-run", "Print what would be sent, and ask no hub.")] = False,
    endpoint: Endpoint = None,
    quiet: Quiet = False,
) -> None:
    """Check a model folder and send it to a hub, as you are logged in there (hf auth login, or HF_TOKEN)."""
    from ucuie.model.hub import plan_push, push_model
    from ucuie.model.info import BACKBONE_FOLDER

    if embed_backbone and backbone is not None:
        raise typer.BadParameter("give one of the two", param_hint="'--embed-backbone' / '--backbone'")
    planned = plan_push(model, repo_id, backbone=BACKBONE_FOLDER if embed_backbone else backbone)
    talk = talk_console(quiet=quiet)
    for note in planned.notes:
        talk.print(f"note: {note}")
    listing = [f"{file.num_bytes:>15,}  {file.name}" for file in planned.files]
    listing.append(f"{planned.num_bytes:>15,}  {counted(len(planned.files), 'file')} for {repo_id}")
    if dry_run:
        typer.echo("\n".join(listing))
        return
    talk.print("\n".join(listing))
    _silence_bars(is_silent=quiet or not talk.is_terminal)
    typer.echo(push_model(planned, private=private, revision=revision, endpoint=endpoint))


@model_app.command()
def pull(
    repo_id: RepoId,
    folder: Annotated[
        Path | None, typer.Argument(help="New folder; left out, the model's name in this one.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="REVISION", help="Branch, tag or commit; left out, the main branch.")
    ] = None,
    endpoint: Endpoint = None,
    quiet: Quiet = False,
) -> None:
    """Fetch a model from a hub into a folder, and compare all its files with what was sent."""
    from ucuie.model.hub import pull_model
    from ucuie.model.source import is_hub_id

    target = folder or Path(repo_id.rpartition("/")[2])
    talk = talk_console(quiet=quiet)
    _silence_bars(is_silent=quiet or not talk.is_terminal)
    info = pull_model(repo_id, target, revision=revision, endpoint=endpoint)
    if is_hub_id(info.backbone):
        talk.print(f"note: its backbone, {info.backbone}, is fetched when it is first used")
    talk.print(f"{counted(len(info.files), 'file')}, all as they were sent")
    typer.echo(str(target))


@model_app.command()
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model of the package, or a known backbone.")],
    quiet: Quiet = False,
) -> None:
    """Fetch what a model needs into the cache, where it is not asked for again, and print where that is.

    A model that needs a backbone from elsewhere fetches it by itself when it is first used; this does so now.
    """
    from ucuie.model.info import INFO_FILE, read_info
    from ucuie.model.known_backbones import backbone_file, known_backbones
    from ucuie.model.source import local_model

    place = local_model(name)
    if (place / INFO_FILE).is_file():
        backbone = read_info(place).backbone
        place = backbone_file(known_backbones()[backbone]) if backbone in known_backbones() else place
    typer.echo(str(place))


@model_app.command()
def card(
    model: Folder,
    name: Annotated[
        str | None,
        typer.Option(help="What its users call it, such as OWNER/NAME; left out, its folder's name."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--license", metavar="ID", help="Of the model, such as apache-2.0.")
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Of its texts, such as en; repeatable.")
    ] = None,
    output: Annotated[Path | None, output_file("File instead of stdout.")] = None,
    force: Annotated[bool, flag("--force", "Replace a card that somebody wrote.")] = False,
) -> None:
    """Make the model card from what is in the folder, with the metadata that hubs read."""
    from ucuie.files import write_text
    from ucuie.model.card import model_card, own_card
    from ucuie.model.info import CARD_FILE, read_calibration, read_info

    folder = _folder(model)
    info = read_info(folder)
    called, calibration = name or folder.resolve().name, read_calibration(folder, info)
    text = model_card(called, info, calibration, license=licence, languages=language or ())
    if output is None:
        typer.echo(text, nl=False)
        return
    is_made = output.resolve() == (folder / CARD_FILE).resolve() and own_card(folder, info) is None
    if output.exists() and not is_made and not force:
        is_there = "is there already, and not as it was made; --force replaces it"
        raise ConfigError(f"{show(str(output))} {is_there}")
    write_text(output, text)


@model_app.command()
def info(model: Folder, as_json: Json = False) -> None:
    """Tell what a model folder says about its model, without loading it."""
    from ucuie.model import info as about

    folder = _folder(model)
    found = about.read_info(folder)
    faults = about.file_faults(folder, found)
    sha256 = about.file_sha256(folder / about.INFO_FILE)
    if as_json:
        content = found.model_dump(mode="json") | {"sha256": sha256, "faults": faults}
        print_json(content)
    else:
        sizes = [(folder / name).stat().st_size for name in found.files if (folder / name).is_file()]
        lines = {
            "folder": str(folder),
            "sha256": sha256,
            "parameters": f"{found.num_parameters:,}",
            "backbone": "in the folder" if found.backbone == about.BACKBONE_FOLDER else found.backbone,
            "windows": f"{found.window_tokens:,} tokens" if found.window_tokens else "the whole context",
            "stands at": str(found.operating_point),
            "scores": "calibrated" if about.CALIBRATION_FILE in found.files else "raw",
            "files": f"{len(found.files):,}, {sum(sizes):,} bytes",
        }
        for subject, words in lines.items():
            results().print(f"{subject:<13}{words}", markup=False, soft_wrap=True)
    if faults:
        raise ModelError(f"{show(str(folder))} is not whole: {'; '.join(faults)}")


def _folder(model: str) -> Path:
    """The folder of a model of ucuie."""
    from ucuie.model.info import INFO_FILE
    from ucuie.model.source import local_model

    folder = local_model(model)
    if not (folder / INFO_FILE).is_file():
        raise ModelError(f"{show(model)} is not a model folder of ucuie: {INFO_FILE} is missing in it")
    return folder


def _silence_bars(*, is_silent: bool) -> None:
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if is_silent:
        disable_progress_bars()
