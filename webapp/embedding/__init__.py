"""Embeddings: texts to vectors, by the packaged MiniLM, by sentence-transformers, or by a server."""
