import json
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucuie.errors import ConfigError
from ucuie.metrics import SCORERS, Counts, placing_ceiling, score
from ucuie.metrics.counts import count_multiset
from ucuie.metrics.instructuie import normalize
from ucuie.schema import Example, FilledSlot, Filler, Record, Schema, Task

#       0         1         2         3         4         5
#       0123456789012345678901234567890123456789012345678901
TEXT = "Ann met Ann in Paris. Bo shot Cy and Di shot Ed."
ANN, ANN_2, PARIS, BO, SHOT, CY, DI, SHOT_2, ED = 0, 8, 15, 22, 25, 30, 37, 40, 45

SCHEMAS = {
    "NER": Schema.of(["person", "place"]),
    "RE": Schema.of({"lives in": ["subject", "object"], "met": ["subject", "object"]}),
    "EE": Schema.of({"Attack": ["Attacker", "Victim"], "Meet": ["Entity"]}),
    "ABSA": Schema.of({"positive": ["aspect", "opinion"], "negative": ["aspect", "opinion"]}),
}


def at(text: str, start: int) -> Filler:
    return Filler(text=text, start=start, end=start + len(text))


def entity(name: str, text: str, start: int) -> Record:
    return Record(frame=name, filler=at(text, start))


def tuple_of(name: str, **slots: tuple[str, int]) -> Record:
    return Record(
        frame=name, slots=[FilledSlot(slot=slot, filler=at(*place)) for slot, place in slots.items()]
    )


def event(name: str, trigger: tuple[str, int], **slots: tuple[str, int]) -> Record:
    return tuple_of(name, **slots).model_copy(update={"filler": at(*trigger)})


def example(task: Task, *records: Record, dataset: str = "d", schema: Schema | None = None) -> Example:
    return Example(
        id="1", dataset=dataset, task=task, text=TEXT, schema=schema or SCHEMAS[task], records=records
    )


def counts(
    row: str, gold: Example, predicted: Sequence[Record], scorer: str = "offset"
) -> tuple[int, int, int]:
    """(gold, predicted, matched) of one text."""
    total = score([gold], [predicted], scorer=scorer).micro(row)
    return total.gold, total.predicted, total.matched


ANNS = [entity("person", "Ann", ANN), entity("person", "Ann", ANN_2)]
SHOOTING = event("Attack", ("shot", SHOT), Attacker=("Bo", BO), Victim=("Cy", CY))
SHOOTING_2 = event("Attack", ("shot", SHOT_2), Attacker=("Di", DI), Victim=("Ed", ED))

RECORDS = {
    "NER": [*ANNS, entity("place", "Paris", PARIS), entity("place", "Ann", ANN), entity("person", "Bo", BO)],
    "RE": [
        tuple_of("lives in", subject=("Ann", ANN), object=("Paris", PARIS)),
        tuple_of("lives in", subject=("Ann", ANN_2), object=("Paris", PARIS)),
        tuple_of("met", subject=("Ann", ANN), object=("Ann", ANN_2)),
        tuple_of("met", object=("Ann", ANN), subject=("Ann", ANN_2)),
    ],
    "EE": [
        SHOOTING,
        SHOOTING_2,
        event("Attack", ("shot", SHOT), Victim=("Cy", CY)),
        event("Meet", ("met", 4), Entity=("Ann", ANN)),
    ],
    "ABSA": [
        tuple_of("positive", aspect=("Ann", ANN), opinion=("met", 4)),
        tuple_of("negative", aspect=("Ann", ANN), opinion=("met", 4)),
        tuple_of("negative", opinion=("met", 4)),
    ],
}
MAIN_ROW = {"NER": "NER", "RE": "RE boundary", "EE": "EAE linked", "ABSA": "ABSA"}


@st.composite
def golds_and_predictions(draw: st.DrawFn) -> tuple[Example, list[Record]]:
    task = draw(st.sampled_from(sorted(RECORDS)))
    some = st.lists(st.sampled_from(RECORDS[task]), max_size=5)
    return example(task, *draw(some)), draw(some)


