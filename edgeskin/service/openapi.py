"""What ``/openapi.json`` says of the routes: their bodies, options and answers.

The routes read requests themselves, so FastAPI cannot derive it from their arguments.
"""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from fastapi import FastAPI

from edgeskin.decision.limitations import SITES
from edgeskin.results import Method
from edgeskin.service.limits import HEALTH
from edgeskin.service.schema import Schema, reference, schemas
from edgeskin.service.texts import LANGUAGES
from edgeskin.service.uploads import PHOTO

BINARY: Schema = {"type": "string", "format": "binary"}
OPTIONS: dict[str, Schema] = {
    "method": {"enum": list(get_args(Method)), "description": "Method of the map."},
    "target": {"type": "string", "description": "What the map shows the evidence for: cancer, or a class."},
    "mc_dropout": {"type": "integer", "maximum": 1000, "description": "Samples by dropout: 0, or 2 to 1000."},
    "seed": {"type": "integer", "minimum": 0, "description": "Seed of the sampling."},
    "age": {"type": "number", "minimum": 0, "maximum": 120, "description": "Age in years."},
    "site": {"enum": list(SITES), "description": "Body site."},
    "format": {"enum": ["html", "json", "png"], "description": "Of the report."},
    "language": {"enum": list(LANGUAGES), "description": "Of the message."},
}
SECURITY = "token"


def photo_operation(
    answers: Mapping[str, Schema],
    options: Sequence[str] = (),
    parts: Sequence[str] = (PHOTO,),
    many: bool = False,
) -> dict[str, Any]:
    """Describe a route that takes photos.

    Args:
        answers: Schema of the answer by media type.
        options: Names of the options, of OPTIONS, in the query string or the form.
        parts: Names of the parts with photos. One photo may be the body itself.
        many: Whether a part may come several times.
    """
    part = {"type": "array", "items": BINARY} if many else BINARY
    fields = {**dict.fromkeys(parts, part), **{name: OPTIONS[name] for name in options}}
    form = {"type": "object", "properties": fields, "required": list(parts), "additionalProperties": False}
    bodies: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if tuple(parts) == (PHOTO,) and not many:
        bodies["application/octet-stream"] = {"schema": BINARY}
    return {
        "requestBody": {"required": True, "content": bodies},
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": OPTIONS[name]} for name in options
        ],
        **json_operation(answers),
    }


def json_operation(answers: Mapping[str, Schema]) -> dict[str, Any]:
    """Describe the answers of a route, by media type, and its errors."""
    content = {kind: {"schema": schema} for kind, schema in answers.items()}
    error = {"anyOf": [reference("Error"), reference("Assessment")]}
    return {
        "responses": {
            "200": {"description": "The answer", "content": content},
            "default": {
                "description": "An error; a photo that cannot be read gives an Assessment of status error",
                "content": {"application/json": {"schema": error}},
            },
        }
    }


def complete(app: FastAPI, has_tokens: bool) -> None:
    """Add the schemas of the results, and the tokens, to the ``/openapi.json`` of an application."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(schemas())
        if has_tokens:
            components["securitySchemes"] = {SECURITY: {"type": "http", "scheme": "bearer"}}
            document["security"] = [{SECURITY: []}]
            for path in document["paths"].keys() & set(HEALTH):
                document["paths"][path]["get"]["security"] = []
        return document

    app.openapi = openapi  # type: ignore[method-assign]
