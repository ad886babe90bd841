"""Conversations: questions, answers as they are written, branches, sharing and export."""
