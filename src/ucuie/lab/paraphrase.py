"""Widens an instruction pool with paraphrases that a chat model writes.

Every wording that a person wrote is paraphrased; paraphrases are not, so meaning cannot drift from step
to step. What the model answers is checked line by line, and what fails is returned with the reason. The
checks see form and language, not meaning: read what was added before training on it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from ucuie.extract.remote.client import ChatClient, Endpoint
from ucuie.extract.remote.session import Session, requests
from ucuie.language.pool import (
    INSTRUCTION_TASKS,
    PLACEHOLDER,
    InstructionPool,
    InstructionTask,
    ParaphraseOrigin,
    Wording,
    wording_faults,
)

MAX_SIMILARITY = 0.75
"""Jaccard index of two wordings' words from which on they count as the same."""

_SYSTEM = (
    "You rewrite instructions given to an information extraction model. "
    "Answer with the rewritten instructions only, one per line, without numbers, quotes or formatting."
)
_REQUEST = """\
Write {count} paraphrases of the instruction below, in its own language. {note} Keep its meaning exactly; \
vary length, register and sentence structure. Each is a single line with the placeholder {{schema}} in it \
exactly once, where the list of types goes.

{base}"""
_TASK_NOTES: dict[InstructionTask, str] = {
    "NER": "It asks for the entities of given types in a text.",
    "RE": "It asks for the relations of given types in a text, with subject and object.",
    "EE": "It asks for the events of given types in a text, with trigger and arguments.",
    "ABSA": "It asks for pairs of aspect and opinion in a text, by sentiment polarity.",
    "judging": "It asks which of the given types occur in a text, without the words that express them.",
    "locating": "It asks for all text spans of given types, without how they belong together.",
    "associating": "It asks to combine spans that are given after a text into complete records.",
}


@dataclass(frozen=True)
class Rejected:
    """A line of an answer that did not become a wording, and why."""

    task: InstructionTask
    base: str
    text: str
    reason: str


@dataclass(frozen=True)
class WidenedPool:
    """The pool with its new wordings, which follow the old ones, and the lines that were rejected."""

    pool: InstructionPool
    num_added: int
    rejected: tuple[Rejected, ...]

    def summary(self) -> str:
        """How many were added, and how many were rejected for which reason; one line each."""
        count = Counter(rejected.reason for rejected in self.rejected)
        lines = [f"{self.num_added:,} added, {len(self.rejected):,} rejected"]
        lines += [f"  {number:,}  {reason}" for reason, number in count.most_common()]
        return "\n".join(lines)


def widen_pool(
    pool: InstructionPool,
    endpoint: Endpoint,
    *,
    today: date,
    num_paraphrases: int = 4,
    tasks: Iterable[InstructionTask] = INSTRUCTION_TASKS,
) -> WidenedPool:
    """The pool with up to `num_paraphrases` more wordings for each that a person wrote.

    Args:
        pool: is not changed.
        endpoint: the model that paraphrases; asked once per wording.
        today: recorded as the day of the new wordings.
        num_paraphrases: per wording, at most.
        tasks: those to paraphrase.

    Raises:
        ConfigError: a task is unknown, or the endpoint's URL or API key cannot be used.
        EndpointError: the endpoint cannot be reached or refuses.
    """
    wordings = {task: list(of_task) for task, of_task in pool.entries.items()}
    known = [wording.text for of_task in pool.entries.values() for wording in of_task]
    rejected: list[Rejected] = []
    num_known = len(known)
    languages = {task: language_of(" ".join(pool.wordings(task))) for task in tasks}
    bases = [(task, one.text) for task in languages for one in pool.entries[task] if one.origin == "written"]
    with requests(ChatClient(endpoint, num_concurrent=1)) as submit:
        for task, base in bases:
            request = _REQUEST.format(count=num_paraphrases, note=_TASK_NOTES[task], base=base)
            messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": request}]
            lines = _lines(submit(Session.ask, messages, {}).result().content)
            origin = ParaphraseOrigin(model=endpoint.model, base=base, date=today)
            room = num_paraphrases
            for text in lines:
                faults = paraphrase_faults(text, base, known, language=languages[task])
                if not faults and room == 0:
                    faults = ["it is one more than were asked for"]
                if faults:
                    rejected.append(Rejected(task, base, text, "; ".join(faults)))
                    continue
                room -= 1
                known.append(text)
                wordings[task].append(Wording(text=text, origin=origin))
            if not lines:
                rejected.append(Rejected(task, base, "", "the answer is empty"))
    widened = InstructionPool(entries={task: tuple(of_task) for task, of_task in wordings.items()})
    return WidenedPool(widened, len(known) - num_known, tuple(rejected))