@settings(max_examples=200, deadline=None)
@given(golds_and_predictions())
def test_gold_against_itself_is_perfect_under_every_scorer(drawn: tuple[Example, list[Record]]) -> None:
    gold, _ = drawn
    for scorer in SCORERS:
        for row_score in score([gold], [gold.records], scorer=scorer).scores:
            total = row_score.counts
            if scorer in ("gollie", "knowcoder-em", "uie-offset"):
                # Repetitions are dropped, counted again, or placed elsewhere: tested on their own.
                continue
            assert total.gold == total.predicted == total.matched


@settings(max_examples=200, deadline=None)
@given(golds_and_predictions())
def test_exchanging_gold_and_predictions_exchanges_precision_and_recall(
    drawn: tuple[Example, list[Record]],
) -> None:
    gold, predicted = drawn
    exchanged = example(gold.task, *predicted)
    for scorer in ("offset", "capabilities", "uie-string", "iepile", "instructuie", "instructuie-fixed"):
        forth = score([gold], [predicted], scorer=scorer)
        back = score([exchanged], [gold.records], scorer=scorer)
        for _, row in forth.rows:
            assert forth.micro(row).precision == back.micro(row).recall
            assert forth.micro(row).f1 == back.micro(row).f1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_multisets_match_like_crossing_gold_off_one_by_one(gold: list[str], predicted: list[str]) -> None:
    left, matched = list(gold), 0
    for element in predicted:
        if element in left:
            left.remove(element)
            matched += 1
    labels = count_multiset([(element, None) for element in gold], [(element, None) for element in predicted])
    assert sum(labels.values(), Counts()) == Counts(len(gold), len(predicted), matched)


def test_scores_are_per_cent_and_nothing_of_nothing_is_zero() -> None:
    assert Counts() + Counts(3, 4, 2) == Counts(3, 4, 2)
    total = Counts(3, 4, 2)
    assert (total.precision, total.recall) == (50, pytest.approx(66.667, abs=1e-3))
    assert total.f1 == pytest.approx(2 * 50 * 66.667 / (50 + 66.667), abs=1e-3)
    assert (Counts().precision, Counts().recall, Counts().f1) == (0, 0, 0)
    assert Counts(5, 0, 0).f1 == Counts(0, 5, 0).f1 == 0


# The hand-counted cases of scoring.md, as (gold, predicted, matched).


def test_gold_twice_predicted_once() -> None:
    gold = example("NER", *ANNS)
    assert counts("NER", gold, ANNS[:1]) == (2, 1, 1)
    assert counts("NER", gold, ANNS[:1], "uie-string") == (2, 1, 1)
    assert counts("NER", gold, ANNS[:1], "iepile") == (2, 1, 1)
    assert counts("NER", gold, ANNS[:1], "gollie") == (2, 1, 1)
    assert counts("NER", gold, ANNS[:1], "knowcoder-em") == (2, 1, 1)
    # A set: both mentions are one "person:ann".
    assert counts("NER", gold, ANNS[:1], "instructuie") == (1, 1, 1)


def test_gold_empty_predicted_empty() -> None:
    for scorer in SCORERS.keys() - {"instructuie", "capabilities"}:
        assert counts("NER", example("NER"), [], scorer) == (0, 0, 0)
    # "None" against "None" is a match, for entities and triggers, not for relations and arguments.
    assert counts("NER", example("NER"), [], "instructuie") == (1, 1, 1)
    assert counts("ED", example("EE"), [], "instructuie") == (1, 1, 1)
    assert counts("EAE pooled", example("EE"), [], "instructuie") == (0, 0, 0)
    assert counts("RE boundary", example("RE"), [], "instructuie") == (0, 0, 0)


def test_gold_empty_predicted_one() -> None:
    for scorer in SCORERS.keys() - {"instructuie", "capabilities"}:
        assert counts("NER", example("NER"), ANNS[:1], scorer) == (0, 1, 0)
    # Gold is "None", predicted "person:ann".
    assert counts("NER", example("NER"), ANNS[:1], "instructuie") == (1, 1, 0)


