"""Signed webhooks: out, to those who subscribed; in, to start tasks."""
