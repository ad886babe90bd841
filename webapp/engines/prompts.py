"""A conversation as the pieces of a prompt: texts to be tokenised, and ids of control tokens.

Control tokens come from the template only. What people, pages or models wrote is handed on as plain text, so nobody
can forge the end of a turn by writing `</s>`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence

from webapp.core.errors import Invalid
from webapp.engines.base import Message

Piece = str | int

# What TinyLlama-Chat and Zephyr were trained with; used where a file brings no template of its own.
PLAIN_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def pieces(
    template: str | None, messages: Sequence[Message], control: Mapping[str, int], bos: int | None, eos: int | None
) -> list[Piece]:
    """Raises Invalid (code broken_template) when the file's template is an error or does what none may."""
    mark = secrets.token_hex(8)  # no text can hold it: it is made here and now
    stand_ins = [{"role": m["role"], "content": f"\x02{mark}{number}\x03"} for number, m in enumerate(messages)]
    bos_mark, eos_mark = f"\x02{mark}bos\x03", f"\x02{mark}eos\x03"
    said = _render(template or PLAIN_TEMPLATE, stand_ins, bos_mark, eos_mark)
    contents = {f"{number}": m["content"] for number, m in enumerate(messages)}
    found: list[Piece] = []
    for number, part in enumerate(re.split(f"\x02{mark}(\\w+)\x03", said)):
        if number % 2 == 0:
            found += _with_control(part, control)
        elif part in ("bos", "eos"):
            found += [token for token in [bos if part == "bos" else eos] if token is not None]
        else:
            found.append(contents[part])
    found = _joined(found)
    return found if bos is None or (found and found[0] == bos) else [bos, *found]


def _render(template: str, messages: list[Message], bos: str, eos: str) -> str:
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> str:
        raise TemplateError(message)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
    made.globals = {"raise_exception": refuse}  # no range, no cycler: a template needs none to say who spoke
    try:
        return made.from_string(template).render(
            messages=messages, bos_token=bos, eos_token=eos, add_generation_prompt=True
        )
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError, MemoryError) as exc:
        raise Invalid(
            f"the model's chat template does not work: {str(exc)[:200]}",
            code="broken_template",
            suggestion="Use another build of the model.",
        ) from None


def _with_control(text: str, control: Mapping[str, int]) -> list[Piece]:
    known = [token for token in control if token and token in text]
    if not known:
        return [text] if text else []
    longest_first = "|".join(re.escape(token) for token in sorted(known, key=len, reverse=True))
    return [control.get(part, part) if number % 2 else part
            for number, part in enumerate(re.split(f"({longest_first})", text)) if part]  # fmt: skip


def _joined(parts: list[Piece]) -> list[Piece]:
    """Texts beside each other as one: tokenizers put a space before each piece."""
    found: list[Piece] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part != "":
            found.append(part)
    return found
