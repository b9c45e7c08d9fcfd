import json

import pytest

from ucuie.errors import ConfigError
from ucuie.metrics import (
    Report,
    apply_views,
    bootstrap,
    break_down,
    coarse_types,
    find_mistakes,
    gold_trigger,
    over_trials,
    positives_only,
    render_page,
    render_text,
    score,
)
from ucuie.metrics.mistakes import Finding
from ucuie.schema import Example, FilledSlot, Filler, Record, Schema, Task

TEXT = "Bo <b>shot</b> Cy and Di met Ed."
EVENTS = Schema.of({"Attack": ["Attacker", "Victim"], "Meet": ["Attacker", "Entity"]})
RELATIONS = Schema.of({"knows": ["subject", "object"]})


def at(text: str) -> Filler:
    start = TEXT.index(text)
    return Filler(text=text, start=start, end=start + len(text))


def record(frame: str, own: str | None = None, **slots: str) -> Record:
    filled = [FilledSlot(slot=slot, filler=at(text)) for slot, text in slots.items()]
    return Record(frame=frame, filler=None if own is None else at(own), slots=filled)


def example(*records: Record, task: Task = "EE", schema: Schema = EVENTS, dataset: str = "d") -> Example:
    return Example(id="d/1", dataset=dataset, task=task, text=TEXT, schema=schema, records=records)


def found(gold: Example, *predicted: Record) -> list[tuple[str | None, ...]]:
    """(kind, gold label, gold text, predicted label, predicted text) of every mistake."""
    return [
        (one.kind, *(part for side in (one.gold, one.predicted) for part in _told(side)))
        for one in find_mistakes([gold], [predicted]).mistakes
    ]


def _told(side: Finding | None) -> tuple[str | None, str | None]:
    return (None, None) if side is None else (side.label, side.filler.text)


SHOT = record("Attack", "shot", Attacker="Bo", Victim="Cy")
MET = record("Meet", "met", Entity="Ed")


def test_what_is_right_is_no_mistake() -> None:
    mistakes = find_mistakes([example(SHOT, MET)], [[MET, SHOT]])
    assert mistakes.mistakes == ()
    assert mistakes.right == 5
    assert mistakes.confusions == []


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ([], ("missed", "Meet", "met", None, None)),
        ([record("Meet", "met Ed")], ("wrong boundary", "Meet", "met", "Meet", "met Ed")),
        ([record("Attack", "met")], ("wrong type", "Meet", "met", "Attack", "met")),
        ([record("Meet", "met"), record("Attack", "Di")], ("spurious", None, None, "Attack", "Di")),
        ([record("Meet", "met", Entity="Ed")], ("spurious", None, None, "Meet / Entity", "Ed")),
    ],
)
def test_each_kind_of_mistake_at_a_trigger(predicted: list[Record], expected: tuple[str | None, ...]) -> None:
    assert found(example(record("Meet", "met")), *predicted) == [expected]


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (record("Attack", "shot", Victim="Bo"), ("wrong slot", "Attacker", "Bo", "Victim", "Bo")),
        (
            record("Attack", "shot", Attacker="Bo <"),
            ("wrong boundary", "Attacker", "Bo", "Attacker", "Bo <"),
        ),
        (record("Attack", "shot", Attacker="Cy"), ("missed", "Attacker", "Bo", None, None)),
    ],
)
def test_each_kind_of_mistake_at_a_slot(predicted: Record, expected: tuple[str | None, ...]) -> None:
    (first, *_) = found(example(record("Attack", "shot", Attacker="Bo")), predicted)
    kind, gold, gold_text, label, text = expected
    assert first == (kind, f"Attack / {gold}", gold_text, label and f"Attack / {label}", text)


def test_an_argument_of_another_event_is_unlinked() -> None:
    gold = example(record("Attack", "shot", Victim="Cy"), record("Attack", "met", Victim="Ed"))
    crossed = [record("Attack", "shot", Victim="Ed"), record("Attack", "met", Victim="Cy")]
    assert {one[0] for one in found(gold, *crossed)} == {"unlinked"}
    relations = example(
        record("knows", subject="Bo", object="Cy"),
        record("knows", subject="Di", object="Ed"),
        task="RE",
        schema=RELATIONS,
    )
    crossed = [record("knows", subject="Bo", object="Ed"), record("knows", subject="Di", object="Cy")]
    assert [one[0] for one in found(relations, *crossed)] == ["unlinked"] * 4


