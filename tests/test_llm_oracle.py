"""Questions to a model, with functions as models."""

import asyncio
import logging
import pickle
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone

from skllm_cluster.oracles import LLMOracle
from skllm_cluster.protocols import Oracle

TRIPLETS = [(f"anchor {i}", f"left {i}", f"right {i}") for i in range(400)]


def choices(prompt):
    """The two texts in the order in which they are shown."""
    lines = prompt.splitlines()
    return [line.partition(": ")[2] for line in lines if line.startswith("Choice ")]


def left(prompt):
    """A model that always names the text on the left, wherever it is shown."""
    return f"Choice {1 + (not choices(prompt)[0].startswith('left'))}"


def always_first(prompt):
    return "Choice 1"


class Recorder:
    """A model that remembers its prompts and how many it had at one time."""

    def __init__(self, reply=left):
        self.reply = reply
        self.prompts, self.peak, self.now = [], 0, 0
        self.lock = threading.Lock()

    def __call__(self, prompt):
        with self.lock:
            self.prompts.append(prompt)
            self.now += 1
            self.peak = max(self.peak, self.now)
        try:
            return self.reply(prompt)
        finally:
            with self.lock:
                self.now -= 1


class Counting(BaseEstimator):
    """A model that is an estimator, counts its tokens and can check itself."""

    def __init__(self, fail=False):
        self.fail = fail

    def check(self):
        if self.fail:
            raise ValueError("no key")

    def __call__(self, prompt):
        self.usage_ = {"prompt_tokens": 11, "completion_tokens": 3, "other": 1}
        return "Choice 2"


def swap(triplets):
    return [(anchor, second, first) for anchor, first, second in triplets]


@pytest.mark.parametrize("order", ["random", "given"])
@pytest.mark.parametrize("n_jobs", [1, 16])
def test_answers_refer_to_the_order_given_and_come_in_order(order, n_jobs):
    oracle = LLMOracle(left, order=order, n_jobs=n_jobs)
    mixed = [t if i % 3 else swap([t])[0] for i, t in enumerate(TRIPLETS)]
    answers = oracle.answer_triplets(mixed)
    assert answers.dtype.kind == "i"
    assert answers.tolist() == [int(i % 3 == 0) for i in range(len(mixed))]


def test_it_is_an_oracle():
    assert isinstance(LLMOracle(left), Oracle)


def test_random_order_shows_each_choice_first_about_half_the_time():
    model = Recorder()
    LLMOracle(model, n_jobs=1).answer_triplets(TRIPLETS)
    share = np.mean([choices(p)[0].startswith("left") for p in model.prompts])
    assert share == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(TRIPLETS)))


def test_given_order_is_shown_as_given():
    model = Recorder()
    LLMOracle(model, n_jobs=1, order="given").answer_triplets(TRIPLETS)
    assert all(choices(p)[0].startswith("left") for p in model.prompts)


def test_a_model_that_always_says_the_first_choice_prefers_no_text():
    oracle = LLMOracle(always_first)
    share = np.mean(oracle.answer_triplets(TRIPLETS))
    assert share == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(TRIPLETS)))
    assert oracle.report()["n_first_choice"] == len(TRIPLETS)


def test_a_question_is_shown_alike_in_any_batch_and_order_of_choices():
    model = Recorder()
    oracle = LLMOracle(model, n_jobs=1)
    oracle.answer_triplets(TRIPLETS)
    together = model.prompts.copy()
    for triplets in (TRIPLETS, swap(TRIPLETS)):
        model.prompts.clear()
        for triplet in triplets:
            oracle.answer_triplets([triplet])
        assert model.prompts == together


def test_another_seed_shows_other_orders():
    shown = []
    for seed in (0, 1):
        model = Recorder()
        LLMOracle(model, n_jobs=1, random_state=seed).answer_triplets(TRIPLETS)
        shown.append(model.prompts)
    assert shown[0] != shown[1]


