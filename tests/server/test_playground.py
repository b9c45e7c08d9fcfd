"""The page in a real browser: typed, clicked and read as a person would, by mouse and by keyboard alone."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright
from server_cases import Running, running

from ucuie import Extractor, Schema
from ucuie.model.folder import load_model
from ucuie.server.schemas import NamedSchemas

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SHOTS = os.environ.get("UCUIE_SCREENSHOTS")
"""A folder for pictures of the page, for people."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # In containers Chromium's own sandbox is not to be had.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with running(load_model) as server:
        yield server


@pytest.fixture
def context(browser: Browser, served: Running) -> Iterator[BrowserContext]:
    context = browser.new_context(
        base_url=served.address,
        viewport={"width": 1280, "height": 900},
        permissions=["clipboard-read", "clipboard-write"],
    )
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, served: Running) -> Iterator[Page]:
    """The page, ready; nothing may be asked of other machines, and nothing may fail in its scripts."""
    page = context.new_page()
    failures: list[str] = []
    elsewhere: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("request", lambda request: elsewhere.append(request.url))
    page.goto("/")
    expect(page.get_by_role("button", name="Extract")).to_be_enabled()
    expect(page.get_by_role("textbox", name="Text", exact=True)).not_to_have_value("")
    yield page
    assert failures == []
    assert {url for url in elsewhere if not url.startswith(served.address)} == set()


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def extract(page: Page) -> None:
    page.get_by_role("button", name="Extract").click()
    finished(page)


def finished(page: Page) -> None:
    expect(page.get_by_role("button", name="Extract")).to_be_visible()
    expect(page.get_by_role("region", name="Results")).to_have_attribute("aria-busy", "false")


def records(page: Page) -> list[str]:
    return page.get_by_role("list", name="Records").locator(":scope > li").all_inner_texts()


def answers(page: Page, **extraction: Any) -> None:
    """Let the server's answer be this one."""
    whole = {
        "id": "1",
        "records": [],
        "dropped": [],
        "truncated": False,
        "model": "m",
        "seconds": 0.1,
    } | extraction

    def answer(route: Route) -> None:
        route.fulfill(json={"extractions": [whole]})

    page.route("**/v1/extract", answer)


def filler(text: str, start: int, score: float = 0.9) -> dict[str, Any]:
    return {"text": text, "start": start, "end": start + len(text), "score": score}


@pytest.mark.parametrize("name", [named.name for named in NamedSchemas().all() if named.text])
def test_every_example_shows_what_the_extractor_finds(page: Page, name: str) -> None:
    example = NamedSchemas()[name]
    page.get_by_label("Example").select_option(name)
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_have_value(example.text)
    extract(page)
    found = Extractor(load_model(), max_new_tokens=24).extract(example.text, example.schema).records
    shown = records(page)
    assert len(shown) == len(found)
    for record, words in zip(found, shown, strict=True):
        assert record.frame in words
        for one in record.fillers():
            assert one.text in words
            assert f"{one.start}:{one.end}" in words
    marks = page.locator("#marked mark:not(.continued)")
    assert marks.count() == len({one.span for record in found for one in record.fillers()})
    shot(page, f"example-{name.replace(' ', '-')}")


def test_typed_text_and_a_typed_schema_are_asked_for(page: Page) -> None:
    page.get_by_role("textbox", name="Text", exact=True).fill("Angela Merkel met Emmanuel Macron in Paris.")
    for _ in range(3):
        page.get_by_role("button", name="Remove", exact=False).first.click()
    page.get_by_role("button", name="Add a type").click()
    page.keyboard.type("location")
    page.get_by_role("button", name="Add a role to location").click()
    page.keyboard.type("country")
    page.get_by_role("button", name="Remove role country").click()
    page.get_by_role("tab", name="YAML").click()
    expect(page.get_by_label("Schema as YAML")).to_have_value("[location]\n")
    with page.expect_request("**/v1/extract") as asked:
        extract(page)
    assert asked.value.post_data_json == {
        "text": "Angela Merkel met Emmanuel Macron in Paris.",
        "schema": {"frames": [{"name": "location", "slots": []}]},
        "threshold": 0,
    }


