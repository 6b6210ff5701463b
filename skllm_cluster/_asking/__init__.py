"""From rows to questions in words, and to answers: known labels first."""

from ._common import check_labels, check_oracle
from ._demonstrations import choose_demonstrations, with_demonstrations
from ._pairs import ask_pairs, check_pairs, plan_pairs
from ._sets import ask_sets
from ._triplets import ask_triplets, check_triplets, chosen_first, plan_triplets

__all__ = [
    "ask_pairs",
    "ask_sets",
    "ask_triplets",
    "check_labels",
    "check_oracle",
    "check_pairs",
    "check_triplets",
    "choose_demonstrations",
    "chosen_first",
    "plan_pairs",
    "plan_triplets",
    "with_demonstrations",
]