def paraphrase_faults(
    text: str, base: str, known: Collection[str], *, language: str | None = None
) -> list[str]:
    """Why a text is no good paraphrase of a base beside the known wordings, one reason each; empty if it is.

    `language` is that of the pool, for wordings too short to tell (see `language_of`).
    """
    length, base_length = len(text) - len(PLACEHOLDER), len(base) - len(PLACEHOLDER)
    languages = {language_of(text), language_of(base) or language} - {None}
    similarity = max((_similarity(text, other) for other in known), default=0.0)
    faults = {
        "it has invisible characters": not text.isprintable(),
        "it has markup or quotes": _MARKUP.search(text)
        or (text.startswith(_QUOTES) and text.endswith(_QUOTES)),
        "it is much shorter or longer than its base": (
            not base_length / 10 <= length <= max(3 * base_length, _ALWAYS_ALLOWED_LENGTH)
        ),
        "it is in another script than its base": _script_of(text) != _script_of(base),
        "it is in another language than its base": len(languages) > 1,
        "there is one with the same words": similarity == 1,
        "there is one with nearly the same words": MAX_SIMILARITY <= similarity < 1,
    }
    return [*wording_faults(text), *(fault for fault, is_there in faults.items() if is_there)]


def language_of(text: str) -> str | None:
    """The code of the language most of whose stop words a text has; None below two or if several lead.

    A heuristic over seven languages in Latin script: enough to notice an answer in the wrong one, and
    silent where it does not know. Other scripts are told apart by `_script_of` alone.
    """
    words = re.findall(r"\w+", text.casefold())
    count = {code: sum(word in stop_words for word in words) for code, stop_words in _STOP_WORDS.items()}
    most = max(count.values())
    leading = [code for code, number in count.items() if number == most]
    return leading[0] if most > 1 and len(leading) == 1 else None


# Underscores and angle brackets included: they are Markdown, HTML or the special tokens of chat templates.
_MARKUP = re.compile(r"[*_`#<>|~\\\[\]\"“”„«»]|https?:")
_LIST_MARKER = re.compile(r"^(?:[-*•]|\d{1,3}[.)])\s+")
_QUOTES = ("'", "\N{LEFT SINGLE QUOTATION MARK}", "\N{RIGHT SINGLE QUOTATION MARK}")
_ALWAYS_ALLOWED_LENGTH = 100

_STOP_WORDS = {
    code: frozenset(words.split())
    for code, words in {
        "en": "the of and to in is that for it with as on this by from what which are be all every each find "
        "any text one list",
        "de": "der die das und ist in zu den von mit für auf ein eine im alle jede nach aus finde welche",
        "fr": "le la les et des de du un une dans est en que qui pour par sur toutes tous chaque texte quels",
        "es": "el la los las y de del un una en es que por para con todas todos cada texto qué encuentra",
        "it": "il la i gli le e di del della un una in è che per con tutte tutti ogni testo quali trova",
        "pt": "o a os as e de do da um uma em é que por para com todas todos cada texto quais encontre",
        "nl": "de het een en van in is dat op te voor met alle elke uit tekst welke vind zijn deze",
    }.items()
}


def _lines(answer: str) -> list[str]:
    """What an answer proposes; reasoning models may think aloud first."""
    lines = answer.rpartition("</think>")[2].splitlines()
    return [_LIST_MARKER.sub("", line.strip(), count=1) for line in lines if line.strip()]


@lru_cache(maxsize=10_000)
def _words(text: str) -> frozenset[str]:
    """The words of a wording; a character each where a script sets no blanks between them."""
    bare = text.replace(PLACEHOLDER, " ").casefold()
    return frozenset(re.findall(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+", bare))


def _similarity(first: str, second: str) -> float:
    """The Jaccard index of the words of two wordings, from 0 (none shared) to 1 (the same words)."""
    words = _words(first), _words(second)
    return len(words[0] & words[1]) / max(len(words[0] | words[1]), 1)


def _script_of(text: str) -> str | None:
    """The script of most letters of a wording, as Unicode names it: LATIN, CYRILLIC, CJK."""
    letters = filter(str.isalpha, text.replace(PLACEHOLDER, ""))
    scripts = (unicodedata.name(letter, "UNNAMED").split()[0] for letter in letters)
    count = Counter("CJK" if script in {"HIRAGANA", "KATAKANA"} else script for script in scripts)
    return count.most_common(1)[0][0] if count else None
