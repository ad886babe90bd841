"""Crawling: from a start address to the pages a source is made of, politely, durably, each address with its fate."""
