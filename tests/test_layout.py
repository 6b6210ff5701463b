"""The shape of the library: who imports whom, and what may not be there."""

import ast
import importlib
import os
import pkgutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import skllm_cluster.set_attention
from skllm_cluster.adaptation import FineTuner
from skllm_cluster.embedders import (
    HashingEmbedder,
    SentenceTransformerEmbedder,
    SetEncoder,
)
from skllm_cluster.oracles import OpenAIChat

ROOT = Path(skllm_cluster.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
HEAVY = ("openai", "sentence_transformers", "torch", "transformers")

# The hub. Every other file at the top level is a leaf.
ESTIMATORS = {"_cactus", "_clusterllm", "_granularity"}
LEAVES = {p.stem for p in ROOT.glob("*.py")} - ESTIMATORS - {"__init__"}
SEAMS = {"embedders", "oracles"}
# Leaves of more than one file.
FOLDERS = {
    "_asking",
    "_remote",
    "adaptation",
    "criteria",
    "journal",
    "losses",
    "metrics",
    "plotting",
    "refinement",
    "set_attention",
}
# What a leaf may know, and who may know more.
GROUND = {"_validation", "protocols"}
FURTHER = {
    "_asking": {"metrics"},
    "_average_link": {"_average", "metrics"},
    "_centers": {"_inputs", "_partition", "smoothing"},
    "_choosing": {"_asking", "_tree", "criteria"},
    "_pairs": {"_tree"},
    "_refining": {"_centers", "refinement", "smoothing"},
    "_rounds": {"_asking", "_refining", "adaptation", "sampling"},
    "_set_training": {
        "_set_input",
        "adaptation",
        "hierarchy",
        "losses",
        "pretraining",
    },
    "adaptation": {"losses"},
    "embedders": {"_remote", "journal", "set_attention"},
    "hierarchy": {"_average_link", "_tree", "_ward"},
    "oracles": {"_remote", "journal"},
    "plotting": {"_tree"},
    "refinement": {"_asking"},
    "sampling": {"_drawing", "_pairs"},
    "set_baselines": {"metrics"},
}


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path):
    return path.relative_to(ROOT).with_suffix("").as_posix()


def in_package(path):
    """Modules of the package that a file imports, anywhere in it, as "a/b"."""
    here = path.relative_to(ROOT).parent.parts
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [a.name.split(".") for a in node.names]
            found |= {"/".join(n[1:]) for n in names if n[0] == "skllm_cluster"}
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").split(".") if node.module else []
            if node.level:
                base = [*here[: len(here) + 1 - node.level], *base]
            elif base[:1] == ["skllm_cluster"]:
                base = base[1:]
            else:
                continue
            below = [[*base, alias.name] for alias in node.names]
            modules = [
                n for n in below if (ROOT.joinpath(*n[:-1], n[-1] + ".py")).exists()
            ]
            found |= {"/".join(n) for n in modules or [base]}
    return found


