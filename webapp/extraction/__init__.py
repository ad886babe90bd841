"""Bytes to text: what a page, a PDF, a Word document or a text file says, read in a child process.

`service.extract` is the only door. `detect` decides what the bytes are, `html` and `files` read them.
"""
