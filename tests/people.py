"""Questions for people, texts that mean harm, and somebody who answers."""

import pytest

from skllm_cluster.oracles._human_question import kind_of

TRIPLETS = [(f"anchor {i}", f"left {i}", f"right {i}") for i in range(40)]
PAIRS = [(f"first {i}", f"second {i}") for i in range(40)]
HOSTILE = [
    "\x1b[2J\x1b]0;title\x07",
    "\r  1:      fake",
    "x\n  1:      fake\n  2:      fake",
    "\u202eevil\u2066",
    "a\u2028b\u2029c\x85d\x0be",
    "half a \ud83d pair",
    "</script><script>alert(1)</script><!-- <script>",
    "\"'&lt;&#0;\\u003c {{DATA}} {{POLICY}}",
    "\x00\x7f\u200b\ufeff",
    "",
]


def swap(questions):
    """Turn the choices of triplets, and pairs, the other way round."""
    return [(*anchor, second, first) for *anchor, first, second in questions]


def question_of(oracle, texts):
    """A triplet or a pair as the oracle puts it to a person."""
    return oracle._question(kind_of(texts), *texts)


def asked(oracle, questions=TRIPLETS):
    """Ask an oracle that does not wait for answers, and says so."""
    with pytest.warns(UserWarning, match="Questions that are open"):
        return getattr(oracle, f"answer_{kind_of(questions[0]).name}")(questions)


class Person:
    """Somebody at a terminal who sees what is written there, and types."""

    def __init__(self, decide):
        self.decide, self.pages, self.prompts, self.notes = decide, [], [], []

    def write(self, text):
        (self.notes if "nothing" in text else self.pages).append(text)

    def read(self, prompt):
        self.prompts.append(prompt)
        key = self.decide(self.shown(), len(self.prompts) - 1)
        if isinstance(key, str):
            return key
        raise key

    def shown(self):
        """The texts on the screen, by their labels; nothing after the last question."""
        found = {}
        for label in ("Query", "1", "2", "First", "Second"):
            for line in self.pages[-1].splitlines():
                if line.startswith(f"  {label}:"):
                    found[label] = line[10:]
        return found

    @property
    def n_questions(self):
        return sum("Question" in page for page in self.pages)
