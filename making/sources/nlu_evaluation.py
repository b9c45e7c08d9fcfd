"""NLU Evaluation Data: what people say to a home assistant, 53 kinds of parts, 54 intents.

Rasa's JSON, once for each fold of a cross-validation, so that most utterances come many times:

    {"rasa_nlu_data": {"common_examples": [
        {"text": "lights to fifty percent", "intent": "iot_hue_lightchange",
         "entities": [{"start": 7, "end": 23, "value": "to fifty percent", "entity": "change_amount"}]}]}}

A third of the utterances becomes one frame, the intent, with slots, offered together with all other intents.
The rest are entities; an utterance offers the types that are common among those of its scenario, the first
word of the intent.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from making.sources.numbering import Examples
from making.sources.source import Source
from making.sources.unify import intent_of, types_of, unified
from making.sources.utterances import utterance
from ucuie.data import Fault
from ucuie.data.draft import Draft, checked_span, entity

SHARE_OF_INTENTS = 1 / 3
FEWEST_OF_A_TYPE = 5
"""A type that a scenario or intent has less often is left out of it, as it is hardly marked throughout."""
PARTS = types_of("""
    date | date | A day, month or year, also in words such as tomorrow.
    time | time | A time of day by the clock, or a duration.
    timeofday | part of the day | A word such as morning, noon or tonight.
    general_frequency | frequency | How often, such as every day.
    time_zone | time zone
    place_name | place | A country, city, or other place.
    house_place | place in the house | A room or other part of a home.
    person | person | A person by name.
    relation | relation to a person | What somebody is to the speaker, such as friend or boss.
    personal_info | personal information | What is asked about a person, such as the phone number.
    business_name | business | A company, shop or restaurant by name.
    business_type | kind of business | A word such as shop, bar or cinema.
    event_name | event | An event or appointment, such as a meeting or party.
    meal_type | meal | A word such as lunch or dinner.
    food_type | food | A dish, food or cuisine.
    drink_type | drink
    ingredient | ingredient
    cooking_type | way of cooking | A word such as bake or fry.
    coffee_type | kind of coffee
    order_type | kind of order | Whether food is fetched or brought: takeaway or delivery.
    device_type | device | A machine or appliance.
    color_type | color or light | A colour, or a mood of light.
    change_amount | amount of change | By how much, or to which level.
    player_setting | player command | A command to a player, such as resume, repeat or shuffle.
    media_type | medium | A news source, social network or kind of medium.
    news_topic | news topic
    app_name | app | A program or service by name.
    artist_name | artist
    song_name | song title
    music_album | album title
    music_genre | music genre
    music_descriptor | description of music | A word that describes music by mood or liking.
    playlist_name | playlist
    radio_name | radio station | A station by name or by frequency.
    podcast_name | podcast
    podcast_descriptor | description of a podcast | Which episode or kind of podcast.
    audiobook_name | audiobook title
    audiobook_author | author
    movie_name | movie title
    movie_type | kind of film | A genre, or another kind of films.
    game_name | game
    joke_type | kind of joke
    list_name | list name | What a list is called or is for.
    definition_word | term to define | A word whose meaning is asked for.
    weather_descriptor | weather condition | The weather, or what one needs for it.
    currency_name | currency
    alarm_type | alarm name | What an alarm is for.
    email_address | email address
    email_folder | email folder
    transport_type | means of transport | A word such as train or taxi.
    transport_agency | transport company
    transport_name | name of a train or line
    transport_descriptor | kind of trip | A word such as one way or first class.
