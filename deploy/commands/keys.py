"""`keys add`, `keys list` and `keys revoke`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnemodex.pipelines.commands.output import print_json, print_table, say
from mnemodex.schemas.errors import UserError

_FILE = Annotated[Path, typer.Argument(help="The file of keys.", metavar="FILE")]

_OPTIONS: dict[int | str, str] = {"scopes": "scope", "memories": "memory", "indexes": "index"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys = typer.Typer(
        no_args_is_help=True,
        help="Make, list and revoke the keys of a server.",
        epilog="Example: mnemodex keys add keys.json --name reader --scope search",
    )
    keys.command(epilog="Example: mnemodex keys add keys.json --name reader --scope search --scope answer")(add)
    keys.command("list", epilog="Example: mnemodex keys list keys.json")(list_keys)
    keys.command(epilog="Example: mnemodex keys revoke keys.json reader")(revoke)
    app.add_typer(keys, name="keys")


def add(
    file: _FILE,
    name: Annotated[str, typer.Option(help="Who has the key; the audit log shows it.")],
    scope: Annotated[list[str], typer.Option(help="search, answer, sql or admin; may be repeated.")],
    memory: Annotated[list[str] | None, typer.Option(help="A memory that may be asked; all without it.")] = None,
    index: Annotated[list[str] | None, typer.Option(help="An index that may be asked; all without it.")] = None,
    where: Annotated[str | None, typer.Option(help="A filter that is added to each question.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second; no limit without it.")] = None,
) -> None:
    """Make a key and print it; it is shown once, since the file has its hash alone."""
    from pydantic import ValidationError

    from mnemodex.deploy.key_file import Key, add_key, new_token, now
    from mnemodex.schemas.validation import say as say_problem

    token, digest = new_token()
    given = {"scopes": scope, "memories": memory or None, "indexes": index or None, "where": where, "rate": rate}
    try:
        key = Key.model_validate(given | {"name": name, "sha256": digest, "created": now()})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        option = f"--{_OPTIONS.get(problem['loc'][0], problem['loc'][0])}: " if problem["loc"] else ""
        raise UserError(f"keys add: {option}{say_problem(problem)}") from error
    add_key(file, key)
    say(f"{file}: key {name!r} for {', '.join(key.scopes)}. It is shown once:", err=True)
    say(token)


def list_keys(
    file: _FILE, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Show the keys of a file: what each may do, and which were revoked."""
    from mnemodex.deploy.key_file import read_keys

    keys = read_keys(file).keys
    if as_json:
        print_json({"keys": [key.model_dump(mode="json", exclude={"sha256"}) for key in keys]})
        return
    print_table(
        "",
        ["key", "scopes", "memories", "indexes", "where", "rate", "created", "revoked"],
        [
            [
                key.name,
                ", ".join(key.scopes),
                "all" if key.memories is None else ", ".join(key.memories),
                "all" if key.indexes is None else ", ".join(key.indexes),
                key.where,
                key.rate,
                key.created,
                key.revoked,
            ]
            for key in keys
        ],
    )


def revoke(file: _FILE, name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """Revoke a key: a server refuses it from its next request on."""
    from mnemodex.deploy.key_file import revoke_key

    revoke_key(file, name)
    say(f"{file}: key {name!r} is revoked", err=True)
