"""Few-NERD: sentences of Wikipedia with 66 fine types of named entities.

They come as the prompts of ADELIE, JSON lines of conversations whose answers name the entities in the order
of the text, without offsets:

    {"messages": [{"role": "user", "content": "... Text: 'The Russian rifle AN-94 fires fast . '"},
                  {"role": "assistant", "content": "[Answer]: Russian: location_GPE; AN-94: ...; "}]}

The fine types mark off "other person" from politicians and artists. As whoever asks for persons wants all of
them, a third of the sentences has the coarse types of the same corpus instead.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from making.sources.mending import natural
from making.sources.numbering import Examples, share
from making.sources.source import Source
from making.sources.unify import types_of, unified
from ucuie.data import Fault
from ucuie.data.draft import Draft, entity

SHARE_OF_COARSE_TYPES = 1 / 3
FINE = types_of("""
    person_actor | actor | A person who acts in films, plays or on television.
    person_artist/author | artist or author | A person who writes, paints, composes or performs.
    person_athlete | athlete | A person who takes part in sports.
    person_director | director | A person who directs films, plays or programmes.
    person_politician | politician | A person who rules, or holds or seeks political office.
    person_scholar | scholar | A person who does research or teaches at a university.
    person_soldier | soldier | A person who serves in armed forces.
    person_other | other person | A named person of none of the other kinds.
    organization_company | company | A business that sells goods or services.
    organization_education | educational institution | A school, college or university.
    organization_government/governmentagency | government agency | A government, court or authority.
    organization_media/newspaper | media organization | A newspaper, magazine, broadcaster or publisher.
    organization_politicalparty | political party
    organization_religion | religious organization | A church, order or other religious community.
    organization_showorganization | band or performing group | A band, orchestra, theatre company or the like.
    organization_sportsleague | sports league
    organization_sportsteam | sports team
    organization_other | other organization | A named organization of none of the other kinds.
    location_GPE | geopolitical entity | A country, state, city or other place with a government.
    location_bodiesofwater | body of water | A sea, lake, river, canal or bay.
    location_island | island
    location_mountain | mountain | A mountain or a range of mountains.
    location_park | park | A park or a nature reserve.
    location_road/railway/highway/transit | road or railway | A street, highway, railway line or station.
    location_other | other location | A named place of none of the other kinds.
    building_airport | airport
    building_hospital | hospital
    building_hotel | hotel
    building_library | library
    building_restaurant | restaurant
    building_sportsfacility | sports facility | A stadium, arena or other place for sports.
    building_theater | theater | A building for plays, operas or concerts.
    building_other | other building | A named building of none of the other kinds.
    art_broadcastprogram | broadcast program | A series or show on television or radio.
    art_film | film
    art_music | musical work | A song, album or composition.
    art_painting | painting
    art_writtenart | written work | A book, poem, play, magazine or article.
    art_other | other work of art | A work of art of none of the other kinds.
    product_airplane | aircraft | A model or type of aircraft.
    product_car | car | A model or brand of cars.
    product_food | food or drink
    product_game | game | A video game, board game or other game.
    product_ship | ship | A ship by name, or a class of ships.
    product_software | software | A program, operating system, website or online service.
    product_train | train | A locomotive or train, by name or model.
    product_weapon | weapon
    product_other | other product | A product of none of the other kinds.
    event_attack/battle/war/militaryconflict | war or battle | A war, battle, attack or other armed conflict.
    event_disaster | disaster | A natural disaster or an accident.
    event_election | election
    event_protest | protest | A protest, uprising or revolution.
    event_sportsevent | sports event | A championship, tournament, season or game.
    event_other | other event | A named event of none of the other kinds.
    other_astronomything | astronomical object | A star, planet, galaxy, constellation or the like.
    other_award | award | A prize, medal, title or other honour.
    other_biologything | biological entity | A gene, protein, cell or other term of biology.
    other_chemicalthing | chemical | A chemical element, compound or material.
    other_currency | currency | A currency or an amount of money.
    other_disease | disease
    other_educationaldegree | educational degree
    other_god | deity | A god, goddess or other divine being.
    other_language | language
    other_law | law | A law, treaty, regulation or constitution.
    other_livingthing | living thing | A species or other group of animals or plants.
    other_medical | medical term | A field, drug, device or treatment of medicine.
