"""The API's own documentation, from local files: /openapi.json, /docs (Swagger UI), /redoc."""
