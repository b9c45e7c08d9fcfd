"""Three biomedical corpora with entities: cancer genetics, pathways, and whole articles about mice.

Columns of token and tag; the tokenizer split at every hyphen:

    The<tab>O
    TGF<tab>B-Gene_or_gene_product
    -<tab>I-Gene_or_gene_product
    beta<tab>I-Gene_or_gene_product

The test splits stay unread, for whoever wants to measure with them. CRAFT's tags name ontologies (CHEBI, GO);
the words here say what of each is annotated.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from making.sources.numbering import Examples
from making.sources.source import Source
from making.sources.unify import Types, types_of, unified
from ucuie.data import Fault
from ucuie.data.draft import Draft
from ucuie.data.readers.columns import ColumnOptions, read_columns

CANCER_GENETICS = types_of("""
    Gene_or_gene_product | gene or gene product | A gene, RNA or protein.
    Simple_chemical | simple chemical | A chemical that is no gene product, such as a drug or ion.
    Amino_acid | amino acid | An amino acid, or its place in a protein.
    Cancer | cancer | A cancer or tumour, by name or kind.
    Cell | cell | A kind of cell or a cell line.
    Cellular_component | cellular component | A part of a cell, such as the nucleus or a membrane.
    Tissue | tissue | A tissue of the body, such as endothelium or muscle.
    Multi-tissue_structure | multi-tissue structure | A body part of several tissues, such as vessels.
    Organ | organ | An organ, such as the liver or the brain.
    Organism | organism | A species, kind of animal, patient or other living being.
    Organism_subdivision | body part | A region of the body, such as the head or a limb.
    Organism_substance | body fluid or substance | A substance of the body, such as blood or serum.
    Anatomical_system | anatomical system | A system of the body, such as the immune system.
    Developing_anatomical_structure | developing anatomical structure | A structure of an embryo.
    Immaterial_anatomical_entity | anatomical space | A cavity or other space within the body.
    Pathological_formation | pathological formation | A lesion, wound or the like that is no cancer.
""")
PATHWAYS = types_of("""
    Gene_or_gene_product | gene or gene product | A gene, RNA or protein.
    Simple_chemical | simple chemical | A chemical that is no gene product, such as a drug or ion.
    Complex | protein complex | Several molecules that are bound together.
    Cellular_component | cellular component | A part of a cell, such as the nucleus or a membrane.
""")
ARTICLES = types_of("""
    GGP | gene or gene product | A gene or protein by its name.
    SO | sequence feature | A kind of gene or sequence, such as allele, exon, mutant or QTL.
    CHEBI | chemical | A chemical, or a kind or part of molecules, such as protein.
    GO | cellular component | A part of a cell or a complex, such as nucleus, chromosome or antibody.
    CL | cell type | A kind of cell, or the word cell itself.
    Taxon | organism | A species or other group of organisms, such as mouse or human.
""")

_OPTIONS = ColumnOptions(spacing="tight")


def _read(folder: Path, *, name: str, corpus: str, types: Types) -> Examples:
    return unified(name, _drafts(folder, corpus), types)


def _drafts(folder: Path, corpus: str) -> Iterator[Draft | Fault]:
    paths = [next(folder.rglob(f"{corpus}-IOB/{split}.tsv")) for split in ("train", "devel")]
    for reading in read_columns(paths, _OPTIONS):
        if isinstance(reading, Fault):
            yield reading
        else:
            # CRAFT tags each "+" of a genotype such as +/- as a kind of sequence.
            words = tuple(one for one in reading.records if any(map(str.isalnum, next(one.fillers()).text)))
            symbols = ["record of symbols alone"] * (len(reading.records) - len(words))
            yield Draft(reading.place, reading.text, words, changes=(*reading.changes, *symbols))


def _source(name: str, title: str, licence: str, corpus: str, types: Types) -> Source:
    return Source(
        name=name,
        title=title,
        licence=licence,
        attribution="cambridgeltl/MTL-Bioinformatics-2016 (df0df02)",
        read=partial(_read, name=name, corpus=corpus, types=types),
        archive="mtl_bio.tar.xz",
        cap=None,
        absent="schema",
    )


SOURCES = (
    _source("cancer_genetics", "BioNLP 2013 Cancer Genetics", "CC-BY-SA-3.0", "BioNLP13CG", CANCER_GENETICS),
    _source("pathways", "BioNLP 2013 Pathway Curation", "CC-BY-SA-3.0", "BioNLP13PC", PATHWAYS),
    _source("craft", "CRAFT", "CC-BY-3.0", "CRAFT", ARTICLES),
)