def test_form_and_yaml_say_the_same(page: Page) -> None:
    yaml = "live in:\n  description: where someone lives\n  slots: [who, where]\n"
    page.get_by_role("tab", name="YAML").click()
    page.get_by_label("Schema as YAML").fill(yaml)
    page.get_by_role("tab", name="Form").click()
    expect(page.get_by_label("Name of type 1")).to_have_value("live in")
    expect(page.get_by_label("Role 2 of live in")).to_have_value("where")
    page.get_by_label("Descriptions").check()
    expect(page.get_by_label("Description of live in")).to_have_value("where someone lives")
    shot(page, "descriptions")
    page.get_by_role("tab", name="YAML").click()
    expect(page.get_by_label("Schema as YAML")).to_have_value(yaml)


def test_faults_are_shown_in_the_servers_words_and_leave_the_page_usable(page: Page) -> None:
    page.get_by_role("tab", name="YAML").click()
    page.get_by_label("Schema as YAML").fill("live in: [who, who]\n")
    page.get_by_role("button", name="Extract").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("frame 'live in' lists slot 'who' twice; each name may stand there once")
    expect(page.get_by_label("Schema as YAML")).to_have_attribute("aria-invalid", "true")
    shot(page, "fault")
    page.get_by_role("tab", name="Form").click()
    expect(page.get_by_role("tab", name="YAML")).to_have_attribute("aria-selected", "true")
    page.get_by_label("Schema as YAML").fill("live in: [who, where]\n")
    page.get_by_role("textbox", name="Text", exact=True).fill("  ")
    page.get_by_role("button", name="Extract").click()
    expect(alert).to_contain_text("is empty; there is nothing to extract from")
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_role("textbox", name="Text", exact=True).fill("Ada lived in London.")
    extract(page)
    expect(alert).to_be_hidden()


def test_a_server_that_has_gone_is_said_so(page: Page) -> None:
    page.route("**/v1/extract", lambda route: route.abort())
    page.get_by_role("button", name="Extract").click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    expect(page.get_by_role("alert")).to_contain_text("ucuie serve")


def test_a_request_can_be_stopped(page: Page) -> None:
    page.route("**/v1/extract", lambda _: None)
    page.get_by_role("button", name="Extract").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#status[role=status]")).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Extract")).to_be_visible()


NESTED = "University of New York, 🙂 Turing"


def test_nested_and_crossing_spans_are_marked_and_tied(page: Page) -> None:
    # Offsets count characters: the emoji is one, whatever JavaScript thinks.
    answers(
        page,
        text=NESTED,
        records=[
            {"frame": "person", "filler": filler("University of New York", 0), "slots": [], "score": 0.9},
            {"frame": "location", "filler": filler("New York", 14), "slots": [], "score": 0.4},
            {"frame": "organization", "filler": filler("York, 🙂", 18), "slots": [], "score": 0.6},
            {
                "frame": "work",
                "filler": None,
                "score": 0.8,
                "slots": [
                    {"slot": "who", "filler": filler("Turing", 26)},
                    {"slot": "where", "filler": filler("New York", 14)},
                    {"slot": "when", "filler": None},
                ],
            },
        ],
    )
    extract(page)
    spans = page.locator("#marked mark")
    texts = spans.evaluate_all(
        """marks => marks.map(mark => {
            const copy = mark.cloneNode(true);
            copy.querySelectorAll(".tag").forEach(tag => tag.remove());
            return copy.textContent;
        })"""
    )
    assert texts == ["University of New York", "New York", "York", ", 🙂", "Turing"]
    assert page.locator("#marked mark mark mark").count() == 1
    assert page.locator("#marked svg.arrows .arrow").count() == 1
    assert (
        page.locator("#marked").evaluate(
            "root => [...root.querySelectorAll('.tag, svg')].forEach(one => one.remove()) ?? root.textContent"
        )
        == NESTED
    )
    shot(page, "nested")


def test_what_comes_from_outside_stays_text(page: Page) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    page.on("dialog", lambda _: pytest.fail("a script of the text ran"))
    answers(
        page,
        text=hostile,
        records=[{"frame": hostile, "filler": filler(hostile, 0), "slots": [], "score": 0.5}],
        dropped=[{"reason": hostile, "value": hostile}],
    )
    page.get_by_role("textbox", name="Text", exact=True).fill(hostile)
    extract(page)
    for tab in ("Why", "JSON", "Python", "curl", "Records"):
        page.get_by_role("tab", name=tab).click()
    assert page.locator("#found img, #found script").count() == 0
    assert hostile in page.locator("#marked").inner_text()


