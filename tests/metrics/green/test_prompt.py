"""The judge's question is an interface: not a character of it may change."""

from hashlib import sha256

from editgrpo.metrics.green.prompt import build_prompt, chat_text

# Of the question about the reports "R" and "C", made with RadEval 2.2.1's make_prompt("R", "C").
QUESTION_SHA256 = "386063ef7003190f650e41f65063da099b58ad54253a7765014699d258392062"


def test_the_question_is_the_published_one() -> None:
    assert sha256(build_prompt("R", "C").encode()).hexdigest() == QUESTION_SHA256


def test_reports_are_cut_to_300_words_and_their_white_space_is_made_one_space() -> None:
    prompt = build_prompt("w " * 301, "one\n\n two")
    assert f"2. Reference Report:\n    {' '.join(['w'] * 300)}\n\n    3." in prompt
    assert "3. Candidate Report:\n    one two\n\n    4." in prompt


def test_what_a_report_says_is_never_taken_for_a_place_in_the_question() -> None:
    prompt = build_prompt("$candidate {text2}", "$5 $$ $reference")
    assert "    $candidate {text2}\n" in prompt
    assert "    $5 $$ $reference\n" in prompt


def test_the_chat_markers_ask_for_an_answer_after_an_empty_one() -> None:
    assert chat_text("Q") == "<|user|>\nQ</s>\n<|assistant|>\n</s>\n<|assistant|>\n</s>"
