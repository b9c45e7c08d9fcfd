import pytest

from ucuie.data import catalogue, dataset_named
from ucuie.data.catalogue import Dataset, natural_name
from ucuie.data.readers import READERS
from ucuie.errors import ConfigError


def test_the_paper_s_34_sets_are_there_with_their_counts() -> None:
    paper = [dataset for dataset in catalogue().values() if dataset.setting]
    per_task = {task: sum(dataset.task == task for dataset in paper) for task in ("NER", "RE", "EE", "ABSA")}
    assert per_task == {"NER": 21, "RE": 6, "EE": 3, "ABSA": 4}
    assert all(dataset.paper_counts for dataset in paper)


def test_training_instances_under_the_cap_add_up_to_those_of_the_paper() -> None:
    def capped(task: str) -> int:
        return sum(
            min(dataset.paper_counts["train"], 10_000)
            for dataset in catalogue().values()
            if dataset.task == task and dataset.setting == "supervised"
        )

    assert (capped("NER"), capped("RE"), capped("EE")) == (112_229, 20_846, 9_991)


@pytest.mark.parametrize("dataset", catalogue().values(), ids=catalogue())
def test_a_row_is_complete(dataset: Dataset) -> None:
    assert dataset.sources
    assert set(dataset.sources) - {"all"} <= set(dataset.counts)
    for source in dataset.sources.values():
        READERS[source.reader].options.model_validate(source.options)
    schema = dataset.schema_of_all
    assert (schema.task if dataset.task != "EE" else "EE") == dataset.task or dataset.name.startswith(
        ("openie", "duie")
    )
    assert all("_" not in name for name in schema.frame_names)


def test_nothing_with_a_forbidding_licence_trains_released_weights() -> None:
    forbidden = {name for name, dataset in catalogue().items() if dataset.weights == "forbidden"}
    assert {"wikiann_en", "crossre", "duie_sample", "duee", "ace2005", "ontonotes"} <= forbidden
    assert not forbidden & {"bc5cdr", "conll04", "phee", "14res", "rams"}


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Cause-Effect", "cause effect"),
        ("birthPlace", "birth place"),
        ("Work_For", "work for"),
        ("DNA", "DNA"),
        ("elevationAboveTheSeaLevel_(in_feet)", "elevation above the sea level (in feet)"),
        ("original language of film or TV show", "original language of film or TV show"),
    ],
)
def test_natural_names(label: str, name: str) -> None:
    assert natural_name(label) == name


def test_an_unknown_set_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'conll04'"):
        dataset_named("conll-04")
