"""What is public is documented, and the documentation names what is public."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
from numpydoc.validate import validate

MODULES = [
    "skllm_cluster",
    "skllm_cluster.adaptation",
    "skllm_cluster.criteria",
    "skllm_cluster.datasets",
    "skllm_cluster.embedders",
    "skllm_cluster.guard",
    "skllm_cluster.hierarchy",
    "skllm_cluster.journal",
    "skllm_cluster.losses",
    "skllm_cluster.metrics",
    "skllm_cluster.oracles",
    "skllm_cluster.plotting",
    "skllm_cluster.pretraining",
    "skllm_cluster.refinement",
    "skllm_cluster.protocols",
    "skllm_cluster.sampling",
    "skllm_cluster.set_attention",
    "skllm_cluster.set_baselines",
    "skllm_cluster.smoothing",
]
# A summary may say it all (ES01), not everything has a sibling (SA01), a shape may say
# what an argument is (PR07, RT03), returned values have names (RT02), and descriptions
# may begin with a symbol (PR08).
ALLOWED = {"ES01", "PR07", "PR08", "RT02", "RT03", "SA01"}
# Constants and names of types, which a comment documents.
NOT_DOCUMENTED = (
    ".ChoiceQuestion",
    ".PAPER",
    ".PAPER_WORDINGS",
    ".PLAIN_PAIR_TEMPLATE",
    ".Pair",
    ".RELEASED",
    ".Triplet",
)


def public():
    for module in MODULES:
        for name in import_module(module).__all__:
            if not name.startswith("__"):
                yield f"{module}.{name}"


def methods(path):
    module, name = path.rsplit(".", 1)
    thing = getattr(import_module(module), name)
    if not inspect.isclass(thing):
        return
    for method in dir(thing):
        # Through the class: a method that is not always there is a descriptor.
        value = getattr(thing, method)
        if method.startswith("_") or not inspect.isfunction(value):
            continue
        if value.__module__.startswith("skllm_cluster"):  # also what it inherits
            yield f"{path}.{method}"


def complaints(path, allowed):
    errors = validate(path)["errors"]
    return [(code, text) for code, text in errors if code not in allowed]


@pytest.mark.parametrize(
    "path",
    [p for p in public() if not p.endswith(NOT_DOCUMENTED)],
)
def test_public_names_have_whole_numpydoc_docstrings(path):
    protocol = ".protocols." in path
    assert complaints(path, ALLOWED | ({"EX01", "PR01"} if protocol else set())) == []


@pytest.mark.parametrize("path", [m for p in public() for m in methods(p)])
def test_public_methods_have_whole_numpydoc_docstrings(path):
    assert complaints(path, ALLOWED | {"EX01"}) == []


def test_the_api_page_names_what_is_public_and_nothing_else():
    page = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
    assert set(re.findall(r"^\| `([\w.]+)`", page, re.MULTILINE)) == set(public())
