"""Engines: language models that write text, behind one protocol; a file in a child process, or a server."""
