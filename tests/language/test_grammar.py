"""What the grammar accepts, what it forces, and that every output it allows is grounded."""

import pickle
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from decode_cases import TEXTS, Language, byte_level, gold, schemas, sentence_piece
from ucuie.engine.grammar_state import (
    GrammarError,
    GrammarFactory,
    GrammarState,
    TargetError,
    allowed_tokens,
    choices,
    is_allowed,
)
from ucuie.errors import ModelError, TextError
from ucuie.language.grammar import build_grammar, chunk_text
from ucuie.language.linearize import ParsedFrame, linearize, parse
from ucuie.schema import Filler, Record, Schema, Task

Case = tuple[Schema, str, list[Record]]
LANGUAGES = pytest.mark.parametrize("language", [byte_level, sentence_piece])
TEXT = "Barack Obama spoke at the U.S. Capitol (really) on Monday. Null and void."
SCHEMA = Schema.of({"Speech": ["Speaker", "Place"], "person": []})


def accepts(target_ids: Sequence[int], state: GrammarState) -> bool:
    state = state.copy()
    try:
        state.consume(target_ids)
    except TargetError:
        return False
    return state.is_stopped


def accepts_text(
    target: str, schema: Schema = SCHEMA, text: str = TEXT, task: Task = "EE", **options: Any
) -> bool:
    language = byte_level()
    state = language.grammars.start(build_grammar(schema, text, task, **options))
    return accepts(language.encode(target), state)


def random_walk(state: GrammarState, seed: int, max_tokens: int = 400) -> list[int]:
    """An output drawn uniformly from the masks, and whether it came to an end."""
    rng, tokens = random.Random(seed), []
    while len(tokens) < max_tokens:
        forced, mask = state.advance()
        tokens += forced
        if mask is None:
            break
        tokens.append(int(rng.choice(allowed_tokens(mask))))
        state.consume(tokens[-1:])
    return tokens


def all_fillers(frames: Iterable[ParsedFrame]) -> Iterator[str | None]:
    for frame in frames:
        yield frame.filler
        yield from (slot.filler for slot in frame.slots)


@LANGUAGES
@given(case=gold(chunking="words"))
def test_every_linearised_gold_record_is_accepted(language: Callable[[], Language], case: Case) -> None:
    schema, text, records = case
    target = language().encode(linearize(records, schema))
    assert accepts(target, language().grammars.start(build_grammar(schema, text, "EE")))


@LANGUAGES
@given(case=gold(chunking="characters"))
def test_spans_of_any_characters_are_accepted_in_character_chunks(
    language: Callable[[], Language], case: Case
) -> None:
    schema, text, records = case
    target = language().encode(linearize(records, schema))
    grammar = build_grammar(schema, text, "EE", chunking="characters")
    assert accepts(target, language().grammars.start(grammar))


@LANGUAGES
@given(
    schema=schemas(), text=TEXTS, seed=st.integers(0, 99), chunking=st.sampled_from(["words", "characters"])
)
def test_everything_accepted_parses_and_stands_in_the_text(
    language: Callable[[], Language], schema: Schema, text: str, seed: int, chunking: str
) -> None:
    state = language().grammars.start(build_grammar(schema, text, "EE", chunking=chunking))
    tokens = random_walk(state, seed)
    parsed = parse(language().grammars.decode(tokens))
    assert state.is_stopped or len(tokens) >= 400
    assert not parsed.dropped or not state.is_stopped
    for frame in parsed.frames:
        slot_names = [slot.name for slot in schema[frame.frame].slots]
        assert [slot.slot for slot in frame.slots] == sorted(
            (slot.slot for slot in frame.slots), key=slot_names.index
        )
        assert frame.filler is not None or frame.frame in schema
    assert all(filler in text for filler in all_fillers(parsed.frames) if filler is not None)


@LANGUAGES
@given(case=gold(chunking="words"))
def test_forced_tokens_are_the_canonical_ones(language: Callable[[], Language], case: Case) -> None:
    schema, text, records = case
    target = language().encode(linearize(records, schema))
    state = language().grammars.start(build_grammar(schema, text, "EE"))
    position = 0
    while position < len(target):
        forced, mask = state.advance()
        assert target[position : position + len(forced)] == forced
        position += len(forced)
        if mask is not None:
            assert is_allowed(mask, target[position])
            state.consume(target[position : position + 1])
            position += 1
    assert state.is_stopped