def test_the_third_prediction_of_a_name_that_occurs_twice_is_wrong() -> None:
    gold = example("NER", *ANNS)
    three = [ANNS[0], ANNS[0], ANNS[0]]
    # The first occurrence thrice: one match.
    assert counts("NER", gold, three) == (2, 3, 1)
    # Placed anew: first and second occurrence, the third prediction dropped.
    assert counts("NER", gold, three, "uie-offset") == (2, 2, 2)
    assert counts("NER", gold, three, "gollie") == (2, 2, 2)
    # Strings: two of three match.
    assert counts("NER", gold, three, "uie-string") == (2, 3, 2)
    assert counts("NER", gold, three, "iepile") == (2, 3, 2)
    # Every copy matches, so recall is 150.
    assert counts("NER", gold, three, "knowcoder-em") == (2, 3, 3)
    assert score([gold], [three], scorer="knowcoder-em").micro("NER").recall == 150
    assert counts("NER", gold, three, "instructuie") == (1, 1, 1)


def test_triggers_are_scored_in_any_order() -> None:
    gold = example("EE", SHOOTING, SHOOTING_2)
    # With their own offsets the order plays no part.
    swapped = [SHOOTING_2, SHOOTING]
    assert counts("ED", gold, swapped) == (2, 2, 2)
    assert counts("EAE linked", gold, swapped) == (4, 4, 4)
    # As strings placed anew, each "shot" gets the other's arguments: right when pooled, wrong when linked.
    assert counts("ED", gold, swapped, "uie-offset") == (2, 2, 2)
    assert counts("EAE pooled", gold, swapped, "uie-offset") == (4, 4, 4)
    # GoLLIE pairs the first predicted "shot" with the first gold one.
    assert counts("ED", gold, swapped, "gollie") == (2, 2, 2)
    assert counts("EAE linked", gold, swapped, "gollie") == (4, 4, 0)
    crossed = [
        event("Attack", ("shot", SHOT), Attacker=("Di", DI), Victim=("Ed", ED)),
        event("Attack", ("shot", SHOT_2), Attacker=("Bo", BO), Victim=("Cy", CY)),
    ]
    assert counts("EAE pooled", gold, crossed) == (4, 4, 4)
    assert counts("EAE linked", gold, crossed) == (4, 4, 0)
    assert counts("frame", gold, crossed) == (2, 2, 0)


def test_an_argument_outside_the_text() -> None:
    gold = example("EE", SHOOTING)
    invented = event("Attack", ("shot", SHOT), Attacker=("Zed", BO), Victim=("Cy", CY))
    assert counts("EAE pooled", gold, [invented]) == (2, 2, 1)
    assert counts("EAE pooled", gold, [invented], "uie-string") == (2, 2, 1)
    for scorer, row in (
        ("uie-offset", "EAE pooled"),
        ("knowcoder-em", "EAE pooled"),
        ("gollie", "EAE linked"),
    ):
        assert counts("ED", gold, [invented], scorer) == (1, 1, 1)
        assert counts(row, gold, [invented], scorer) == (2, 1, 1)
    # A relation falls as a whole.
    relation = example("RE", RECORDS["RE"][0])
    invented = tuple_of("lives in", subject=("Ann", ANN), object=("Zedia", PARIS))
    for scorer in ("uie-offset", "knowcoder-em", "gollie"):
        assert counts("RE boundary", relation, [invented], scorer) == (1, 0, 0)
    assert counts("RE boundary", relation, [invented], "iepile") == (1, 1, 0)


def test_one_span_under_two_types_is_scored() -> None:
    gold = example("NER", entity("person", "Ann", ANN), entity("place", "Ann", ANN))
    both, one = list(gold.records), [entity("place", "Ann", ANN)]
    for scorer in SCORERS.keys() - {"capabilities"}:
        assert counts("NER", gold, both, scorer) == (2, 2, 2)
        assert counts("NER", gold, one, scorer) == (2, 1, 1)
    labels = score([gold], [one]).of("NER")[0].labels
    assert labels == {"person": Counts(1, 0, 0), "place": Counts(1, 1, 1)}


def test_gollie_allows_a_mention_as_often_as_the_text_has_it_whatever_the_type() -> None:
    gold = example("NER", *ANNS)
    predicted = [entity("place", "ann", 0), entity("place", "Ann", 0), ANNS[0]]
    # "ann" stands there twice in lower case, so the third prediction, the right one, is removed.
    assert counts("NER", gold, predicted, "gollie") == (2, 2, 0)
    assert counts("NER", gold, [entity("person", "ANN", 0)], "gollie") == (2, 1, 1)


