"""Models on a hub: what is pushed is what is pulled, and every refusal says what to do."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from typer.testing import CliRunner, Result

from fake_hub import FakeHub, Repo, running_hub
from tiny_model import answer_of, make_adapted, make_backbone, save_adapted, save_plain, saved_backbone
from ucuie import Extractor
from ucuie.cli import app
from ucuie.errors import ModelError
from ucuie.model.folder import load_model
from ucuie.model.hub import Push, plan_push, pull_model, push_model
from ucuie.model.info import read_info
from ucuie.model.saving import record_calibration, save_model
from ucuie.model.source import local_model

# The hub's client sends large files so that its own client of HTTP warns.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TEXT, SCHEMA = "Ada Lovelace lived in London.", ["person", "city"]


@pytest.fixture
def folder(adapted_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapted_folder, tmp_path / "tiny"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    constants = huggingface_hub.constants
    with running_hub() as hub:
        # Read from the environment when the client is imported, which other tests do first.
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
        monkeypatch.setenv("HF_TOKEN", "mine")
        monkeypatch.chdir(tmp_path)
        yield hub


def ucuie(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env={"TERMINAL_WIDTH": "200"})


def refuse(*arguments: object) -> str:
    result = ucuie(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


def pushed(folder: Path, repo_id: str = "me/tiny", **options: Any) -> str:
    return push_model(plan_push(folder, repo_id), **options)


def names(push: Push) -> list[str]:
    return [file.name for file in push.files]


def answer(model: str | Path) -> dict[str, Any]:
    extraction = Extractor.from_pretrained(model, device="cpu").extract(TEXT, SCHEMA)
    return {key: value for key, value in answer_of(extraction).items() if key != "model"}


def test_what_is_pushed_is_pulled_and_answers_the_same(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    url = pushed(folder)
    assert url.startswith(f"{hub.endpoint}/me/tiny/commit/")
    info = pull_model("me/tiny", tmp_path / "pulled")
    assert info == read_info(folder)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    pulled = (tmp_path / "pulled").rglob("*")
    assert {path.relative_to(tmp_path / "pulled").as_posix() for path in pulled if path.is_file()} == files
    assert hub.objects, "weights go the way of large files"
    assert answer(tmp_path / "pulled") == answer(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pulled", "tiny"]


def test_a_model_is_loaded_by_its_id(hub: FakeHub, folder: Path) -> None:
    pushed(folder)
    assert load_model("me/tiny", device="cpu").info == read_info(folder)
    assert answer("me/tiny") == answer(folder)


def test_nothing_but_the_model_goes_up(hub: FakeHub, folder: Path) -> None:
    for name in (".env", "optimizer.pt", "checkpoint-9/model.safetensors", "backbone/.cache", "notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("secret")
    plan = plan_push(folder, "me/tiny")
    assert set(names(plan)) == {*read_info(folder).files, "README.md", "ucuie.json"}
    assert [note for note in plan.notes if "not sent: .env, backbone/.cache" in note]
    push_model(plan)
    assert set(hub.repos["me/tiny"].files()) == set(names(plan))
    assert not any(b"secret" in content for content in hub.repos["me/tiny"].files().values())


def test_a_dry_run_asks_no_hub(hub: FakeHub, folder: Path) -> None:
    result = ucuie("model", "push", folder, "me/tiny", "--dry-run")
    assert result.exit_code == 0, result.output
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    last = result.stdout.splitlines()[-1]
    # The card alone is made for the hub, and is longer by its longer name.
    assert abs(int(last.split()[0].replace(",", "")) - size) < 100
    assert f"{(folder / 'adapter_model.safetensors').stat().st_size:,}  adapter_model" in result.stdout
    assert hub.requests == []


def test_the_command_pushes_and_pulls(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    result = ucuie("model", "push", folder, "me/tiny", "--private", "--revision", "trial")
    assert result.exit_code == 0, result.output
    repo = hub.repos["me/tiny"]
    assert repo.is_private
    assert repo.files() == {}
    assert result.stdout == f"{hub.endpoint}/me/tiny/commit/{repo.branches['trial']}\n"
    assert f"{len(read_info(folder).files) + 2} files for me/tiny" in result.stderr
    result = ucuie("model", "pull", "me/tiny", "mine", "--revision", "trial")
    assert result.exit_code == 0, result.output
    assert result.stdout == "mine\n"
    assert load_model(Path("mine"), device="cpu").info == read_info(folder)


def test_pushing_again_changes_only_the_model(hub: FakeHub, folder: Path) -> None:
    pushed(folder)
    hub.repos["me/tiny"].commit("main", {"LICENSE": b"mine"})
    save_adapted(folder, r=2)
    pushed(folder)
    files = hub.repos["me/tiny"].files()
    assert files["LICENSE"] == b"mine"
    assert files["adapter_config.json"] == (folder / "adapter_config.json").read_bytes()


def test_the_card_of_the_hub_names_the_hub(hub: FakeHub, folder: Path) -> None:
    pushed(folder)
    card = hub.repos["me/tiny"].files()["README.md"].decode()
    assert 'Extractor.from_pretrained("me/tiny")' in card
    assert "# tiny\n" in (folder / "README.md").read_text()


def test_a_card_of_ones_own_goes_up_as_it_is(hub: FakeHub, folder: Path) -> None:
    card = f"{(folder / 'README.md').read_text()}\nWritten by me.\n"
    (folder / "README.md").write_text(card)
    plan = plan_push(folder, "me/tiny")
    assert [note for note in plan.notes if "as you wrote it" in note]
    push_model(plan)
    assert hub.repos["me/tiny"].files()["README.md"].decode() == card


def test_a_card_without_metadata_is_refused_by_the_hub_in_words(hub: FakeHub, folder: Path) -> None:
    (folder / "README.md").write_text("Just words.\n")
    with pytest.raises(ModelError, match=r"Invalid metadata in README\.md\. - no metadata"):
        pushed(folder)
    assert hub.repos["me/tiny"].files() == {}


# --- The backbone ------------------------------------------------------------------------------------------


@pytest.fixture
def apart(tmp_path: Path) -> Path:
    """A model whose backbone is elsewhere on this machine."""
    backbone = saved_backbone(tmp_path / "backbone")
    save_model(
        make_adapted(make_backbone()),
        backbone,
        tmp_path / "apart",
        training={"config": {"output": "/home/a"}},
    )
    return tmp_path / "apart"


def test_a_backbone_of_this_machine_is_refused_with_the_way_out(hub: FakeHub, apart: Path) -> None:
    said = refuse("model", "push", apart, "me/tiny")
    assert "--embed-backbone" in said
    assert "--backbone OWNER/NAME" in said
    assert hub.requests == []


def test_a_backbone_is_sent_along(hub: FakeHub, apart: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in apart.iterdir()}
    expected = answer(apart)
    result = ucuie("model", "push", apart, "me/tiny", "--embed-backbone")
    assert result.exit_code == 0, result.output
    assert "paths of this machine, such as" in result.stderr
    assert {path.name: path.read_bytes() for path in apart.iterdir()} == before
    shutil.rmtree(tmp_path / "backbone")
    pull_model("me/tiny", tmp_path / "pulled")
    config = json.loads((tmp_path / "pulled" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "backbone"
    assert answer(tmp_path / "pulled") == expected


def test_a_backbone_is_named_by_its_id(hub: FakeHub, apart: Path, tmp_path: Path) -> None:
    plain = {path.name: path.read_bytes() for path in save_plain(tmp_path / "plain").iterdir()}
    hub.repos["them/base"] = Repo()
    hub.repos["them/base"].commit("main", plain)
    assert ucuie("model", "push", apart, "me/tiny", "--backbone", "them/base").exit_code == 0
    shutil.rmtree(tmp_path / "backbone")
    result = ucuie("model", "pull", "me/tiny", "pulled")
    assert result.exit_code == 0, result.output
    assert "its backbone, them/base, is fetched when it is first used" in result.stderr
    assert "base_model: them/base" in Path("pulled", "README.md").read_text()
    assert answer("pulled")["records"] is not None


def test_a_backbone_within_is_not_named_otherwise(folder: Path) -> None:
    with pytest.raises(ModelError, match="has its backbone in it"):
        plan_push(folder, "me/tiny", backbone="them/base")


# --- What is refused ---------------------------------------------------------------------------------------


def test_a_damaged_folder_is_not_pushed(hub: FakeHub, folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"?")
    (folder / "instructions.yaml").unlink()
    said = refuse("model", "push", folder, "me/tiny")
    assert "adapter_model.safetensors is damaged" in said
    assert "instructions.yaml is missing" in said
    assert hub.requests == []


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "a/../../b", "C:\\x", ""])
def test_files_outside_the_folder_are_not_listed(folder: Path, name: str) -> None:
    content = json.loads((folder / "ucuie.json").read_text())
    content["files"][name] = "0" * 64
    (folder / "ucuie.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="no path below the folder"):
        plan_push(folder, "me/tiny")


def test_hidden_files_are_not_pushed(folder: Path) -> None:
    (folder / ".env").write_text("")
    content = json.loads((folder / "ucuie.json").read_text())
    content["files"][".env"] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (folder / "ucuie.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"lists hidden files, which are not sent: \.env"):
        plan_push(folder, "me/tiny")


def test_a_plain_model_is_not_pushed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"ucuie\.json is missing"):
        plan_push(save_plain(tmp_path / "plain"), "me/plain")


@pytest.mark.parametrize("repo_id", ["tiny", "me/tiny/x", "../x", "me/", "", "-/-"])
def test_an_id_that_is_none_is_refused(folder: Path, repo_id: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no hub id"):
        plan_push(folder, repo_id)
    with pytest.raises(ModelError, match="is no hub id"):
        pull_model(repo_id, tmp_path / "new")


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, "the hub asks who you are"),
        ("bad", "the hub asks who you are"),
        ("theirs", "you may not do this"),
    ],
)
def test_pushing_without_the_right_to_says_so(
    hub: FakeHub, folder: Path, token: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ModelError, match=said):
        pushed(folder, token=token)
    assert hub.repos == {}


def test_writing_to_a_repository_of_others_is_refused(hub: FakeHub, folder: Path) -> None:
    pushed(folder)
    with pytest.raises(ModelError, match="you may not do this"):
        pushed(folder, token="theirs")


def test_an_unknown_model_is_told(hub: FakeHub, tmp_path: Path) -> None:
    said = refuse("model", "pull", "me/none", "new")
    assert "model error: 'me/none': the hub gives no model of that name" in said
    assert list(tmp_path.iterdir()) == []


def test_a_private_model_needs_a_login(
    hub: FakeHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(folder, private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ModelError, match="a private one needs a login"):
        pull_model("me/tiny", tmp_path / "new")
    with pytest.raises(ModelError, match=r"no folder 'me/tiny' here; .* a private one needs a login"):
        load_model("me/tiny")
    pull_model("me/tiny", tmp_path / "new", token="mine")


def test_an_unknown_revision_is_told(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    pushed(folder)
    with pytest.raises(ModelError, match="no such revision"):
        pull_model("me/tiny", tmp_path / "new", revision="v9")


def test_a_hub_that_is_not_there_is_told(folder: Path, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    with pytest.raises(ModelError, match="the hub cannot be reached"):
        push_model(plan_push(folder, "me/tiny"), endpoint=nowhere, token="mine")
    with pytest.raises(ModelError, match="the hub cannot be reached"):
        pull_model("me/tiny", tmp_path / "new", endpoint=nowhere)
    assert not (tmp_path / "new").exists()


def test_a_damaged_download_leaves_nothing(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    pushed(folder)
    hub.damaged = {"adapter_model.safetensors", "backbone/config.json"}
    with pytest.raises(
        ModelError, match=r"did not arrive as it was made: .*adapter_model\.safetensors"
    ) as told:
        pull_model("me/tiny", tmp_path / "new")
    assert "backbone/config.json is damaged" in str(told.value)
    assert str(tmp_path) not in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
    hub.damaged = set()
    pull_model("me/tiny", tmp_path / "new")


def test_half_a_download_leaves_nothing(
    hub: FakeHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(folder)
    # The client waits longer and longer between its attempts.
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.cut = {"adapter_model.safetensors"}
    with pytest.raises(ModelError, match="'me/tiny': "):
        pull_model("me/tiny", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_what_is_no_model_of_ucuie_is_not_pulled(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["me/plain"] = Repo()
    hub.repos["me/plain"].commit("main", {"config.json": b"{}"})
    with pytest.raises(ModelError, match=r"'me/plain' is no model of ucuie: ucuie\.json is missing"):
        pull_model("me/plain", tmp_path / "new")
    hub.repos["me/plain"].commit("main", {"ucuie.json": b"{}"})
    with pytest.raises(ModelError, match=r"^me/plain/ucuie\.json has format version None"):
        pull_model("me/plain", tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_hub_lacks_is_named(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    pushed(folder)
    repo = hub.repos["me/tiny"]
    del repo.files()["instructions.yaml"]
    with pytest.raises(ModelError, match=r"instructions\.yaml is missing"):
        pull_model("me/tiny", tmp_path / "new")


def test_what_is_there_is_not_written_over(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    pushed(folder)
    requests = len(hub.requests)
    for target in (folder, folder / "README.md"):
        with pytest.raises(ModelError, match="is there already; name a new folder"):
            pull_model("me/tiny", target)
    assert len(hub.requests) == requests
    (tmp_path / "empty").mkdir()
    pull_model("me/tiny", tmp_path / "empty")
    assert load_model(tmp_path / "empty", device="cpu").info == read_info(folder)
    with pytest.raises(ModelError, match="cannot be written"):
        pull_model("me/tiny", folder / "README.md" / "below")


def test_a_calibrated_model_stays_so(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    from ucuie.model.calibration import Calibration

    record_calibration(folder, Calibration(texts={"conll04": 7}))
    pushed(folder)
    assert "7 texts of conll04" in hub.repos["me/tiny"].files()["README.md"].decode()
    pull_model("me/tiny", tmp_path / "new")
    assert load_model(tmp_path / "new", device="cpu").calibration == Calibration(texts={"conll04": 7})


def test_a_hub_without_xet_is_told_with_what_to_do(
    hub: FakeHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    with pytest.raises(ModelError, match=r"'me/tiny': .* set HF_HUB_DISABLE_XET=1 .*404"):
        pushed(folder)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    pushed(folder)
    hub.is_mirror = True
    pull_model("me/tiny", tmp_path / "plain")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    for fetch in (lambda: pull_model("me/tiny", tmp_path / "xet"), lambda: local_model("me/tiny")):
        with pytest.raises(ModelError, match=r"set HF_HUB_DISABLE_XET=1 .*404"):
            fetch()
    assert not (tmp_path / "xet").exists()