def test_the_threshold_acts_at_once_and_by_the_servers_rule(page: Page) -> None:
    found = [
        {"frame": "person", "filler": filler("Ada", 0, 0.7), "slots": [], "score": 0.6},
        {
            "frame": "live",
            "filler": None,
            "score": 0.5,
            "slots": [
                {"slot": "a", "filler": filler("Ada", 0, 0.3)},
                {"slot": "b", "filler": filler("Rom", 4, 0.9)},
            ],
        },
        {
            "frame": "live",
            "filler": None,
            "score": 0.8,
            "slots": [{"slot": "a", "filler": filler("Ada", 0, 0.2)}],
        },
    ]
    answers(page, text="Ada Rom", records=found)
    extract(page)
    assert len(records(page)) == 3
    slider = page.get_by_label("Least confidence")
    slider.fill("0.4")
    # The second loses a role, the third its only one.
    assert len(records(page)) == 2
    assert page.locator("#records dd").count() == 1
    expect(page.get_by_text("1 record below the least confidence.")).to_be_visible()
    slider.fill("0.55")
    assert len(records(page)) == 1
    slider.fill("1")
    assert records(page) == []
    page.get_by_role("tab", name="JSON").click()
    assert json.loads(page.locator("#panel-json pre").inner_text())["records"] == []


def test_the_threshold_begins_where_the_model_has_it(context: BrowserContext) -> None:
    def with_threshold(route: Route) -> None:
        answer = route.fetch().json()
        answer["models"][0]["threshold"] = {"NER": 0.5}
        route.fulfill(json=answer)

    page = context.new_page()
    page.route("**/v1/models", with_threshold)
    page.goto("/")
    expect(page.get_by_role("button", name="Extract")).to_be_enabled()
    found = [
        {"frame": "person", "filler": filler("Ada", 0), "slots": [], "score": 0.6},
        {"frame": "person", "filler": filler("Rom", 4), "slots": [], "score": 0.4},
    ]
    answers(page, text="Ada Rom", records=found)
    with page.expect_request("**/v1/extract") as asked:
        extract(page)
    assert asked.value.post_data_json["threshold"] == 0
    slider = page.get_by_label("Least confidence")
    expect(slider).to_have_value("0.5")
    assert len(records(page)) == 1
    expect(page.get_by_text("1 record below the least confidence.")).to_be_visible()
    page.get_by_role("tab", name="Python").click()
    assert "threshold" not in page.locator("#panel-python pre").inner_text()
    slider.fill("0")
    assert "threshold=0)" in page.locator("#panel-python pre").inner_text()
    page.get_by_role("tab", name="curl").click()
    assert '"threshold":0' in page.locator("#panel-curl pre").inner_text()
    page.get_by_role("tab", name="Records").click()
    assert len(records(page)) == 2


def test_capabilities_are_switched_and_the_routing_is_shown(page: Page) -> None:
    extract(page)
    with page.expect_request("**/v1/extract") as asked:
        page.get_by_label("associating").uncheck()
    assert asked.value.post_data_json["capabilities"] == ["judging", "locating"]
    finished(page)
    with page.expect_request("**/v1/extract") as asked:
        page.get_by_role("tab", name="Why").click()
    assert asked.value.post_data_json["explain"] is True
    finished(page)
    gate = page.get_by_role("list", name="Which experts wrote each record").get_by_role("img").first
    expect(gate).to_have_attribute("aria-label", re.compile(r"gate of judging \d+ %"))
    shot(page, "why")


