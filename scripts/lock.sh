#!/bin/sh
# Resolve requirements*.lock for every Python from 3.11 on, with the hashes of the public files.
# The user's own index settings are left out, so that nothing of one machine gets into the locks.
set -eu
cd "$(dirname "$0")/.."

compile() {
    env -u UV_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS -u UV_DEFAULT_INDEX \
        uv --no-config pip compile --universal --python-version 3.11 --generate-hashes \
        --override scripts/lock-overrides.txt --no-emit-index-url --no-header --no-annotate --quiet "$@"
}

compile pyproject.toml --extra minilm --output-file requirements.lock ${UPGRADE:+--upgrade}
compile pyproject.toml --extra minilm --group dev --constraint requirements.lock --output-file requirements-dev.lock
compile --group audit --constraint requirements-dev.lock --output-file requirements-audit.lock
echo 'hatchling>=1.27' | compile - --constraint requirements-dev.lock --output-file requirements-build.lock

if grep -nE '^-|file:|://' requirements*.lock; then
    echo 'a lock file names a place of its own' >&2
    exit 1
fi
