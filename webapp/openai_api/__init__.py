"""OpenAI's API over the engines, the sources and the embedders of this installation: `/v1`."""