def test_equal_questions_are_asked_once_and_answered_everywhere():
    model = Recorder()
    oracle = LLMOracle(model)
    answers = oracle.answer_triplets(TRIPLETS[:5] * 3 + swap(TRIPLETS[:5]))
    assert answers.tolist() == [0] * 15 + [1] * 5
    assert len(model.prompts) == oracle.report()["n_asked"] == 5


def test_perspective_and_texts_reach_the_prompt():
    model = Recorder()
    oracle = LLMOracle(model, perspective="emotion expressed", texts="replies")
    oracle.answer_triplets(TRIPLETS[:1])
    assert model.prompts[0].startswith("Select the reply that better corresponds with")
    assert "in terms of emotion expressed.\n" in model.prompts[0]


def test_unusable_replies_abstain_and_are_counted():
    replies = iter(["Choice 1", None, "Sure! Choice 1", "2", "", 3])
    oracle = LLMOracle(lambda prompt: next(replies), order="given", n_jobs=1)
    answers = oracle.answer_triplets(TRIPLETS[:6])
    assert answers.tolist() == [0, -1, -1, 1, -1, -1]
    report = oracle.report()
    assert report.pop("seconds") >= 0
    assert report == {
        "n_asked": 6,
        "n_usable": 2,
        "n_unusable": 4,
        "n_first_choice": 1,
        "first_unusable_reply": "None",
    }


def test_report_adds_up_over_calls():
    oracle = LLMOracle(lambda prompt: "Hm", n_jobs=2)
    assert oracle.report()["n_asked"] == 0
    assert oracle.report()["first_unusable_reply"] is None
    oracle.answer_triplets(TRIPLETS[:3])
    oracle.answer_triplets(TRIPLETS[:4])
    assert oracle.report()["n_asked"] == oracle.report()["n_unusable"] == 7
    assert oracle.report()["first_unusable_reply"] == "Hm"


def test_report_holds_the_tokens_that_the_model_counts():
    oracle = LLMOracle(Counting())
    assert "prompt_tokens" not in oracle.report()
    oracle.answer_triplets(TRIPLETS[:1])
    report = oracle.report()
    assert (report["prompt_tokens"], report["completion_tokens"]) == (11, 3)
    assert "other" not in report


def test_no_question_asks_nothing():
    model = Recorder()
    answers = LLMOracle(model).answer_triplets([])
    assert answers.shape == (0,)
    assert answers.dtype.kind == "i"
    assert model.prompts == []


def test_as_many_questions_as_jobs_are_under_way():
    together = threading.Barrier(8)

    def reply(prompt):
        together.wait(10)  # breaks unless eight are there
        return "Choice 1"

    model = Recorder(reply)
    LLMOracle(model, n_jobs=8).answer_triplets(TRIPLETS[:64])
    assert model.peak == 8


def test_one_job_asks_in_the_thread_of_the_caller():
    threads = set()

    def model(prompt):
        threads.add(threading.get_ident())
        return "Choice 1"

    LLMOracle(model, n_jobs=1).answer_triplets(TRIPLETS[:5])
    assert threads == {threading.get_ident()}


def test_it_answers_inside_a_running_event_loop():
    async def cell():
        return LLMOracle(left, n_jobs=4).answer_triplets(TRIPLETS[:20])

    assert asyncio.run(cell()).tolist() == [0] * 20


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_error_of_the_model_ends_the_asking_and_is_raised_as_it_is(n_jobs):
    class OutOfCreditError(Exception):
        pass

    def reply(prompt):
        if "anchor 10\n" in prompt:
            raise OutOfCreditError("no money left")
        time.sleep(0.005)
        return "Choice 1"

    model = Recorder(reply)
    oracle = LLMOracle(model, n_jobs=n_jobs)
    with pytest.raises(OutOfCreditError, match="no money left") as caught:
        oracle.answer_triplets(TRIPLETS)
    n_asked = oracle.report()["n_asked"]
    assert n_asked == len(model.prompts) - 1  # those under way were waited for
    assert n_asked < 100
    if sys.version_info >= (3, 11):
        assert f"answers to {n_asked} of 400 questions" in caught.value.__notes__[0]


