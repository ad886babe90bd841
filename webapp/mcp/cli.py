"""`brainstem mcp`."""

from __future__ import annotations

import sys

import click

from webapp.settings import load


@click.command()
@click.option("--url", help="The Brainstem to ask; left out: BRAINSTEM_MCP_URL, else the one of this machine.")
def mcp(url: str | None) -> None:
    """Serve the Model Context Protocol on standard input and output, for assistants that start it themselves.

    It asks a running Brainstem. Where that needs a login, put an API key into BRAINSTEM_MCP_KEY.
    """
    from webapp.core.errors import AppError
    from webapp.mcp.remote import Remote
    from webapp.mcp.server import build

    settings = load()
    try:
        remote = Remote(url or settings.mcp_url or f"http://127.0.0.1:{settings.port}", settings.mcp_key)
        server = build(remote)
    except AppError as error:
        click.echo(f"brainstem: {error.message} {error.suggestion or ''}".rstrip(), err=True)
        sys.exit(1)
    server.run("stdio")
