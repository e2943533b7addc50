"""Reads JSON lines: first an OpenAPI document, then instances, each {"schema": name, "instance": value}.

Prints one line for each: "ok", or what is wrong. The document is validated against OpenAPI 3.1, an instance against
the schema of that name in the document, and its examples against the schema that they stand in.
"""
import json
import sys

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator


def first(errors):
    for error in errors:
        return f"{list(error.absolute_path)}: {error.message[:300]}"
    return "ok"


def check(document, schema, instance):
    """Validates where references are those of the document."""
    whole = {"$ref": "#/components/schemas/" + schema, "components": document["components"]}
    return first(Draft202012Validator(whole).iter_errors(instance))


def bad_examples(document, schema, where):
    if isinstance(schema, list):
        for i, part in enumerate(schema):
            yield from bad_examples(document, part, f"{where}/{i}")
    if not isinstance(schema, dict):
        return
    for example in schema.get("examples", []) if isinstance(schema.get("examples"), list) else []:
        whole = {**schema, "components": document["components"]}
        problem = first(Draft202012Validator(whole).iter_errors(example))
        if problem != "ok":
            yield f"example in {where}: {problem}"
    for name, part in schema.items():
        if name != "examples":
            yield from bad_examples(document, part, f"{where}/{name}")


def main():
    document = json.loads(sys.stdin.readline())
    problem = first(OpenAPIV31SpecValidator(document).iter_errors())
    for bad in bad_examples(document, document["components"]["schemas"], ""):
        problem = bad if problem == "ok" else problem
    print(problem, flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        print(check(document, case["schema"], case["instance"]), flush=True)


if __name__ == "__main__":
    main()
