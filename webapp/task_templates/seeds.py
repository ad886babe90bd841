"""The templates that come with the program. Rows of them are kept at this version's words by `service.ensure_seeded`.

What differs each time (the text, the links, the topic) is left open: the form asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Seed:
    key: str
    name: str
    description: str
    task_type: str
    default_config: dict[str, Any] = field(default_factory=dict)
    config_schema: dict[str, Any] = field(default_factory=dict)


# The steps read it as {{ config }}.
NAMED = {"type": "object", "required": ["custom_config"],
         "properties": {"custom_config": {"type": "string", "minLength": 1}}}  # fmt: skip
SEEDS = (
    Seed("page-gist", "The gist of a page", "A few sentences of a page or a text, each with its place in the source.",
         "summary", {"max_length": 120}),
    Seed("long-read", "A long read, shortened", "Reports, papers or several articles together, on about one page.",
         "summary", {"max_length": 450}),
    Seed("pros-and-cons", "What speaks for and against", "Three questions about a topic, answered from pages you name.",
         "research", {"questions": ["What speaks for it?", "What speaks against it?", "What is still disputed?"]}),
    Seed("state-of-the-art", "What is known about it", "A topic looked up in your knowledge and in pages found for it.",
         "research", {"questions": ["What is it?", "How does it work?", "What has changed of late?",
                                    "What is not known yet?"], "max_sources": 8}),
    Seed("blog-post", "Blog post", "800 words for people who do not know the subject yet.", "content_generation",
         {"content_type": "blog_post", "length": 800, "tone": "friendly"}),
    Seed("press-release", "Press release", "One page that an editor can print as it stands.", "content_generation",
         {"content_type": "press_release", "length": 400, "tone": "professional"}),
    Seed("first-look", "First look at a table", "Types, gaps, outliers, what goes together; charts and a written report.",
         "data_analysis", {"analysis_type": "statistical"}),
    Seed("two-groups", "Do the groups differ?", "Compares the groups of a column, with the right test and how large the "
         "difference is.", "data_analysis", {"analysis_type": "comparison"}),
    Seed("page-in-steps", "What a page is about", "Fetches the page you name, shortens it and says which words carry it.",
         "custom", {"steps": ["fetch: {{ config }}", "summary", "keywords"]}, NAMED),
    Seed("known-already", "What do we have on this?", "Searches your knowledge for what you name, and says which words the "
         "finds share.", "custom", {"steps": ["search: {{ config }}", "keywords"]}, NAMED),
    Seed("which-offer", "Which offer is best?", "Offers scored from 0 to 10 against price, quality and delivery; says how "
         "firm the choice is.", "decision", {"question": "Which offer do we take?",
                                             "criteria": ["Price: 3", "Quality: 3", "Delivery: 1"]}),
    Seed("who-and-what", "Who and what is in this text?", "Names, dates, amounts and key words of a text.", "nlp",
         {"analyses": ["language", "entities", "keywords"], "max_keywords": 15}),
    Seed("easy-to-read", "Is this easy to read?", "Length of sentences, readability and tone of a text.", "nlp",
         {"analyses": ["language", "statistics", "readability", "sentiment"]}),
    Seed("ask-a-service", "Ask another service", "A call to an API that answers in JSON; takes what you name from the "
         "answer.", "api", {"method": "GET", "headers": ["Accept: application/json"], "accept": "success", "retries": 3}),
)  # fmt: skip
