"""Graphs: everything that was found is in them, whatever its characters, and other programs read them."""

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractions import EVERYTHING, TEXT, extractions
from ucuie import Extraction
from ucuie.errors import MissingExtraError
from ucuie.render.graphs import NIF, networkx_graph, rdf_graph, to_graphml, to_turtle

networkx = pytest.importorskip("networkx", reason="the extra graph is not installed")
rdflib = pytest.importorskip("rdflib", reason="the extra graph is not installed")

BASE = "https://example.org/"


def test_spans_are_nodes_and_pairs_are_edges() -> None:
    graph = networkx_graph([EVERYTHING])
    ada, name, london = "a%20b#char=0,3", "a%20b#char=0,12", "a%20b#char=22,28"
    assert graph.nodes[name] == {
        "kind": "span",
        "label": "person",
        "text_id": "a b",
        "text": "Ada Lovelace",
        "start": 0,
        "end": 12,
        "score": 0.9,
    }
    assert graph.get_edge_data(ada, london)[0] == {
        "label": "live in",
        "source_slot": "who",
        "target_slot": "where",
        "score": 0.8,
    }
    event = "a%20b#record=2"
    assert graph.nodes[event] == {"kind": "record", "label": "write", "text_id": "a b"}
    assert {
        (graph.nodes[span]["text"], data["label"]) for _, span, data in graph.out_edges(event, data=True)
    } == {
        ("wrote", "evoked by"),
        ("there", "place"),
    }
    assert graph.nodes["a%20b#record=3"]["label"] == "travel"
    assert graph.number_of_nodes() == 7


def test_texts_of_one_id_stay_apart() -> None:
    assert networkx_graph([EVERYTHING, EVERYTHING]).number_of_nodes() == 14
    contexts = rdf_graph([EVERYTHING, EVERYTHING]).subjects(rdflib.RDF.type, rdflib.URIRef(f"{NIF}Context"))
    assert len(set(contexts)) == 2


def test_graphml_is_read_by_others() -> None:
    graph = networkx.read_graphml(io.BytesIO(to_graphml([EVERYTHING]).encode()), force_multigraph=True)
    assert graph.nodes["a%20b#char=22,28"]["text"] == "London"
    original = networkx_graph([EVERYTHING])
    assert dict(graph.nodes(data=True)) == dict(original.nodes(data=True))
    assert [data for *_, data in graph.edges(data=True)] == [data for *_, data in original.edges(data=True)]


@given(st.lists(extractions(), max_size=3))
def test_any_graphml_reads_back(many: list[Extraction]) -> None:
    graph = networkx.read_graphml(io.BytesIO(to_graphml(many).encode()), force_multigraph=True)
    original = networkx_graph(many)
    assert set(graph.nodes) == set(original.nodes)
    assert graph.number_of_edges() == original.number_of_edges()


def test_records_are_resources_with_slots_as_properties() -> None:
    graph = rdf_graph([EVERYTHING], base=BASE)
    found = graph.query(
        """
        PREFIX nif: <http://persistence.uni-leipzig.org/nlp2rdf/ontologies/nif-core#>
        SELECT ?who ?start ?where WHERE {
          ?record a <https://example.org/frame:live%20in> ;
                  <https://example.org/slot:who> [ nif:anchorOf ?who ; nif:beginIndex ?start ] ;
                  <https://example.org/slot:where> [ nif:anchorOf ?where ]
        }
        """
    )
    assert [tuple(value.toPython() for value in row) for row in found] == [("Ada", 0, "London")]
    event = rdflib.URIRef(f"{BASE}text:a%20b#record=2")
    span = graph.value(event, rdflib.URIRef(f"{BASE}vocabulary#evokedBy"))
    assert str(span) == f"{BASE}text:a%20b#char=31,36"
    context = graph.value(span, rdflib.URIRef(f"{NIF}referenceContext"))
    assert str(graph.value(context, rdflib.URIRef(f"{NIF}isString"))) == TEXT


@given(st.lists(extractions(), max_size=2))
def test_any_turtle_reads_back(many: list[Extraction]) -> None:
    original = rdf_graph(many, base=BASE)
    graph = rdflib.Graph().parse(data=to_turtle(many, base=BASE), format="turtle")
    assert set(graph) == set(original)


@pytest.mark.parametrize("write", [to_graphml, to_turtle])
def test_a_missing_graph_package_names_the_extra(write: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("networkx", "rdflib"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ucuie\[graph\]'"):
        write([EVERYTHING])