def test_a_part_of_the_answer_can_be_asked_for(page: Page) -> None:
    extract(page)
    with page.expect_request("**/v1/extract") as asked:
        page.get_by_label("Task").select_option("judging")
    assert asked.value.post_data_json["task"] == "judging"
    finished(page)
    assert page.locator("#marked mark").count() == 0
    assert records(page)
    shot(page, "judging")
    page.get_by_label("Task").select_option("locating")
    page.get_by_label("Example").select_option("relations")
    extract(page)
    shot(page, "locating")
    names = [name for frame in NamedSchemas()["relations"].schema.frames for name in frame.slot_names]
    assert records(page)
    assert {words.split("\n")[0] for words in records(page)} <= set(names)
    page.get_by_role("tab", name="Python").click()
    assert 'task="locating"' in page.locator("#panel-python pre").inner_text()
    page.get_by_role("tab", name="curl").click()
    assert '"task":"locating"' in page.locator("#panel-curl pre").inner_text()


def test_what_is_shown_can_be_taken_along(page: Page) -> None:
    text = 'It\'s \\ "Ada" 🙂,\nin London. Angela Merkel met Emmanuel Macron in Paris.'
    page.get_by_role("textbox", name="Text", exact=True).fill(text)
    page.get_by_label("associating").uncheck()
    extract(page)
    page.get_by_label("Least confidence").fill("0.05")
    copied = {}
    for name in ("JSON", "Python", "curl"):
        page.get_by_role("tab", name=name).click()
        page.get_by_role("tabpanel", name=name).get_by_role("button", name="Copy").click()
        expect(page.locator("#status[role=status]")).to_have_text(f"{name.lower()} copied.")
        copied[name] = page.evaluate("navigator.clipboard.readText()")
        shot(page, name)
    assert json.loads(copied["JSON"])["text"] == text
    names: dict[str, Any] = {}
    exec(compile(copied["Python"], "copied", "exec"), names)
    assert names["text"] == text
    assert Schema.of(names["schema"]).frame_names == ("person", "location", "organization")
    assert names["result"].text == text
    assert "threshold=0.05" in copied["Python"]
    assert '"capabilities":["judging","locating"]' in copied["curl"]


def test_the_keyboard_is_enough(page: Page) -> None:
    page.get_by_role("textbox", name="Text", exact=True).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("Angela Merkel met Emmanuel Macron in Paris.")
    page.keyboard.press("Control+Enter")
    finished(page)
    assert records(page)
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {
        "examples",
        "tab-form",
        "add-frame",
        "extract",
        "threshold",
        "tab-records",
        "record lit",
        "theme",
    } <= reached
    page.locator("#tab-records").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="JSON")).to_be_visible()
    expect(page.locator("#tab-json")).to_be_focused()
    page.keyboard.press("Home")
    expect(page.get_by_role("tabpanel", name="Records")).to_be_visible()
    page.locator("#records .record").first.focus()
    expect(page.locator("#marked mark.lit").first).to_be_visible()
    page.locator("#threshold").focus()
    page.keyboard.press("End")
    assert records(page) == []


def test_results_are_announced(page: Page) -> None:
    answers(
        page, text="Ada", records=[{"frame": "person", "filler": filler("Ada", 0), "slots": [], "score": 1}]
    )
    extract(page)
    expect(page.locator("#status[role=status]")).to_have_text("1 record in 0.10 s: 1 person")
    answers(page, text="Ada", truncated=True)
    extract(page)
    expect(page.locator("#status[role=status]")).to_have_text("0 records in 0.10 s")
    expect(page.get_by_text("Nothing found.")).to_be_visible()
    expect(page.get_by_text("The answer was cut")).to_be_visible()


def test_colours_follow_the_system_and_the_button(page: Page, browser: Browser, served: Running) -> None:
    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = paper()
    page.emulate_media(color_scheme="dark")
    dark = paper()
    assert light != dark
    page.get_by_role("button", name="Light colours").click()
    assert paper() == light
    page.reload()
    assert paper() == light, "the choice is remembered"


def test_a_long_text_scrolls_and_has_a_map(page: Page) -> None:
    text = "Ada was here, and then she went on.\n" * 80
    places = [0, 36 * 40, 36 * 79]
    found = [{"frame": "person", "filler": filler("Ada", at), "slots": [], "score": 1} for at in places]
    answers(page, text=text, records=found)
    extract(page)
    ticks = page.locator("#minimap .tick")
    assert ticks.count() == 3
    tops = [(box := ticks.nth(index).bounding_box()) and box["y"] for index in range(3)]
    reader = page.locator("#reader").bounding_box()
    assert reader is not None
    assert tops == sorted(tops)
    assert all(top is not None and 0 <= top - reader["y"] <= reader["height"] for top in tops)
    assert page.locator("#reader").evaluate("box => box.scrollHeight > box.clientHeight")
    shot(page, "long")


