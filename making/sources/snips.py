"""Snips: what people say to a voice assistant, seven intents.

JSON files, one for each intent, with the utterances in pieces; some of them are Latin-1, some UTF-8:

    {"GetWeather": [{"data": [{"text": "Is it "}, {"text": "sunny", "entity": "condition_description"}]}]}

A third of the utterances becomes one frame, the intent, with slots, offered together with all other intents.
The rest are entities of the types that belong to their intent.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from making.sources.numbering import Examples
from making.sources.source import Source
from making.sources.unify import intent_of, types_of, unified
from making.sources.utterances import utterance
from ucuie.data.draft import Draft, entity

SHARE_OF_INTENTS = 1 / 3
PARTS = types_of("""
    playlist | playlist | The name of a playlist.
    playlist_owner | playlist owner | Whose playlist it is.
    music_item | kind of music item | A word such as song, album or track.
    artist | artist | A musician or band.
    entity_name | song or album name | The name of what is to be added to a playlist.
    restaurant_type | kind of restaurant | A word such as restaurant, tavern or brasserie.
    party_size_number | party size | The number of people.
    party_size_description | members of the party | The people that come along, by words.
    timeRange | date or time | When, as a date, a time or a stretch of time.
    state | state | A state of a country.
    city | city
    country | country
    restaurant_name | restaurant name
    spatial_relation | spatial relation | How near or far, such as close by or around here.
    served_dish | dish | A food that is served.
    cuisine | cuisine | A style of cooking, such as Mongolian or kosher.
    sort | ranking | A word that ranks, such as best, top or new.
    facility | facility | What a place offers, such as a terrace or wifi.
    poi | point of interest | A place to be near to, such as a station.
    condition_temperature | temperature condition | How warm or cold, such as freezing.
    condition_description | weather condition | The kind of weather, such as rain or storm.
    geographic_poi | park or nature reserve | A park, reserve or other natural place by name.
    current_location | current location | Words for where the speaker is, such as here.
    service | streaming service | A service that plays music.
    year | year or decade | The year or decade of the music.
    track | song title
    album | album title
    genre | music genre
    rating_value | rating value | The number that is given as a rating.
    rating_unit | rating unit | What is counted, such as stars or points.
    best_rating | best possible rating | The number that a rating is out of.
    object_name | title of a creative work | The name of a book, film, song, game or the like.
    object_select | choice of a work | A word that picks the work, such as this, current or last.
    object_type | type of creative work | A word such as book, album, show or painting.
    object_part_of_series_type | type of series | A word such as series, saga or chronicle.
    movie_name | movie title
    movie_type | movie type | A word for the kind of film, such as animated movies.
    location_name | cinema chain | The name of a cinema or its company.
    object_location_type | kind of cinema | A word such as cinema or movie theatre.
    screening_type | kind of schedule | Words such as movie times or schedule.
""")
INTENTS = {
    "AddToPlaylist": ("add to playlist", "Put a song, album or artist on a playlist."),
    "BookRestaurant": ("book a restaurant", "Reserve a table somewhere."),
    "GetWeather": ("get the weather", "Ask what the weather is or will be."),
    "PlayMusic": ("play music", "Have music played."),
    "RateBook": ("rate a book", "Give a rating to a book or series."),
    "SearchCreativeWork": ("search for a creative work", "Find a book, show, song, game or other work."),
    "SearchScreeningEvent": ("search for film screenings", "Ask when or where films are shown."),
}


def read(folder: Path) -> Examples:
    """The utterances of the full sets for training."""
    utterances = {
        intent: list(_utterances(next(folder.rglob(f"train_{intent}_full.json")), intent))
        for intent in INTENTS
    }
    parts = {
        intent: tuple(
            part for part in PARTS if any(part == one.frame for draft in drafts for one in draft.records)
        )
        for intent, drafts in utterances.items()
    }
    types = PARTS | {
        intent: intent_of(name, description, [PARTS[part] for part in parts[intent]])
        for intent, (name, description) in INTENTS.items()
    }
    drafts = (
        utterance(
            draft, intent, offered=parts[intent], intents=tuple(INTENTS), share_of_intents=SHARE_OF_INTENTS
        )
        for intent, drafts in utterances.items()
        for draft in drafts
    )
    return unified("snips", drafts, types)


def _utterances(path: Path, intent: str) -> Iterator[Draft]:
    for number, item in enumerate(json.loads(path.read_text(encoding="latin-1"))[intent], start=1):
        text, spans = "", []
        for piece in item["data"]:
            start = len(text)
            text += _repaired(piece["text"])
            if "entity" in piece:
                spans.append((_part(piece["entity"], intent), (start, len(text))))
        records = tuple(entity(label, text, span) for label, span in spans if span[0] < span[1])
        yield Draft(f"{path.name} {number}", text, records)


def _repaired(text: str) -> str:
    """The text, but for UTF-8 that somebody has read as Latin-1 ("MÃºsica")."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def _part(label: str, intent: str) -> str:
    """The label, but for the one that means "movie times" where films are searched for."""
    return "screening_type" if (label, intent) == ("object_type", "SearchScreeningEvent") else label


SOURCES = (
    Source(
        name="snips",
        title="Snips NLU benchmark",
        licence="CC0-1.0",
        attribution="sonos/nlu-benchmark (b86ac7f)",
        read=read,
        archive="snips.tar.xz",
        cap=None,
        absent="schema",
    ),
)
