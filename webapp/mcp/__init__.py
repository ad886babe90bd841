"""The Model Context Protocol: other programs' assistants search and ask here. Needs the extra `mcp`."""
