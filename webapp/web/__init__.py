"""Flask only: endpoints, pages, errors on the wire, live readers. Knows no area."""
