"""Knowledge: collections of documents, their versions, chunks and citations; search over them.

The rows are the truth. The keyword index follows them inside the database; the vector index (Chroma) is derived and
can be rebuilt from them at any time.
"""
