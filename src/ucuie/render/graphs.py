"""Extractions as graphs: GraphML through networkx, RDF through rdflib; needs the extra `graph`.

The graph of networkx is made to be looked at: nodes are spans, a relation is an edge between two of them.
What is no pair (an event, an opinion with one half) is a node with an edge to each of its spans.

The graph of RDF keeps everything: spans are strings of the NLP Interchange Format (NIF 2.0) within their
text, each record is a resource whose type is its frame and whose properties are its slots.

Texts of equal ids stay apart: the key of the second is the id with ";2" behind it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any
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
            _add_record(graph, key, extraction.id, number, record)
    return graph


def to_graphml(extractions: Iterable[Extraction]) -> str:
    """The graph of `networkx_graph` as GraphML, which Gephi, yEd and Cytoscape read.

    Characters that XML cannot hold become U+FFFD.

    Raises:
        MissingExtraError: networkx is not installed.
    """
    networkx = needs("networkx", EXTRA)
    graph = networkx_graph(extractions)
    for *_, attributes in (*graph.nodes(data=True), *graph.edges(data=True)):
        for key, value in attributes.items():
            attributes[key] = _NOT_IN_XML.sub("\ufffd", value) if isinstance(value, str) else value
    return "\n".join(networkx.generate_graphml(graph, named_key_ids=True)) + "\n"


def rdf_graph(extractions: Iterable[Extraction], *, base: str = BASE_IRI) -> "rdflib.Graph":
    """All of the extractions as triples.

    Their ids are part of the IRIs of texts, which begin with `base`, such as "https://example.org/", as those
    of frames and slots do.

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
        text = f"{self._base}text:{key}"
        facts = {self._rdf.RDF.type: self._nif.Context, self._nif.isString: self._literal(extraction.text)}
        context = self._resource(f"{text}#char=0,{len(extraction.text)}", facts)
        for number, record in enumerate(extraction.records):
            facts = {
                self._rdf.RDF.type: self._named("frame", record.frame),
                self._nif.referenceContext: context,
            }
            if record.score is not None:
                # rdflib writes doubles with seven digits.
                digits = format(Decimal(repr(record.score)), "f")
                score = digits if "." in digits else f"{digits}.0"
                facts[self._own.score] = self._literal(score, "decimal")
            if record.filler is not None:
                facts[self._own.evokedBy] = self._span(record.filler, text, context)
            subject = self._resource(f"{text}#record={number}", facts)
            for filled in record.slots:
                if filled.filler is not None:
                    span = self._span(filled.filler, text, context)
                    self.graph.add((subject, self._named("slot", filled.slot), span))

    def _span(self, filler: Filler, text: str, context: Any) -> Any:
        facts = {
            self._rdf.RDF.type: self._nif.RFC5147String,
            self._nif.referenceContext: context,
            self._nif.beginIndex: self._literal(filler.start, "nonNegativeInteger"),
            self._nif.endIndex: self._literal(filler.end, "nonNegativeInteger"),
            self._nif.anchorOf: self._literal(filler.text),
        }
        return self._resource(f"{text}#char={filler.start},{filler.end}", facts)

    def _named(self, kind: str, name: str) -> Any:
        iri = f"{self._base}{kind}:{quote(name, safe='')}"
        return self._resource(iri, {self._rdf.RDFS.label: self._literal(name)})

    def _literal(self, value: object, datatype: str | None = None) -> Any:
        return self._rdf.Literal(value, datatype=datatype and self._rdf.XSD[datatype])

    def _resource(self, iri: str, facts: Mapping[Any, Any]) -> Any:
        resource = self._rdf.URIRef(iri)
        for predicate, value in facts.items():
            self.graph.add((resource, predicate, value))
        return resource


def _keyed(extractions: Iterable[Extraction]) -> Iterator[tuple[str, Extraction]]:
    counts: Counter[str] = Counter()
    for extraction in extractions:
        counts[extraction.id] += 1
        # The semicolon is none of what `quote` leaves.
        suffix = "" if counts[extraction.id] == 1 else f";{counts[extraction.id]}"
        yield quote(extraction.id, safe="") + suffix, extraction


def _add_record(graph: Any, key: str, text_id: str, number: int, record: Record) -> None:
    filled = [(one.slot, one.filler) for one in record.slots if one.filler is not None]
    score = {} if record.score is None else {"score": record.score}
    if record.filler is not None and not filled:
        node = _add_span(graph, key, text_id, record.filler)
        labels = [*filter(None, graph.nodes[node]["label"].split(", ")), record.frame]
        graph.nodes[node]["label"] = ", ".join(dict.fromkeys(labels))
        graph.nodes[node].update(score)
    elif record.filler is None and len(filled) == 2:
        (source_slot, source), (target_slot, target) = filled
        graph.add_edge(
            _add_span(graph, key, text_id, source),
            _add_span(graph, key, text_id, target),
            label=record.frame,
            source_slot=source_slot,
            target_slot=target_slot,
            **score,
        )
    else:
        node = f"{key}#record={number}"
        graph.add_node(node, kind="record", label=record.frame, text_id=text_id, **score)
        evoked = [] if record.filler is None else [(EVOKED_BY, record.filler)]
        for label, filler in evoked + filled:
            graph.add_edge(node, _add_span(graph, key, text_id, filler), label=label)


def _add_span(graph: Any, key: str, text_id: str, filler: Filler) -> str:
    node = f"{key}#char={filler.start},{filler.end}"
    if node not in graph:
        place = {"text": filler.text, "start": filler.start, "end": filler.end}
        graph.add_node(node, kind="span", label="", text_id=text_id, **place)
    return node