""")
COARSE = types_of("""
    person | person | A person by name.
    organization | organization | A company, institution, team, band or other named group.
    location | location | A country, city, road, body of water or other place.
    building | building | A named building, such as an airport, hotel or theater.
    art | work of art | A film, book, song, painting or other creative work.
    product | product | Something made to be used, such as software, a car or a weapon.
    event | event | A war, sports event, disaster, election or other named event.
""")
TYPES = FINE | COARSE
COARSE_TYPES = (*COARSE, *(label for label in FINE if label.startswith("other_")))

_TEXT = re.compile(r"Text: '((?:(?!Text: ').)*?) '(?=$|\"|\n|\. Label|Please|No(?:ne| entities) )", re.DOTALL)
_ENTITY = re.compile(rf"(.+?): ({'|'.join(map(re.escape, FINE))});\s*")
_CLITIC = re.compile(r" 's$")


def read(folder: Path) -> Examples:
    """The sentences of all prompts, worked examples within them included."""
    return unified("few_nerd", _drafts(folder), TYPES)


def _drafts(folder: Path) -> Iterator[Draft | Fault]:
    for path in sorted(folder.rglob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            messages = json.loads(line)["messages"]
            for question, answer in zip(messages[::2], messages[1::2], strict=True):
                yield _draft(f"{path.name} line {number}", question["content"], answer["content"])


def _draft(place: str, question: str, answer: str) -> Draft | Fault:
    texts = _TEXT.findall(question)
    if not texts:
        return Fault(place, "no text in the prompt")
    # Both ways of quoting stand at either end; plain marks in turn open and close.
    text, answer = (
        re.sub("``|''", '"', one) for one in (texts[-1], answer.removeprefix("[Answer]:").strip())
    )
    entities = [(string.strip(), label) for string, label in _ENTITY.findall(answer)]
    # "NA" says that there are no entities; an empty answer stands for a sentence with some at least once.
    if not answer or _ENTITY.sub("", answer) not in ("", "NA"):
        return Fault(place, "answer in another form")
    records, position = [], 0
    for string, label in entities:
        start = text.find(string, position)
        if start < 0:
            return Fault(place, "entity not in the text")
        position = start + len(string)
        records.append(entity(label, text, (start, start + len(_CLITIC.sub("", string)))))
    named = Counter(string for string, _ in entities)
    if any(len(re.findall(rf"(?<!\S){re.escape(one)}(?!\S)", text)) > count for one, count in named.items()):
        return Fault(place, "entity stands more often in the text than in the answer")
    return _coarse(natural(Draft(place, text, tuple(records))))


def _coarse(draft: Draft) -> Draft:
    """The draft with the coarse types if it is one of those that have them."""
    if share(draft.text) >= SHARE_OF_COARSE_TYPES:
        return Draft(draft.place, draft.text, draft.records, tuple(FINE), draft.changes)
    records = tuple(
        one
        if one.frame.startswith("other_")
        else one.model_copy(update={"frame": one.frame.partition("_")[0]})
        for one in draft.records
    )
    return Draft(draft.place, draft.text, records, COARSE_TYPES, draft.changes)


SOURCES = (
    Source(
        name="few_nerd",
        title="Few-NERD",
        licence="CC-BY-SA-4.0",
        attribution="Few-NERD (Ding et al. 2021), from the prompts of THU-KEG/ADELIE (70f01ff)",
        read=read,
        archive="few_nerd_sample.tar.xz",
        cap=None,
        absent="schema",
    ),
)
