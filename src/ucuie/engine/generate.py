"""Lets a causal language model write outputs under their grammars: many at once, each at its own pace.

In: token ids of instruction and text with the grammar of each. Out: the tokens written, and for every choice
that the grammar left, how likely each allowed token was. Instructions are computed once and kept; forced
tokens are fed in one piece without asking the model; a finished output makes room for the next text at once.
How a forward is computed is `forward`. Knows no schema and no record.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from ucuie.engine.cache import Prefix, PrefixCache, SlotCache, SpareMemory
from ucuie.engine.forward import Forward, Logits, Model
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.engine.requests import SHORTEST_OUTPUT, Choice, Output, Request
from ucuie.engine.writer import Beam, Search, Writer
from ucuie.errors import TextError

MAX_STEP_TOKENS = 4096
"""No further text is taken into a forward that has so many tokens to read."""
MOST_OUTPUT_PER_PROMPT = 8
"""An output that is so many times as long as its instruction and text together goes in circles."""
CACHE_BYTES = 256 * 2**20
"""What the outputs being written may hold in memory."""
CACHE_SHARE = 1 / 8
"""Of a GPU's free memory they may hold so much, where that is more."""
DRAFTS_ALONE = 3
"""Tokens guessed ahead for an output that is written alone."""


@dataclass
class Work:
    """The work of a generator, in counts."""

    forwards: int = 0
    """Of the model, those for instructions included."""
    tokens_read: int = 0
    """By the model, drafts included."""
    tokens_written: int = 0
    choices: int = 0
    drafted: int = 0
    """Tokens that were guessed and read along."""
    accepted: int = 0
    """Of these, what the model would have written."""


