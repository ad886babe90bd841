"""WSGI entry point: `gunicorn wsgi:app`."""

from webapp.app import create_app
from webapp.serve import prepare

app = create_app(prepare())
