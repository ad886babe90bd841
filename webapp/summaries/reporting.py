"""The result of a summary, and the files it can be saved as."""

from __future__ import annotations

from typing import Any

from webapp.tasks.kinds import Download

SHOWN_TEXT = 200_000  # characters of a source kept with the result, so that citations can be looked up


def result(made: dict[str, Any], sources: list[dict[str, Any]], params: dict[str, Any]) -> dict[str, Any]:
    """What the task leaves. Each sentence has its number, source and place; `by_source` is empty for a single source."""
    sentences = [{**sentence, "ref": number} for number, sentence in enumerate(made["sentences"], 1)]
    return {
        "summary": _joined(sentences),
        "sentences": sentences,
        "by_source": [
            _of_source(source, made["each"][source["id"]]) for source in sources if source["id"] in made["each"]
        ],
        "sources": [_shown(source) for source in sources],
        "words": made["words"],
        "max_length": params["max_length"],
        "method": made["method"],
        "method_id": made["engine"] if made["engine"] != "extractive" else "lexrank-tfidf",
        "engine": made["engine"],
        "sentence_count": made["sentence_count"],
        "compression": made["compression"],
        "left_out": made["left_out"],
        "notes": made["notes"],
    }


def _of_source(source: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    return {"source_id": source["id"], "title": source["title"], "url": source["url"], "summary": _joined(made["sentences"]),
            "sentences": made["sentences"], "words": made["words"]}  # fmt: skip


def _joined(sentences: list[dict[str, Any]]) -> str:
    return " ".join(sentence["text"] for sentence in sentences)


def _shown(source: dict[str, Any]) -> dict[str, Any]:
    cut = len(source["text"]) > SHOWN_TEXT
    return {**source, "text": source["text"][:SHOWN_TEXT], "text_truncated": cut}


# -- files -----------------------------------------------------------------------------------------------------------


def markdown(title: str, result: dict[str, Any]) -> str:
    """The summary with numbered references, each source by itself, and where each sentence stands."""
    from webapp.answers.plain import escaped

    names = {source["id"]: _name(source) for source in result["sources"]}
    body = " ".join(f"{escaped(one['text'])} [{one['ref']}]" for one in result["sentences"])
    lines = [f"# {escaped(title)}", "", body, "", f"*{escaped(result['method'])}; {result['words']:,} words*"]
    for one in result.get("by_source") or ():
        lines += ["", f"## {escaped(names[one['source_id']])}", "", escaped(one["summary"])]
    lines += ["", "## Where each sentence stands", ""]
    lines += [f"{one['ref']}. {_place(one, escaped(names[one['source_id']]))}" for one in result["sentences"]]
    if unread := [source for source in result["sources"] if source.get("error")]:
        lines += ["", "## Not used", ""]
        lines += [f"- {escaped(_name(source))}: {escaped(source['error'])}" for source in unread]
    lines += ["", *(f"> {escaped(note)}" for note in result.get("notes") or ())]
    return "\n".join(lines).rstrip() + "\n"


def _place(one: dict[str, Any], name: str) -> str:
    weak = ", carried only weakly" if one.get("verdict") == "weak" else ""
    return f"{name}, characters {one['start']}–{one['end']}{weak}"


def text(title: str, result: dict[str, Any]) -> str:
    return f"{title}\n\n{result['summary']}\n"


def _name(source: dict[str, Any]) -> str:
    return str(source.get("title") or source.get("url") or "Pasted text")


DOWNLOADS = {"md": Download("text/markdown; charset=utf-8", markdown, "Markdown"),
             "txt": Download("text/plain; charset=utf-8", text, "Text")}  # fmt: skip
