"""Extractions as graphs: GraphML through networkx, RDF through rdflib; needs the extra `graph`.

The graph of networkx is made to be looked at: nodes are spans, a relation is an edge between two of them.
What is no pair (an event, an opinion with one half) is a node with an edge to each of its spans.

The graph of RDF keeps everything: spans are strings of the NLP Interchange Format (NIF 2.0) within their
text, each record is a resource whose type is its frame and whose properties are its slots.

Texts of equal ids stay apart: the key of the second is the id with ";2" behind it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from ucuie.errors import needs
from ucuie.extract.result import Extraction
from ucuie.schema import Filler, Record

if TYPE_CHECKING:
    import networkx
    import rdflib

EXTRA = "graph"
BASE_IRI = "urn:ucuie:"
NIF = "http://persistence.uni-leipzig.org/nlp2rdf/ontologies/nif-core#"
EVOKED_BY = "evoked by"
# What XML 1.0 cannot hold in any notation.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def networkx_graph(extractions: Iterable[Extraction]) -> "networkx.MultiDiGraph[str]":
    """A graph of spans and what ties them together.

    Nodes have `kind` ("span" or "record"), `label`, `text_id`, and `score` if there is one. A span has
    `text`, `start` and `end`; its label is the type of the entity, or types with commas between. Edges have
    `label`: the frame between the two spans of a pair, with the slots as `source_slot` and `target_slot`;
    the slot from a record to a span, or "evoked by".

    Raises:
        MissingExtraError: networkx is not installed.
    """
    graph = needs("networkx", EXTRA).MultiDiGraph()
    for key, extraction in _keyed(extractions):
        for number, record in enumerate(extraction.records):
            _add_record(graph, _Text(key, extraction.id), number, record)
    return graph


def to_graphml(extractions: Iterable[Extraction]) -> str:
    """The graph of `networkx_graph` as GraphML, which Gephi, yEd and Cytoscape read.

    Characters that XML cannot hold become U+FFFD.

    Raises:
        MissingExtraError: networkx is not installed.
    """
    networkx = needs("networkx", EXTRA)
    graph = networkx_graph(extractions)
    for _, attributes in graph.nodes(data=True):
        attributes.update({key: _for_xml(value) for key, value in attributes.items()})
    for *_, attributes in graph.edges(data=True):
        attributes.update({key: _for_xml(value) for key, value in attributes.items()})
    return "\n".join(networkx.generate_graphml(graph, named_key_ids=True)) + "\n"


def rdf_graph(extractions: Iterable[Extraction], *, base: str = BASE_IRI) -> "rdflib.Graph":
    """All of the extractions as triples.

    Args:
        extractions: their ids are part of the IRIs.
        base: what the IRIs of texts, frames and slots begin with, such as "https://example.org/".

    Raises:
        MissingExtraError: rdflib is not installed.
    """
    triples = _Triples(base)
    for key, extraction in _keyed(extractions):
        triples.add_text(key, extraction)
    return triples.graph


def to_turtle(extractions: Iterable[Extraction], *, base: str = BASE_IRI) -> str:
    """The graph of `rdf_graph` in Turtle.

    Raises:
        MissingExtraError: rdflib is not installed.
    """
    turtle: str = rdf_graph(extractions, base=base).serialize(format="turtle")
    return turtle


class _Triples:
    """An RDF graph in the making; of a new name or span only the first mention adds anything."""

    def __init__(self, base: str) -> None:
        self._rdf = needs("rdflib", EXTRA)
        self._base = base
        self._nif = self._rdf.Namespace(NIF)
        self._own = self._rdf.Namespace(f"{base}vocabulary#")
        self.graph = self._rdf.Graph()
        self.graph.bind("nif", self._nif)
        self.graph.bind("ucuie", self._own)

    def add_text(self, key: str, extraction: Extraction) -> None:
        """A text with its records."""
        context = self._rdf.URIRef(f"{self._base}text:{key}#char=0,{len(extraction.text)}")
        self._add(context, self._rdf.RDF.type, self._nif.Context)
        self._add(context, self._nif.isString, self._rdf.Literal(extraction.text))
        for number, record in enumerate(extraction.records):
            self._add_record(f"{self._base}text:{key}", number, record, context)

    def _add_record(self, text: str, number: int, record: Record, context: Any) -> None:
        subject = self._rdf.URIRef(f"{text}#record={number}")
        self._add(subject, self._rdf.RDF.type, self._named("frame", record.frame))
        self._add(subject, self._nif.referenceContext, context)
        if record.score is not None:
            # rdflib writes doubles with seven digits.
            digits = format(Decimal(repr(record.score)), "f")
            score = digits if "." in digits else f"{digits}.0"
            self._add(subject, self._own.score, self._rdf.Literal(score, datatype=self._rdf.XSD.decimal))
        if record.filler is not None:
            self._add(subject, self._own.evokedBy, self._span(record.filler, text, context))
        for filled in record.slots:
            if filled.filler is not None:
                span = self._span(filled.filler, text, context)
                self._add(subject, self._named("slot", filled.slot), span)

    def _span(self, filler: Filler, text: str, context: Any) -> Any:
        span = self._rdf.URIRef(f"{text}#char={filler.start},{filler.end}")
        self._add(span, self._rdf.RDF.type, self._nif.RFC5147String)
        self._add(span, self._nif.referenceContext, context)
        self._add(span, self._nif.beginIndex, self._count(filler.start))
        self._add(span, self._nif.endIndex, self._count(filler.end))
        self._add(span, self._nif.anchorOf, self._rdf.Literal(filler.text))
        return span

    def _named(self, kind: str, name: str) -> Any:
        iri = self._rdf.URIRef(f"{self._base}{kind}:{quote(name, safe='')}")
        self._add(iri, self._rdf.RDFS.label, self._rdf.Literal(name))
        return iri

    def _count(self, number: int) -> Any:
        return self._rdf.Literal(number, datatype=self._rdf.XSD.nonNegativeInteger)

    def _add(self, subject: Any, predicate: Any, value: Any) -> None:
        self.graph.add((subject, predicate, value))


class _Text(NamedTuple):
    key: str
    id: str


def _keyed(extractions: Iterable[Extraction]) -> Iterator[tuple[str, Extraction]]:
    """Extractions with keys of plain characters, no two the same."""
    counts: Counter[str] = Counter()
    for extraction in extractions:
        counts[extraction.id] += 1
        # The semicolon is none of what `quote` leaves.
        suffix = "" if counts[extraction.id] == 1 else f";{counts[extraction.id]}"
        yield quote(extraction.id, safe="") + suffix, extraction


def _add_record(graph: Any, text: _Text, number: int, record: Record) -> None:
    filled = [(one.slot, one.filler) for one in record.slots if one.filler is not None]
    score = {} if record.score is None else {"score": record.score}
    if record.filler is not None and not filled:
        node = _add_span(graph, text, record.filler)
        labels = [*filter(None, graph.nodes[node]["label"].split(", ")), record.frame]
        graph.nodes[node]["label"] = ", ".join(dict.fromkeys(labels))
        graph.nodes[node].update(score)
    elif record.filler is None and len(filled) == 2:
        (source_slot, source), (target_slot, target) = filled
        graph.add_edge(
            _add_span(graph, text, source),
            _add_span(graph, text, target),
            label=record.frame,
            source_slot=source_slot,
            target_slot=target_slot,
            **score,
        )
    else:
        node = f"{text.key}#record={number}"
        graph.add_node(node, kind="record", label=record.frame, text_id=text.id, **score)
        evoked = [] if record.filler is None else [(EVOKED_BY, record.filler)]
        for label, filler in evoked + filled:
            graph.add_edge(node, _add_span(graph, text, filler), label=label)


def _add_span(graph: Any, text: _Text, filler: Filler) -> str:
    node = f"{text.key}#char={filler.start},{filler.end}"
    if node not in graph:
        place = {"text": filler.text, "start": filler.start, "end": filler.end}
        graph.add_node(node, kind="span", label="", text_id=text.id, **place)
    return node


def _for_xml(value: Any) -> Any:
    return _NOT_IN_XML.sub("\ufffd", value) if isinstance(value, str) else value