def test_interrupt_begins_no_new_question():
    begun, done = [], threading.Event()

    def model(prompt):
        begun.append(prompt)
        if len(begun) == 3:
            raise KeyboardInterrupt
        done.wait(5)
        return "Choice 1"

    oracle = LLMOracle(model, n_jobs=3)
    timer = threading.Timer(0.1, done.set)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        oracle.answer_triplets(TRIPLETS)
    timer.join()
    assert len(begun) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_control_c_returns_at_once_while_the_server_hangs():
    program = """
import os, signal, threading, time
from skllm_cluster.oracles import LLMOracle
started, release = threading.Event(), threading.Event()
n_begun = 0
def model(prompt):
    global n_begun
    n_begun += 1
    started.set()
    release.wait(20)
    return "Choice 1"
def press():
    started.wait()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press).start()
start = time.perf_counter()
try:
    LLMOracle(model, n_jobs=2).answer_triplets([(str(i), "a", "b") for i in range(99)])
except KeyboardInterrupt:
    assert time.perf_counter() - start < 10
    release.set()
    print("interrupted after", n_begun <= 2)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "interrupted after True", done.stderr


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"complete": "gpt-4"}, TypeError, r"complete must be a callable.* got str"),
        ({"complete": None}, TypeError, r"OpenAIChat\(name\)"),
        ({"perspective": " "}, ValueError, "perspective must be a str .* got ' '"),
        ({"texts": None}, ValueError, "texts must be a str .* got None"),
        ({"order": "sorted"}, ValueError, "order must be one of .* got 'sorted'"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be an int of at least 1, got 0"),
        ({"n_jobs": 2.5}, ValueError, "n_jobs must be an int .* got 2.5"),
        ({"random_state": None}, ValueError, "random_state must be an int .* got None"),
        ({"complete": Counting(fail=True)}, ValueError, "no key"),
    ],
)
def test_wrong_parameter_is_refused_before_anything_is_asked(
    parameters, error, message
):
    oracle = LLMOracle(left).set_params(**parameters)
    for ask in (oracle.check, lambda: oracle.answer_triplets(TRIPLETS[:1])):
        with pytest.raises(error, match=message):
            ask()
    assert oracle.report()["n_asked"] == 0


@pytest.mark.parametrize("copy", [clone, lambda o: pickle.loads(pickle.dumps(o))])
def test_copy_has_the_parameters_and_starts_counting_anew(copy):
    oracle = LLMOracle(left, perspective="intent", n_jobs=3)
    oracle.answer_triplets(TRIPLETS[:2])
    twin = copy(oracle)
    assert twin.get_params() == oracle.get_params()
    assert twin.report()["n_asked"] == 0
    assert twin.answer_triplets(TRIPLETS[:2]).tolist() == [0, 0]


def test_parameters_of_the_model_can_be_searched_over():
    oracle = LLMOracle(Counting()).set_params(complete__fail=True)
    assert oracle.complete.fail is True


def test_verbose_goes_through_logging(caplog, capsys):
    with caplog.at_level(logging.INFO, logger="skllm_cluster"):
        LLMOracle(left).answer_triplets(TRIPLETS[:2])
        assert caplog.messages == []
        LLMOracle(left, verbose=1).answer_triplets(TRIPLETS[:2])
    assert caplog.messages[0].startswith("Asked 2 questions in ")
    assert capsys.readouterr() == ("", "")


def test_importing_the_oracles_loads_neither_openai_nor_torch():
    program = (
        "import sys, skllm_cluster.oracles as o; o.LLMOracle, o.OpenAIChat;"
        "print({'openai', 'torch'} & set(sys.modules), dir(o) == sorted(o.__all__))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "set() True", done.stderr


def test_unknown_name_in_the_package_is_an_attribute_error():
    import skllm_cluster.oracles

    with pytest.raises(AttributeError, match="no attribute 'NoOracle'"):
        _ = skllm_cluster.oracles.NoOracle