def test_knowcoder_removes_what_is_not_in_the_schema() -> None:
    robot = entity("robot", "Ann", ANN)
    assert counts("NER", example("NER", *ANNS), [robot, ANNS[0]], "knowcoder-em") == (2, 1, 1)
    assert counts("NER", example("NER", *ANNS), [robot, ANNS[0]]) == (2, 2, 1)


def test_saying_none_scores_on_a_set_of_mostly_empty_texts() -> None:
    # 3 of 4 texts are empty: 3 matches of 4 predictions and of 3 + 2 gold elements, F1 = 2 * 3 / (4 + 5).
    golds = [example("NER"), example("NER"), example("NER"), example("NER", ANNS[0], RECORDS["NER"][2])]
    nothing = [[]] * 4
    assert score(golds, nothing, scorer="instructuie").micro("NER") == Counts(5, 4, 3)
    assert score(golds, nothing, scorer="instructuie-fixed").micro("NER") == Counts(2, 0, 0)


def test_instructuie_cuts_what_holds_a_semicolon() -> None:
    text = "Fannin & amp ; Bell"
    gold = Example(
        id="1", task="NER", text=text, schema=Schema.of(["point"]), records=[entity("point", text, 0)]
    )
    # "point:fannin & amp" and "bell"; what is cut off relations and arguments names no type and is dropped.
    assert counts("NER", gold, gold.records, "instructuie") == (2, 2, 2)
    assert counts("NER", gold, [entity("point", "Bell", 15)], "instructuie") == (2, 1, 0)
    relation = tuple_of("near", subject=(text, 0), object=("Bell", 15))
    schema = Schema.of({"near": ["subject", "object"]})
    gold = Example(id="1", task="RE", text=text, schema=schema, records=[relation])
    assert counts("RE boundary", gold, [relation], "instructuie") == (1, 1, 1)


def test_instructuie_takes_all_triggers_as_one_string() -> None:
    gold = example("EE", SHOOTING, RECORDS["EE"][3])
    assert counts("ED", gold, [SHOOTING], "instructuie") == (1, 1, 0)
    assert counts("ED", gold, [RECORDS["EE"][3], SHOOTING], "instructuie") == (1, 1, 1)
    assert counts("ED", example("EE"), [SHOOTING], "instructuie-fixed") == (0, 1, 0)


def test_instructuie_normalizes_strings() -> None:
    assert normalize("The  Location :  St . John 's -- {A}") == "the located:st.john's--a"
    assert normalize("a,, b.. (c) ; d’s") == "a,b.(c);d's"


def test_relations_match_by_slot_whatever_their_order() -> None:
    _, lives, met, met_back = RECORDS["RE"]
    gold = example("RE", lives, met)
    assert counts("RE boundary", gold, [met_back]) == (2, 1, 0)
    turned = lives.model_copy(update={"slots": lives.slots[::-1]})
    for scorer in SCORERS.keys() - {"capabilities"}:
        assert counts("RE boundary", gold, [turned], scorer) == (2, 1, 1)


def test_strict_relations_compare_the_types_of_their_arguments() -> None:
    schema = Schema.of({"person": [], "place": [], "lives in": ["subject", "object"]})
    ann, paris, lives = ANNS[0], RECORDS["NER"][2], RECORDS["RE"][0]
    gold = example("RE", ann, paris, lives, schema=schema)
    mistyped = [entity("place", "Ann", ANN), paris, lives]
    assert counts("RE strict", gold, [ann, paris, lives]) == (1, 1, 1)
    assert counts("RE strict", gold, mistyped) == (1, 1, 0)
    assert counts("RE boundary", gold, mistyped) == (1, 1, 1)
    assert counts("RE strict", gold, mistyped, "uie-string") == (1, 1, 0)
    assert "RE strict" not in {row for _, row in score([example("RE", lives)], [[lives]]).rows}


def test_capabilities_apart() -> None:
    gold = example("EE", SHOOTING, SHOOTING_2)
    # Judging, each once: Attack, Attack-Attacker, Attack-Victim; predicted without the attacker, with Meet.
    predicted = [event("Attack", ("shot", SHOT), Victim=("Ed", ED)), event("Meet", ("met", 4))]
    assert counts("judging", gold, predicted, "capabilities") == (3, 3, 2)
    # Locating: two triggers, four arguments; found are one trigger and Ed, wrong is "met".
    assert counts("locating", gold, predicted, "capabilities") == (6, 3, 2)
    assert counts("associating", gold, predicted, "capabilities") == (2, 2, 0)
    assert [row for _, row in score([example("NER")], [[]], scorer="capabilities").rows] == [
        "judging",
        "locating",
    ]