def imported_packages(path):
    """Top-level packages that a file imports from outside."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def public_modules():
    found = pkgutil.walk_packages([str(ROOT)], prefix="skllm_cluster.")
    names = [m.name for m in found if not m.name.split(".")[-1].startswith("_")]
    return ["skllm_cluster", *names]


def test_the_rules_see_the_imports_that_are_there():
    """Guards the other tests: a parser that sees nothing would let all of them pass."""
    assert in_package(ROOT / "_clusterllm.py") >= {"_asking", "_validation", "sampling"}
    assert in_package(ROOT / "oracles" / "_truth.py") == {
        "_validation",
        "protocols",
        "oracles/_prompts",
        "oracles/_truth_choices",
        "oracles/_truth_sets",
    }
    assert "embedders/_frozen" in in_package(
        ROOT / "embedders" / "_sentence_transformer.py"
    )


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_a_leaf_imports_no_other_leaf(leaf):
    allowed = set() if leaf in GROUND else GROUND | FURTHER.get(leaf, set())
    assert in_package(ROOT / f"{leaf}.py") <= allowed


@pytest.mark.parametrize("folder", sorted(SEAMS | FOLDERS))
def test_a_folder_knows_the_ground_and_its_own_files(folder):
    allowed = GROUND | FURTHER.get(folder, set())
    for path in (ROOT / folder).glob("*.py"):
        known = in_package(path)
        assert all(m in allowed or m.startswith(f"{folder}/_") for m in known), path


@pytest.mark.parametrize("seam", sorted(SEAMS))
def test_oracles_and_embedders_arrive_as_arguments(seam):
    importers = {
        name_of(path)
        for path in FILES
        if path.parent != ROOT / seam
        and any(m.split("/")[0] == seam for m in in_package(path))
    }
    # An estimator makes the default embedder; there is no default oracle.
    assert importers <= (ESTIMATORS if seam == "embedders" else set())


def test_no_module_imports_from_the_init_of_its_package():
    for path in FILES:
        own = "/".join(path.relative_to(ROOT).parent.parts)
        assert own not in in_package(path), path


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_never_prints_evaluates_or_unpickles(path):
    assert not {"pickle", "cloudpickle", "dill"} & set(imported_packages(path))
    called = {
        node.func.id
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not {"eval", "exec", "print"} & called


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_has_at_most_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("name", public_modules())
def test_public_names_are_sorted_and_can_be_imported(name):
    module = importlib.import_module(name)
    # Constants first, then classes, then functions, as the linter has it.
    kinds = [(not n.isupper(), not n[:1].isupper(), n) for n in module.__all__]
    assert kinds == sorted(kinds)
    for public in module.__all__:
        assert getattr(module, public) is not None
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize(
    "name", ["skllm_cluster", *(f"skllm_cluster.{s}" for s in SEAMS)]
)
def test_an_unknown_name_of_a_lazy_package_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        importlib.import_module(name).nothing  # noqa: B018


@pytest.mark.parametrize(
    "statement",
    [
        "import skllm_cluster",
        "from skllm_cluster import ClusterLLMClusterer",
        "\n".join(f"import {name}" for name in public_modules()),
    ],
    ids=["package", "estimator", "every module"],
)
def test_importing_loads_no_heavy_dependency(statement):
    code = f"{statement}\nimport sys\nprint(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "py.typed").is_file()


@pytest.mark.parametrize(
    ("hidden", "extra", "use"),
    [
        ("torch", "torch", lambda: HashingEmbedder().module),
        (
            "torch",
            "torch",
            lambda: FineTuner().adapt(HashingEmbedder(), "abc", [[0, 1, 2]]),
        ),
        ("torch", "torch", lambda: SentenceTransformerEmbedder("x").encode(["a"])),
        (
            "torch",
            "torch",
            lambda: SentenceTransformerEmbedder("x").forward_from(["a"]),
        ),
        (
            "sentence_transformers",
            "torch",
            lambda: SentenceTransformerEmbedder("x").encode(["a"]),
        ),
        ("torch", "torch", lambda: SetEncoder("x").encode(["a"])),
        ("transformers", "torch", lambda: SetEncoder("x").encode(["a"])),
        ("torch", "torch", lambda: skllm_cluster.set_attention.SetLayout),
        ("openai", "openai", lambda: OpenAIChat("m").check()),
        ("openai", "openai", lambda: OpenAIChat("m")("prompt")),
    ],
    ids=[
        "HashingEmbedder.module",
        "FineTuner.adapt",
        "SentenceTransformerEmbedder.encode",
        "SentenceTransformerEmbedder.forward_from",
        "SentenceTransformerEmbedder.encode without sentence_transformers",
        "SetEncoder.encode",
        "SetEncoder.encode without transformers",
        "set_attention.SetLayout",
        "OpenAIChat.check",
        "OpenAIChat call",
    ],
)
def test_a_missing_dependency_is_named_with_the_command_that_brings_it(
    hidden, extra, use, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    monkeypatch.setitem(sys.modules, hidden, None)
    with pytest.raises(
        ImportError, match=rf"{hidden!r}.*pip install 'skllm_cluster\[{extra}\]'"
    ):
        use()


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_the_tests_reach_the_loopback_interface_and_nothing_else(method):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        assert not getattr(client, method)(server.getsockname())
    for host in ("192.0.2.1", "example.org"):
        with (
            socket.socket() as client,
            pytest.raises(AssertionError, match="tried to connect"),
        ):
            getattr(client, method)((host, 80))
