"""Schemas as YAML: what is written reads back."""

from hypothesis import given
from hypothesis import strategies as st

from ucuie.schema import Frame, Schema, Slot
from ucuie.schema.drafting import schema_yaml

names = st.text(min_size=1).map(str.strip).filter(bool) | st.sampled_from(
    ["frames", "slots", "description", "name", "no", "null", "~", "1", "a: b", "#x", "[a]", "- a", "a\u2028b"]
)
descriptions = st.none() | st.text(max_size=20)
slots = st.builds(Slot, name=names, description=descriptions, required=st.booleans())
frames = st.builds(
    Frame,
    name=names,
    description=descriptions,
    slots=st.lists(slots, max_size=3, unique_by=lambda slot: slot.name),
)
schemas = st.lists(frames, min_size=1, max_size=3, unique_by=lambda frame: frame.name).map(
    lambda many: Schema(frames=tuple(many))
)


@given(schemas)
def test_a_schema_written_as_yaml_reads_back(schema: Schema) -> None:
    assert Schema.from_yaml(schema_yaml(schema)) == schema


def test_short_schemas_are_written_short() -> None:
    for yaml in ("[person, city]\n", "work for: [subject, object]\nlive in: [subject, object]\n"):
        assert schema_yaml(Schema.from_yaml(yaml)) == yaml