def test_capability_examples_have_one_row() -> None:
    judged = [Record(frame="Attack", slots=[FilledSlot(slot="Victim")]), Record(frame="Meet")]
    gold = example("judging", *judged, schema=SCHEMAS["EE"])
    for scorer in ("offset", "capabilities"):
        assert counts("judging", gold, judged[:1], scorer) == (3, 2, 2)
    flat = Schema.of(["Attack", "Victim"])
    located = example("locating", entity("Attack", "shot", SHOT), entity("Victim", "Cy", CY), schema=flat)
    assert counts("locating", located, [entity("Victim", "Cy", CY)]) == (2, 1, 1)
    associated = example("associating", SHOOTING, schema=SCHEMAS["EE"])
    assert counts("associating", associated, [SHOOTING, SHOOTING_2]) == (1, 2, 1)


def test_a_slot_without_text_counts_for_judging_only() -> None:
    gold = example("EE", SHOOTING)
    with_null = SHOOTING.model_copy(update={"slots": (*SHOOTING.slots, FilledSlot(slot="Victim"))})
    assert counts("frame", gold, [with_null]) == (1, 1, 1)
    assert counts("EAE linked", gold, [with_null]) == (2, 2, 2)


def test_reports_add_up_texts_and_average_over_datasets() -> None:
    golds = [
        example("NER", *ANNS, dataset="a"),
        example("NER", ANNS[0], dataset="a"),
        example("NER", ANNS[0], dataset="b"),
        example("NER", dataset="empty"),
        example("EE", SHOOTING, dataset="e"),
    ]
    report = score(golds, [ANNS, [], [ANNS[0], ANNS[1]], [], [SHOOTING]])
    # a: 2 of 3 gold found by 2 predictions, F1 80; b: 1 of 1 by 2, F1 66.7; empty: 0.
    assert {row.dataset: row.counts for row in report.of("NER")} == {
        "a": Counts(3, 2, 2),
        "b": Counts(1, 2, 1),
        "empty": Counts(),
    }
    assert report.micro("NER") == Counts(4, 4, 3)
    assert report.mean_f1("NER") == pytest.approx((80 + 200 / 3 + 0) / 3)
    assert report.micro("frame") == Counts(5, 5, 4)
    assert report.micro("frame", task="EE") == Counts(1, 1, 1)
    assert report.mean_f1("unknown") == 0
    assert report.rows == (
        ("NER", "NER"),
        ("NER", "frame"),
        ("EE", "ED"),
        ("EE", "EAE pooled"),
        ("EE", "EAE linked"),
        ("EE", "frame"),
    )
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["scorer"] == "offset"
    assert plain["rows"][0]["micro"] == {
        "precision": 75,
        "recall": 75,
        "f1": 75,
        "gold": 4,
        "predicted": 4,
        "matched": 3,
    }
    assert plain["rows"][0]["datasets"][0]["labels"]["person"]["matched"] == 2


def test_arguments_are_labelled_by_event_and_role() -> None:
    labels = score([example("EE", SHOOTING)], [[SHOOTING]]).of("EAE linked")[0].labels
    assert set(labels) == {"Attack / Attacker", "Attack / Victim"}


def test_the_placing_ceiling_is_what_strings_lose() -> None:
    golds = [
        example("NER", *ANNS),
        # Only the second Ann is gold: as a string it is placed on the first.
        example("NER", ANNS[1]),
        example("EE", SHOOTING, SHOOTING_2),
    ]
    report = placing_ceiling(golds)
    assert report.scorer == "placing ceiling"
    assert report.micro("NER") == Counts(3, 3, 2)
    assert report.micro("EAE linked") == Counts(4, 4, 4)


def test_a_missing_prediction_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        score([example("NER"), example("NER")], [[]])


def test_an_unknown_scorer_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'offset'"):
        score([], [], scorer="ofset")


def test_metrics_do_not_import_torch() -> None:
    program = "import sys, ucuie.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