@pytest.mark.parametrize(
    "target",
    [
        "{}",
        "{(person: Barack Obama): []}",
        "{(person: Null): []}",  # no Null: see below
        "{(Speech: spoke): []}",
        "{(Speech: Null): [(Speaker: Barack Obama), (Speaker: Obama), (Place: U.S. Capitol)]}",
        "{(person: \\Null): [], (person: (really\\) on Monday.): []}",
    ],
)
def test_well_formed_outputs(target: str) -> None:
    assert accepts_text(target) == (target != "{(person: Null): []}")


@pytest.mark.parametrize(
    "target",
    [
        "",
        "{",
        "{(person: Barack Obama): []",
        "{(person: Angela Merkel): []}",
        "{(person:  Obama): []}",
        "{(person: Obama ): []}",
        "{(person: ): []}",
        "{(person: Oba): []}",
        "{(city: Obama): []}",
        "{(person: Obama): [(Speaker: Obama)]}",
        "{(Speech: spoke): [(Place: U.S.), (Speaker: Obama)]}",
        "{(Speech: spoke): [(Speaker: Null)]}",
        "{(Speech: Null): [],}",
        "{(Speech: \\spoke): []}",
        "{} {}",
    ],
)
def test_refused_outputs(target: str) -> None:
    assert not accepts_text(target)


def test_a_span_inside_a_word_needs_characters() -> None:
    assert not accepts_text("{(person: bama): []}")
    assert accepts_text("{(person: bama): []}", chunking="characters")
    assert accepts_text("{(person:  spoke ): []}", chunking="characters")


def test_a_required_slot_is_never_left_out() -> None:
    schema = Schema.of(
        {"frames": [{"name": "work", "slots": ["who", {"name": "where", "required": True}, "when"]}]}
    )
    assert accepts_text("{(work: Null): [(where: Null)]}", schema)
    assert accepts_text(
        "{(work: Null): [(who: Obama), (where: U.S.), (where: Capitol), (when: Monday)]}", schema
    )
    assert not accepts_text("{(work: Null): []}", schema)
    assert not accepts_text("{(work: Null): [(who: Obama)]}", schema)
    assert not accepts_text("{(work: Null): [(who: Obama), (when: Monday)]}", schema)
    assert not accepts_text("{(work: Null): [(where: Null), (where: Null)]}", schema)


def test_judging_names_each_type_once_in_any_order() -> None:
    schema = Schema.of({"Speech": ["Speaker", "Place"], "person": [], "city": []})
    for target in (
        "{}",
        "{(Speech: Null): [(Speaker: Null), (Place: Null)], (person: Null): []}",
        "{(city: Null): [], (Speech: Null): [(Place: Null)], (person: Null): []}",
    ):
        assert accepts_text(target, schema, task="judging")
    for target in (
        "{(city: Null): [], (city: Null): []}",
        "{(city: Obama): []}",
        "{(Speech: Null): [(Place: Null), (Place: Null)]}",
        "{(Speech: Null): [(Place: Null), (Speaker: Null)]}",
    ):
        assert not accepts_text(target, schema, task="judging")


@pytest.mark.parametrize("num_frames", [1, 64, 65, 168])
def test_judging_counts_any_number_of_frames(num_frames: int) -> None:
    names = [f"type {index}" for index in range(num_frames)]
    everything = "{" + ", ".join(f"({name}: Null): []" for name in reversed(names)) + "}"
    assert accepts_text(everything, Schema.of(names), task="judging")


def test_elements_are_the_only_fillers() -> None:
    strings = ["Barack Obama", "a)b", "Null"]
    located = [Filler(text=string, start=0, end=len(string)) for string in strings]
    elements = [Record(frame="element", filler=filler) for filler in located]
    options = {"task": "associating", "elements": elements}
    assert accepts_text("{(Speech: a\\)b): [(Speaker: Barack Obama), (Place: \\Null)]}", **options)
    assert not accepts_text("{(Speech: spoke): []}", **options)
    assert not accepts_text("{(person: Obama): []}", **options)
    assert accepts_text("{}", task="associating", elements=[])
    assert not accepts_text("{(Speech: Null): []}", task="associating", elements=[])


def test_a_text_that_is_only_null() -> None:
    assert accepts_text("{(person: \\Null): []}", text="Null")
    assert not accepts_text("{(person: Null): []}", text="Null")


