# One image for every process; docker-compose.yml says which one a container runs.
# By itself: docker run -p 127.0.0.1:8000:8000 -v brainstem:/data brainstem   (embedded mode, accounts required)

FROM python:3.13-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-deps --require-hashes -r requirements.lock -r requirements-build.lock
COPY pyproject.toml README.md LICENSE worker.py wsgi.py ./
COPY webapp webapp
COPY actors actors
COPY migrations migrations
COPY templates templates
COPY static static
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation --no-index -e . \
    && /opt/venv/bin/python -m compileall -q webapp actors migrations

FROM python:3.13-slim-trixie
# pg_dump and pg_restore of the database's version (`brainstem backup`): Debian 13 has those of Postgres 17.
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-client-17 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 brainstem \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin brainstem \
    && install -d -o brainstem -g brainstem -m 700 /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
# Reachable from outside the container, so that accounts are needed: make one with `brainstem create-admin`.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BRAINSTEM_HOME=/data \
    BRAINSTEM_HOST=0.0.0.0 \
    AUTH_REQUIRED=1 \
    BRAINSTEM_REGISTRATION=0
USER 10001:10001
VOLUME /data
EXPOSE 8000 8001
STOPSIGNAL SIGTERM
CMD ["brainstem", "up"]