""")
INTENTS = {
    "alarm_query": "ask about alarms",
    "alarm_remove": "remove an alarm",
    "alarm_set": "set an alarm",
    "audio_volume_down": "turn the volume down",
    "audio_volume_mute": "mute the sound",
    "audio_volume_up": "turn the volume up",
    "calendar_query": "ask about the calendar",
    "calendar_remove": "remove from the calendar",
    "calendar_set": "add to the calendar",
    "cooking_recipe": "ask for a recipe",
    "datetime_convert": "convert a time",
    "datetime_query": "ask for date or time",
    "email_addcontact": "add a contact",
    "email_query": "ask about emails",
    "email_querycontact": "ask about a contact",
    "email_sendemail": "send an email",
    "general_joke": "ask for a joke",
    "iot_cleaning": "clean the house",
    "iot_coffee": "make coffee",
    "iot_hue_lightchange": "change the light",
    "iot_hue_lightdim": "dim the light",
    "iot_hue_lightoff": "turn the light off",
    "iot_hue_lighton": "turn the light on",
    "iot_hue_lightup": "brighten the light",
    "iot_wemo_off": "switch a device off",
    "iot_wemo_on": "switch a device on",
    "lists_createoradd": "add to a list",
    "lists_query": "ask about a list",
    "lists_remove": "remove from a list",
    "music_likeness": "say what music one likes",
    "music_query": "ask about music",
    "music_settings": "change music settings",
    "news_query": "ask for news",
    "play_audiobook": "play an audiobook",
    "play_game": "play a game",
    "play_music": "play music",
    "play_podcasts": "play a podcast",
    "play_radio": "play the radio",
    "qa_currency": "ask for an exchange rate",
    "qa_definition": "ask for a definition",
    "qa_factoid": "ask for a fact",
    "qa_stock": "ask for a stock price",
    "recommendation_events": "ask for events",
    "recommendation_locations": "ask for places to go",
    "recommendation_movies": "ask for films",
    "social_post": "post on a social network",
    "social_query": "ask about a social network",
    "takeaway_order": "order food",
    "takeaway_query": "ask about takeaway food",
    "transport_query": "ask about transport",
    "transport_taxi": "call a taxi",
    "transport_ticket": "buy a ticket",
    "transport_traffic": "ask about traffic",
    "weather_query": "ask about the weather",
}


def read(folder: Path) -> Examples:
    """The utterances whose intents have parts, each once."""
    utterances = dict(_utterances(folder))
    by_scenario: dict[str, Counter[str]] = defaultdict(Counter)
    by_intent: dict[str, Counter[str]] = defaultdict(Counter)
    for draft, intent in utterances.items():
        labels = [record.frame for record in draft.records]
        by_scenario[_scenario(intent)].update(labels)
        by_intent[intent].update(labels)
    types = PARTS | {
        intent: intent_of(name, None, [PARTS[part] for part in _common(by_intent[intent])])
        for intent, name in INTENTS.items()
    }

    def drafts() -> Iterator[Draft | Fault]:
        for draft, intent in utterances.items():
            if not {record.frame for record in draft.records} <= set(_common(by_intent[intent])):
                yield Fault(draft.place, "utterance with a part that is rare for its intent")
                continue
            offered = _common(by_scenario[_scenario(intent)])
            yield utterance(
                draft, intent, offered=offered, intents=tuple(INTENTS), share_of_intents=SHARE_OF_INTENTS
            )

    return unified("nlu_evaluation", drafts(), types)


def _scenario(intent: str) -> str:
    return intent.partition("_")[0]


def _common(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(part for part in PARTS if counts[part] >= FEWEST_OF_A_TYPE)


def _utterances(folder: Path) -> Iterator[tuple[Draft, str]]:
    """Each utterance of a known intent, with the intent; what comes again in later folds is left out."""
    seen = set()
    for path in sorted(folder.rglob("*.json")):
        for item in json.loads(path.read_text(encoding="utf-8"))["rasa_nlu_data"]["common_examples"]:
            text, intent = item["text"], item["intent"]
            if text in seen or intent not in INTENTS:
                continue
            seen.add(text)
            records = (
                entity(one["entity"], text, checked_span(text, one["start"], one["value"]))
                for one in item["entities"]
            )
            yield Draft(path.name, text, tuple(records)), intent


SOURCES = (
    Source(
        name="nlu_evaluation",
        title="NLU Evaluation Data",
        licence="CC-BY-4.0",
        attribution="xliuhw/NLU-Evaluation-Data (f6071b4)",
        read=read,
        archive="nlu_evaluation.tar.xz",
        cap=None,
        absent="schema",
    ),
)
