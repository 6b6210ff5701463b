"""From rows to questions in words, and to answers: known labels first."""

from ._choices import ask_choices, can_choose, can_propose, propose
from ._common import check_labels, check_oracle, warn_if_useless
from ._demonstrations import choose_demonstrations, with_demonstrations
from ._pairs import ask_pairs, check_pairs, plan_pairs
from ._sets import ask_sets
from ._triplets import ask_triplets, check_triplets, chosen_first, plan_triplets

__all__ = [
    "ask_choices",
    "ask_pairs",
    "ask_sets",
    "ask_triplets",
    "can_choose",
    "can_propose",
    "check_labels",
    "check_oracle",
    "check_pairs",
    "check_triplets",
    "choose_demonstrations",
    "chosen_first",
    "plan_pairs",
    "plan_triplets",
    "propose",
    "warn_if_useless",
    "with_demonstrations",
]