def test_every_finding_is_used_once() -> None:
    gold = example(record("Attack", "shot"), record("Attack", "shot", Victim="Cy"))
    mistakes = find_mistakes([gold], [[record("Attack", "shot")] * 3])
    assert mistakes.right == 2
    assert mistakes.kinds == {
        "unlinked": 0,
        "wrong slot": 0,
        "wrong type": 0,
        "wrong boundary": 0,
        "missed": 1,
        "spurious": 1,
    }
    assert mistakes.confusions == [(("(nothing)", "Attack"), 1), (("Attack / Victim", "(nothing)"), 1)]


def test_the_breakdown_is_complete_and_its_page_shows_texts_as_texts() -> None:
    golds = [example(SHOT), example(MET, dataset="e")]
    broken = break_down(golds, [[record("Attack", "shot", Attacker="Cy")], [MET]], resamples=20)
    plain = json.loads(json.dumps(broken.to_dict()))
    assert plain["mistakes"]["kinds"]["missed"] == 1
    assert plain["mistakes"]["mistakes"][0]["gold"]["text"] == "Cy"
    text = render_text(broken)
    assert "Attack / Victim    Attack / Attacker      1" in text.splitlines()
    assert "scorer: offset" in text
    page = render_page(broken, title="A & B")
    assert "<b>shot" not in page
    assert "A &amp; B" in page
    assert "http" not in page.replace("http-equiv", "")


def test_intervals_hold_the_score_and_depend_on_the_seed_alone() -> None:
    golds = [example(MET)] * 30 + [example(SHOT, dataset="e")] * 10
    predictions = [[MET] if number % 3 else [] for number in range(30)] + [[SHOT]] * 10
    intervals = bootstrap(golds, predictions, resamples=200, seed=1)
    by_place = {(one.row, one.dataset): one for one in intervals}
    trigger = by_place["ED", "d"]
    # 20 of 30 found: recall 66.7, F1 80.
    assert trigger.f1 == pytest.approx(80)
    assert trigger.low < 80 < trigger.high
    assert 60 < trigger.low < 78
    assert by_place["ED", "e"].low == by_place["ED", "e"].high == 100
    mean = by_place["ED", None]
    assert mean.f1 == pytest.approx(90)
    assert mean.low == pytest.approx((trigger.low + 100) / 2, abs=1e-6)
    assert bootstrap(golds, predictions, resamples=200, seed=1) == intervals
    assert bootstrap(golds, predictions, resamples=200, seed=2) != intervals
    with pytest.raises(ConfigError, match="did you mean 'offset'"):
        bootstrap(golds, predictions, scorer="ofset")


def test_trials_are_averaged_with_their_spread() -> None:
    golds = [example(MET), example(SHOT, dataset="e")]
    reports = [score(golds, [[MET], [SHOT]]), score(golds, [[], [SHOT]])]
    by_place = {(one.row, one.dataset): one for one in over_trials(reports)}
    assert by_place["ED", "d"].f1s == (100, 0)
    assert by_place["ED", "d"].mean == 50
    assert by_place["ED", "d"].deviation == pytest.approx(70.7107, abs=1e-3)  # sqrt(50 ** 2 + 50 ** 2)
    assert by_place["ED", None].f1s == (100, 50)
    assert over_trials(reports[:1])[0].deviation == 0
    with pytest.raises(ValueError, match="different scorers"):
        over_trials([reports[0], score(golds, [[], []], scorer="uie-string")])
    with pytest.raises(ValueError, match="not every trial"):
        over_trials([reports[0], Report("offset", reports[0].scores[1:])])


def test_views_change_gold_and_predictions_alike() -> None:
    wrong = record("Attack", "met", Victim="Ed")
    golds = [example(SHOT), example()]
    predictions = [[SHOT, wrong], [MET]]
    shown = apply_views(golds, predictions, [gold_trigger, positives_only])
    assert shown == ([golds[0]], [[SHOT]])
    assert apply_views(golds, predictions, []) == (golds, predictions)
    examples, coarse = apply_views(golds, predictions, [coarse_types({"Attack": "Event", "Meet": "Event"})])
    assert examples[0].schema == Schema.of({"Event": ["Attacker", "Victim", "Entity"]})
    assert [one.frame for one in (*examples[0].records, *coarse[0], *coarse[1])] == ["Event"] * 4
    entities = example(record("Meet", "met"), task="NER")
    assert gold_trigger(entities, [wrong]) == (entities, [wrong])
