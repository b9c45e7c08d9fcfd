"""Schemas: those that requests may name, and what is wrong with one."""

import asyncio

from fastapi import FastAPI

from ucuie.errors import SchemaError
from ucuie.schema import Schema
from ucuie.server.messages import NamedSchemaFacts, SchemaFacts, SchemaList, SchemaToCheck
from ucuie.server.openapi import GUARDED, POSTED, problem_answers
from ucuie.server.problems import NOT_FOUND, Problem
from ucuie.server.queries import read_schema, read_yaml_schema
from ucuie.server.schemas import NamedSchemas
from ucuie.server.settings import ServerSettings


def add_schemas(app: FastAPI, settings: ServerSettings, schemas: NamedSchemas) -> None:
    """Adds `/v1/schemas` and what is below it."""

    @app.get(
        "/v1/schemas",
        tags=["schemas"],
        summary="The schemas that requests may name",
        responses=problem_answers(*GUARDED),
    )
    async def list_schemas() -> SchemaList:
        return SchemaList(schemas=[NamedSchemaFacts.of_named(named) for named in schemas.all()])

    @app.get(
        "/v1/schemas/{name}",
        tags=["schemas"],
        summary="One of them",
        responses=problem_answers(*GUARDED, 404, 422),
    )
    async def get_schema(name: str) -> NamedSchemaFacts:
        try:
            return NamedSchemaFacts.of_named(schemas[name])
        except SchemaError as error:
            raise Problem(NOT_FOUND, str(error)) from None

    @app.post(
        "/v1/schemas/check",
        tags=["schemas"],
        summary="Read a schema, and say what is wrong with it",
        responses=problem_answers(*POSTED),
    )
    async def check_schema(message: SchemaToCheck) -> SchemaFacts:
        # YAML of the largest size takes long enough to hold others up.
        schema = await asyncio.to_thread(_checked_schema, message, schemas, settings)
        return SchemaFacts.of(schema)


def _checked_schema(message: SchemaToCheck, schemas: NamedSchemas, settings: ServerSettings) -> Schema:
    if message.yaml is not None:
        return read_yaml_schema(message.yaml, settings)
    assert message.schema_source is not None
    return read_schema(message.schema_source, schemas, settings)