class _Waiting:
    """Requests with their indices; one may be looked at before it is taken."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self._requests = enumerate(requests)
        self.head = next(self._requests, None)

    def take(self) -> None:
        """The next request becomes the head."""
        self.head = next(self._requests, None)


class Generator:
    """Writes outputs with one model.

    It keeps the caches of the last instructions: make a new one after the model's weights or adapter changed.

    Args:
        model: a causal language model of `transformers`, with or without a PEFT adapter, in evaluation mode.
        grammars: for the model's tokenizer and the width of its logits.
        max_new_tokens: where an output is cut; also cut where the model's context ends.
        batch_size: outputs that are written at the same time.
        num_drafts: tokens guessed ahead, by n-grams of the text, and checked in the same forward, where an
            output has one beam. The outputs are the same; it pays where a forward of a few more tokens costs
            no more time: on a GPU, and for an output that is written alone, which None is for.
        cache_bytes: about what the outputs being written may hold in memory, and the kept instructions half
            of it; fewer outputs are written at the same time where texts are long. None takes CACHE_SHARE of
            a GPU's free memory, at least CACHE_BYTES.
        may_copy: the weights of a small model are copied, laid out for what is done here; False where they
            are shared with other models.
        int8: products with large weights are rounded to 8 bits. Outputs may differ; on a CPU only, and only
            where weights may be copied.

    Raises:
        ModelError: the model's attention cannot be replaced, or its weights cannot be rounded.
        ValueError: the model is in training mode.
    """

    def __init__(
        self,
        model: Model,
        grammars: GrammarFactory,
        *,
        max_new_tokens: int = 512,
        batch_size: int = 32,
        num_drafts: int | None = None,
        cache_bytes: int | None = None,
        may_copy: bool = True,
        int8: bool = False,
    ) -> None:
        if model.training:
            raise ValueError(
                "the model is in training mode, where dropout makes outputs random; call model.eval()"
            )
        self.model = model
        self.grammars = grammars
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.num_drafts = num_drafts
        self.work = Work()
        self.before_forward: Callable[[], None] = lambda: None
        """Called before each forward for outputs; what it raises ends the work."""
        self._forward = Forward(model, may_copy=may_copy, int8=int8)
        self.cache_bytes = _cache_bytes(self._forward.device) if cache_bytes is None else cache_bytes
        self._prefixes = PrefixCache(self.cache_bytes // 2)
        self._spare = SpareMemory(self.cache_bytes)

    def generate(self, requests: Sequence[Request]) -> list[Output]:
        """The output of each request, in their order. Equal requests give equal outputs.

        Raises:
            TextError: an instruction and text leave no room for an output in the model's context; nothing
                is written then.
        """
        for request in requests:
            self.budget(request)
        outputs = dict(self.stream(requests))
        return [outputs[index] for index in range(len(requests))]

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Output]]:
        """The index and output of each request, as soon as it is finished; requests are taken when needed.

        Raises:
            TextError: an instruction and text leave no room for an output in the model's context.
            ValueError: a request has no beam, or more than the batch has room for.
        """
        waiting = _Waiting(requests)
        cache = SlotCache(self._spare)
        rows: list[Beam] = []
        try:
            while True:
                yield from self._admit(waiting, rows)
                if not rows:
                    return
                yield from self._step(rows, cache)
        finally:
            cache.release()

    def budget(self, request: Request) -> int:
        """How many tokens the output may have.

        Raises:
            TextError: the context is full before the output begins.
        """
        context = self.context
        num_instruction, num_text = len(request.instruction_ids), len(request.text_ids)
        longest = min(self.max_new_tokens, MOST_OUTPUT_PER_PROMPT * (num_instruction + num_text))
        if context is None:
            return longest
        room = context - num_instruction - num_text
        if room < SHORTEST_OUTPUT:
            raise TextError(
                f"the text has {num_text:,} tokens and the instruction with its schema {num_instruction:,}; "
                f"the model's context of {context:,} leaves no room for an output. Split the text, or ask "
                "for fewer types at once"
            )
        return min(longest, room)

    @property
    def context(self) -> int | None:
        """Tokens of the longest prompt with its output: the model's own limit, or its sliding window."""
        config = self.model.config
        limits = (getattr(config, name, None) for name in ("max_position_embeddings", "sliding_window"))
        return min((limit for limit in limits if limit is not None), default=None)

    def _admit(self, waiting: _Waiting, rows: list[Beam]) -> Iterator[tuple[int, Output]]:
        """Take requests while there is room for all of their beams; some outputs need no model at all."""
        num_slots = sum({id(row.search): row.search.width for row in rows}.values())
        num_tokens = sum(len(row.reads) for row in rows)
        longest = max((len(row.writer.text_ids) for row in rows), default=0)
        while waiting.head is not None and num_tokens < MAX_STEP_TOKENS:
            index, request = waiting.head
            if not 1 <= request.num_beams <= self.batch_size:
                raise ValueError(f"{request.num_beams} beams do not fit into a batch of {self.batch_size}")
            longest = max(longest, len(request.text_ids))
            num_slots += request.num_beams
            if num_slots > self.batch_size or (
                rows and num_slots * longest > self._cache_tokens(rows[0].prefix)
            ):
                return
            waiting.take()
            writer = Writer(self.grammars, request, self.budget(request))
            search = Search(writer, request.num_beams)
            if writer.is_finished:
                num_slots -= request.num_beams
                yield self._finished(index, search)
                continue
            rows.append(Beam(index, writer, search, self._prefix(request)))
            num_tokens += len(writer.pending)

    def _step(self, rows: list[Beam], cache: SlotCache) -> Iterator[tuple[int, Output]]:
        """One forward, and what all rows make of it; the outputs that it finished."""
        self.before_forward()
        logits = self._forward(rows, cache)
        self.work.forwards += 1
        self.work.tokens_read += sum(len(row.reads) for row in rows)
        num_drafts = self.num_drafts
        if num_drafts is None:
            num_drafts = DRAFTS_ALONE if len(rows) == 1 else 0
        searched: dict[int, list[int]] = {}
        for slot, (row, scores) in enumerate(zip(rows, logits, strict=True)):
            if row.search.width == 1:
                self._write(row, scores, num_drafts=num_drafts)
            else:
                searched.setdefault(id(row.search), []).append(slot)
        for slots in searched.values():
            self._search(rows, slots, [logits[slot][0] for slot in slots], cache)
        for slot in reversed(range(len(rows))):
            row = rows[slot]
            if row.writer.is_finished:
                row.search.finish(row.writer)
            elif not row.is_lost and not row.search.is_hopeless(row.writer):
                continue
            # The last slot moves into the gap.
            last = rows.pop()
            if last is not row:
                rows[slot] = last
                cache.copy(len(rows), slot, last.length)
            if all(other.search is not row.search for other in rows):
                yield self._finished(row.index, row.search)

    def _finished(self, index: int, search: Search) -> tuple[int, Output]:
        output = search.output()
        self.work.tokens_written += len(output.tokens)
        self.work.choices += len(output.choices)
        return index, output

    def _write(self, row: Beam, logits: Logits, *, num_drafts: int) -> None:
        """Write the likeliest token, and go on as long as the draft said the same."""
        row.length += len(row.writer.pending)
        for place, scores in enumerate(logits):
            row.writer.write(self.choose(row, scores))
            if place == len(row.draft) or row.writer.is_finished or row.writer.pending != row.draft[place]:
                break
            row.length += len(row.draft[place])
            self.work.accepted += len(row.draft[place])
        row.draft = []
        if num_drafts and not row.writer.is_finished:
            row.draft = row.writer.draft(num_drafts)
            self.work.drafted += sum(map(len, row.draft))

    def choose(self, row: Beam, logits: Logits) -> Choice:
        """The likeliest choice, where the output is not searched with beams."""
        return row.writer.candidates(logits, 1)[0]

    def _search(
        self, rows: list[Beam], slots: Sequence[int], logits: Sequence[Logits], cache: SlotCache
    ) -> None:
        """Go on with the likeliest candidates of one search: a beam with several forks, others are lost."""
        beams = [rows[slot].writer for slot in slots]
        for slot in slots:
            rows[slot].length += len(rows[slot].writer.pending)
        candidates = rows[slots[0]].search.step(beams, logits)
        slot_of = {id(writer): slot for writer, slot in zip(beams, slots, strict=True)}
        sources = [slot_of[id(candidate.writer)] for candidate in candidates]
        spare = [slot for slot in slots if slot not in sources]
        forks = [candidate.writer.fork() for candidate in candidates]
        for place, (source, candidate, writer) in enumerate(zip(sources, candidates, forks, strict=True)):
            writer.write(candidate.choice)
            row = replace(rows[source], writer=writer)
            if source not in sources[:place]:
                rows[source] = row
                continue
            target = spare.pop() if spare else len(rows)
            rows[target : target + 1] = [row]
            cache.copy(source, target, row.length)
        for slot in spare:
            rows[slot].is_lost = True

    def _prefix(self, request: Request) -> Prefix:
        key = (tuple(request.instruction_ids), request.capability_labels, self._forward.enabled)
        prefix = self._prefixes.get(key)
        if prefix is None:
            prefix = self._forward.prefix(request)
            self.work.forwards += 1
            self.work.tokens_read += len(request.instruction_ids)
            self._prefixes.add(key, prefix)
        return prefix

    def _cache_tokens(self, prefix: Prefix) -> int:
        """How many tokens of texts may be in the slots; their outputs take about as much again."""
        return self.cache_bytes * prefix.length // prefix.num_bytes // 2


def _cache_bytes(device: torch.device) -> int:
    """CACHE_SHARE of a GPU's free memory, and at least CACHE_BYTES."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    return max(CACHE_BYTES, int(CACHE_SHARE * free))
