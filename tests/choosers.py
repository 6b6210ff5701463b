"""Oracles that say which option texts belong to, and data for them."""

import zlib

import numpy as np


def blobs(n=240, n_blobs=6, n_classes=3, *, d=12, noise=0.12, seed=0):
    """Texts, vectors and classes: each class is some blobs that lie far apart."""
    rng = np.random.default_rng(seed)
    blob = np.arange(n) % n_blobs
    centers = np.eye(d)[:n_blobs] * 2
    Z = centers[blob] + noise * rng.normal(size=(n, d))
    return [f"text {i}" for i in range(n)], Z, blob % n_classes


class Choosing:
    """Knows the class of each text, and keeps what it was asked. Names nothing."""

    def __init__(self, texts, labels, *, accuracy=1.0, seed=0):
        self.label_of = dict(zip(texts, labels, strict=True))
        self.accuracy = accuracy
        self.rng = np.random.default_rng(seed)
        self.asked, self.shown = [], []
        self.label_named = {self.name(label): label for label in labels}

    def name(self, label):
        return f"class {label}"

    def of(self, option):
        """Give the class of an option, a name or a group."""
        if isinstance(option, str):
            return self.label_named.get(option)
        found = [self.label_of[text] for text in option]
        return max(found, key=found.count)

    def say(self, texts, options):
        right = self.of(tuple(texts))
        classes = [self.of(option) for option in options]
        answer = classes.index(right) if right in classes else len(options)
        if self.rng.random() < self.accuracy:
            return answer
        others = [i for i in range(len(options) + 1) if i != answer]
        return int(self.rng.choice(others))

    def answer_choices(self, questions):
        self.asked += questions
        return np.array([self.say(*question) for question in questions], dtype=int)

    @property
    def n_questions(self):
        return len(self.asked) + len(self.shown)


class Naming(Choosing):
    """Names categories, too."""

    def propose_categories(self, texts, known=()):
        self.shown.append((list(texts), list(known)))
        names = dict.fromkeys(self.name(self.label_of[text]) for text in texts)
        return [name for name in names if name not in known]


class Saying:
    """Says what a function of texts and options says; ``names`` are all it proposes."""

    def __init__(self, say):
        self.say = say
        self.asked, self.shown = [], []

    def answer_choices(self, questions):
        self.asked += questions
        return np.array([self.say(*question) for question in questions], dtype=int)

    @property
    def n_questions(self):
        return len(self.asked) + len(self.shown)


class Posing(Saying):
    """Proposes what it was told to."""

    def __init__(self, say, names):
        super().__init__(say)
        self.names = names

    def propose_categories(self, texts, known=()):
        self.shown.append((list(texts), list(known)))
        return self.names


def mute(texts, options):
    return -1


def none(texts, options):
    return len(options)


def first(texts, options):
    return 0


def by_hash(texts, options):
    """Consistent, whatever the order of the options, and without meaning."""
    keys = [str(option) for option in options]
    place = zlib.crc32(str(texts).encode())
    return keys.index(sorted(keys)[place % len(keys)])


def at_random(seed=0):
    rng = np.random.default_rng(seed)
    return lambda texts, options: int(rng.integers(-1, len(options) + 1))
