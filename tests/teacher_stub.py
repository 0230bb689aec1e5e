"""A teacher for tests: it answers the question of `deepicd.distill` from the note's own words."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.judge_stub import MODEL, Reply

_NOTE = re.compile(r"<note>\n(.*?)\n</note>", re.DOTALL)
_GOLD = re.compile(r"turned out to be: (\S+) (.*)")
_COMPLAINT, _REPORTED = re.compile(r"Chief Complaint: (.*)"), re.compile(r"man\b.*? with (.*?)\. ", re.DOTALL)
_DENIED = re.compile(r"No ([a-z ]+)\.\s*(?:Past|\Z)")


def trace(prompt: str) -> str:
    """Reasoning about the prompt's note that passes all filters."""
    note = found[1] if (found := _NOTE.search(prompt)) else ""
    complaint = found[1] if (found := _COMPLAINT.search(note)) else "weakness"
    reported = " ".join(found[1].split()) if (found := _REPORTED.search(note)) else complaint
    title = found[2] if (found := _GOLD.search(prompt)) else "an unnamed disease"
    return (
        f"The patient came in with {complaint}. The note records {reported}. Another cause would be possible, but nothing else "
        f"supports it, and the tempo fits one process. Taken together this points to {title}."
    )


def code(prompt: str) -> str:
    """The gold code of a prompt with `oracle: true`."""
    return found[1] if (found := _GOLD.search(prompt)) else "R69"


def good(prompt: str) -> str:
    """An answer that passes all filters."""
    return f"<reasoning>{trace(prompt)}</reasoning>\n<diagnosis>{code(prompt)}</diagnosis>"


def reply(text: str | None, *, model: str = MODEL, finish: str = "stop") -> Reply:
    """One answer with its tokens, in the form of the OpenAI API."""
    content: dict[str, Any] = {
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50},
    }
    return Reply(body=json.dumps(content).encode())


def changed(one: Reply, **fields: Any) -> Reply:
    """A reply with other fields in its JSON."""
    return Reply(body=json.dumps({**json.loads(one.body), **fields}).encode())


def choice(content: Any, finish: str | None = "stop") -> dict[str, Any]:
    """One of an answer's choices."""
    return {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