def test_no_grammar_is_built_for_a_blank_text() -> None:
    with pytest.raises(TextError, match="empty"):
        build_grammar(SCHEMA, " \n ", "EE")


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("U.S. 3mg  O'Hara_2", ["U", ".", "S", ".", " ", "3", "mg", "  ", "O", "'", "Hara", "_", "2"]),
        ("na\u00efve cafe\u0301s", ["na\u00efve", " ", "cafe\u0301s"]),
        ("中国 한국", ["中", "国", " ", "한", "국"]),
        ("हिन्दी में", ["हिन्दी", " ", "में"]),
        ("\U0001f468\u200d\U0001f467\n", ["\U0001f468\u200d\U0001f467", "\n"]),
    ],
)
def test_words_are_whole_but_scripts_without_blanks_are_not(text: str, chunks: list[str]) -> None:
    assert chunk_text(text, "words") == chunks
    assert "".join(chunk_text(text, "characters")) == text


@given(text=TEXTS)
def test_chunks_are_the_text(text: str) -> None:
    assert "".join(chunk_text(text, "words")) == text


class TestChoices:
    def start(self, **options: Any) -> GrammarState:
        return byte_level().grammars.start(build_grammar(SCHEMA, TEXT, "EE", **options))

    def test_they_are_where_the_decoder_asks_the_model(self) -> None:
        target = byte_level().encode("{(Speech: spoke): [(Speaker: Obama)], (person: \\Null): []}")
        _, positions, masks = choices(target, self.start())
        state, written, asked = self.start(), [], []
        while True:
            forced, mask = state.advance()
            written += forced
            if mask is None:
                break
            asked.append((len(written), mask))
            written.append(target[len(written)])
            state.consume(written[-1:])
        assert written == target
        assert positions.tolist() == [position for position, _ in asked]
        assert np.array_equal(masks, np.stack([mask for _, mask in asked]))
        assert len(positions) < len(target)
        assert all(
            is_allowed(mask, target[position]) for position, mask in zip(positions, masks, strict=True)
        )
        assert all(len(allowed_tokens(mask)) > 1 for mask in masks)

    @pytest.mark.parametrize("name", ["major shareholders", "major shareholder of"])
    def test_names_that_begin_alike_are_spelled_as_the_decoder_forces_them(self, name: str) -> None:
        tokenizer = AutoTokenizer.from_pretrained(resources.files("ucuie") / "models/ucuie-mini/backbone")
        grammars = GrammarFactory(tokenizer)
        grammar = build_grammar(Schema.of(["major shareholders", "major shareholder of"]), TEXT, "NER")
        text = f"{{({name}: Obama): []}}"
        given_ids = tokenizer.encode(text, add_special_tokens=False)
        target, positions, _ = choices(given_ids, grammars.start(grammar))
        assert grammars.decode(target) == text
        state, written, asked = grammars.start(grammar), [], []
        while (advanced := state.advance())[1] is not None:
            written += advanced[0]
            asked.append(len(written))
            written.append(target[len(written)])
            state.consume(written[-1:])
        assert written + advanced[0] == target
        assert positions.tolist() == asked
        for length in range(len(given_ids)):
            cut, cut_positions, _ = choices(given_ids[:length], grammars.start(grammar))
            assert text.startswith(grammars.decode(cut))
            assert len(cut_positions) <= len(positions)

    def test_masks_are_packed_for_the_models_vocabulary(self) -> None:
        vocab_size = byte_level().grammars.vocab_size
        _, positions, masks = choices(byte_level().encode("{}"), self.start())
        assert masks.dtype == np.int32
        assert masks.shape == (len(positions), -(-vocab_size // 32))
        assert allowed_tokens(masks[0]).max() < len(byte_level().tokenizer)

    def test_a_target_cut_at_the_end_gives_the_same_first_choices(self) -> None:
        target = byte_level().encode("{(Speech: spoke): [(Speaker: Barack Obama)]}")
        _, positions, masks = choices(target, self.start())
        for length in range(len(target)):
            _, cut_positions, cut_masks = choices(target[:length], self.start())
            assert cut_positions.tolist() == [position for position in positions if position < length]
            assert np.array_equal(cut_masks, masks[: len(cut_positions)])

    def test_a_target_that_is_not_accepted_names_the_token(self) -> None:
        target = byte_level().encode("{(person: Angela): []}")
        with pytest.raises(TargetError, match=r"does not allow token \d+ .*person") as caught:
            choices(target, self.start())
        assert caught.value.position < len(target)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    def test_a_target_that_goes_on_after_the_end_is_refused(self) -> None:
        target = byte_level().encoder.encode_target("{}")
        with pytest.raises(TargetError):
            choices(target, self.start())


class TestGrammarState:
    def start(self) -> GrammarState:
        return byte_level().grammars.start(build_grammar(SCHEMA, TEXT, "EE"))

    def test_a_refused_token_changes_nothing(self) -> None:
        state = self.start()
        before = state.mask()
        with pytest.raises(TargetError):
            state.consume(byte_level().encode("{(city"))
        assert np.array_equal(state.mask(), before)

    def test_rollback_and_copies_go_back_to_the_same_choice(self) -> None:
        state = self.start()
        mask = state.mask()
        copy = state.copy()
        tokens = byte_level().encode("{(person: Obama")
        state.consume(tokens)
        state.rollback(len(tokens))
        assert np.array_equal(state.mask(), mask)
        assert np.array_equal(copy.mask(), mask)

    def test_after_the_end_nothing_follows(self) -> None:
        state = self.start()
        state.consume(byte_level().encode("{}"))
        assert state.is_stopped
        assert state.advance() == ([], None)

    def test_a_grammar_that_does_not_compile_raises(self) -> None:
        with pytest.raises(GrammarError):
            byte_level().grammars.start("start: nothing")


def test_special_tokens_are_spelled_in_plain_characters() -> None:
    schema = Schema.of({"</s>": ["<s>"]})
    language = byte_level()
    text = "the </s> and <s>"
    target = language.encode("{(</s>: </s>): [(<s>: <s>)]}")
    _, positions, masks = choices(target, language.grammars.start(build_grammar(schema, text, "EE")))
    assert positions.size
    special = set(language.tokenizer.all_special_ids)
    assert not special.intersection(target)
    assert not any(is_allowed(mask, token) for mask in masks for token in special)


def test_a_model_smaller_than_its_tokenizer_is_refused() -> None:
    with pytest.raises(ModelError, match="do not belong together"):
        GrammarFactory(byte_level().tokenizer, 100)


def tokenizer_of_letters(decoder: decoders.Decoder) -> PreTrainedTokenizerFast:
    vocab = {character: index for index, character in enumerate("{}()[]:Ġ,person")}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(), decoder
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")


def test_a_tokenizer_that_does_not_spell_bytes_is_refused() -> None:
    with pytest.raises(ModelError, match="byte by byte"):
        GrammarFactory(tokenizer_of_letters(decoders.Fuse()))


def test_a_text_that_the_tokenizer_cannot_spell_is_an_error_not_a_loop() -> None:
    tokenizer = tokenizer_of_letters(decoders.ByteLevel())
    state = GrammarFactory(tokenizer).start(build_grammar(Schema.of(["person"]), "Ω", "NER"))
    state.consume(tokenizer.convert_tokens_to_ids(["{", "("]))
    with pytest.raises(GrammarError, match="no tokens"):
        state.advance()


def test_equal_slots_share_their_rules() -> None:
    schema = Schema.of({f"relation {index}": ["subject", "object"] for index in range(50)})
    assert build_grammar(schema, TEXT, "RE").count('"(subject: "') == 2


@settings(max_examples=20)
@given(schema=schemas(), text=TEXTS, seed=st.integers(0, 9))
def test_judging_walks_name_types_only(schema: Schema, text: str, seed: int) -> None:
    language = byte_level()
    state = language.grammars.start(build_grammar(schema, text, "judging"))
    parsed = parse(language.grammars.decode(random_walk(state, seed, max_tokens=2000)))
    assert not parsed.dropped
    assert len({frame.frame for frame in parsed.frames}) == len(parsed.frames)
    assert all(filler is None for filler in all_fillers(parsed.frames))


@pytest.mark.parametrize("slots", [[], ["a", "b"]], ids=["entities", "relations"])
def test_a_schema_may_have_thousands_of_types(slots: list[str]) -> None:
    schema = Schema.of({f"type {number}": slots for number in range(5000)})
    assert accepts_text("{(type 4321: Obama): []}", schema, "Obama spoke.")