def test_keys_are_asked_for(browser: Browser) -> None:
    key = "a-key-of-sixteen-characters"
    with running(load_model, api_keys=(key,), wait=True) as server:
        context = browser.new_context(base_url=server.address)
        page = context.new_page()
        page.goto("/")
        expect(page.get_by_role("alert")).to_contain_text("no API key was sent")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Extract")).to_be_enabled()
        expect(page.get_by_role("alert")).to_be_hidden()
        page.get_by_role("button", name="Extract").click()
        expect(page.get_by_role("list", name="Records")).to_be_visible()
        context.close()


def test_extract_waits_until_the_example_is_there(context: BrowserContext) -> None:
    page = context.new_page()
    waiting: list[Route] = []
    page.route("**/v1/schemas", lambda route: waiting.append(route))
    with page.expect_request("**/v1/schemas"), page.expect_response("**/v1/models"):
        page.goto("/")
    expect(page.get_by_role("button", name="Extract")).to_be_disabled()
    page.get_by_role("textbox", name="Text", exact=True).fill("Ada Lovelace lived in London.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_be_hidden()
    waiting[0].continue_()
    with page.expect_request("**/v1/extract") as asked:
        page.get_by_role("button", name="Extract").click()
    assert asked.value.post_data_json["text"] == "Ada Lovelace lived in London.", "own words stay"
    assert [frame["name"] for frame in asked.value.post_data_json["schema"]["frames"]] == [
        "person",
        "location",
        "organization",
    ]


def test_a_late_refusal_of_an_earlier_key_is_not_shown(browser: Browser) -> None:
    key = "a-key-of-sixteen-characters"
    with running(load_model, api_keys=(key,), wait=True) as server:
        context = browser.new_context(base_url=server.address)
        page = context.new_page()
        page.goto("/")
        expect(page.get_by_role("alert")).to_contain_text("no API key was sent")
        waiting: list[Route] = []
        page.route("**/v1/models", lambda route: waiting.append(route), times=1)
        page.get_by_label("API key").fill("wrong")
        with page.expect_request("**/v1/models"):
            page.keyboard.press("Enter")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Extract")).to_be_enabled()
        with page.expect_response("**/v1/models") as late:
            waiting[0].continue_()
        assert late.value.status == 401
        # Time for the page to show it.
        page.wait_for_timeout(200)
        expect(page.get_by_role("alert")).to_be_hidden()
        extract(page)
        assert records(page)
        context.close()


def test_another_example_ends_the_request_for_the_one_before(page: Page) -> None:
    page.route("**/v1/extract", lambda _: None)
    page.get_by_role("button", name="Extract").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.get_by_label("Example").select_option("relations")
    expect(page.get_by_role("button", name="Extract")).to_be_visible()
    page.unroute("**/v1/extract")
    extract(page)
    expect(page.locator("#marked")).to_have_text(re.compile(re.escape(NamedSchemas()["relations"].text[:12])))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_axe_finds_nothing_serious(page: Page, scheme: Any, width: int) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    page.get_by_label("Example").select_option("relations")
    assert_accessible(page)
    extract(page)
    page.get_by_role("button", name="Extract").focus()
    for tab in ("Records", "Why", "JSON", "curl"):
        page.get_by_role("tab", name=tab).click()
        finished(page)
        assert_accessible(page)
    page.get_by_role("tab", name="YAML").click()
    page.get_by_label("Schema as YAML").fill("a: [b, b]\n")
    page.get_by_role("button", name="Extract").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        "the page is as wide as the screen"
    )
    shot(page, f"{scheme}-{width}")


def assert_accessible(page: Page) -> None:
    page.wait_for_timeout(200)
    violations = Axe().run(page).response["violations"]
    grave = [
        (found["id"], found["help"], [node["target"] for node in found["nodes"]][:3])
        for found in violations
        if found["impact"] in {"serious", "critical"}
    ]
    assert grave == []
