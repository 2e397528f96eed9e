"""Secrets out of texts, lines, command lines, documents and patches."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic.run._masking import MASK, Masker

# Put together here so that no scanner takes this file for a leak.
OPENAI = "sk-" + "proj-Abcdefghijklmnop0123456789"
GITHUB = "ghp_" + "Abcdefghijklmnopqrstuvwxyz0123456789"
GITHUB_FINE = "github_pat_" + "11ABCDEFG0abcdefghijkl_mnop"
HUGGING_FACE = "hf_" + "AbcdefghijklmnopqrstuvwxyzABCDEFGH"
AWS = "AKIA" + "IOSFODNN7ABCDEFG"
SLACK = "xoxb" + "-123456789012-abcdef"
GOOGLE = "AIza" + "SyA1234567890abcdefghijklmnopqrstuv"
BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ"
BEGIN, END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
PEM = f"{BEGIN}\n{BODY}\n{BODY[::-1]}=\n{END}\n"


@pytest.mark.parametrize("secret", [OPENAI, GITHUB, GITHUB_FINE, HUGGING_FACE, AWS, SLACK, GOOGLE])
def test_texts_of_a_known_shape_are_masked_wherever_they_stand(secret: str) -> None:
    assert Masker().mask(f"before '{secret}', after") == f"before '{MASK}', after"


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=4096",
        "the weights of task-learning-rate-schedule",
        "sk-short",
        "https://example.org/a",
        "a:b@c",
        "high",
    ],
)
def test_ordinary_texts_are_left_alone(text: str) -> None:
    assert Masker().mask(text) == text


def test_the_password_of_an_address_is_masked() -> None:
    masked = Masker().mask("see https://me:pa55word@example.org/x and postgres://:pw@db/1")
    assert masked == f"see https://me:{MASK}@example.org/x and postgres://:{MASK}@db/1"


def test_a_private_key_is_masked_as_a_whole() -> None:
    assert Masker().mask(f"key: {PEM}after") == f"key: {MASK}\nafter"


def test_a_declared_secret_is_masked_as_python_and_json_write_it_too() -> None:
    secret = 'it\'s "a" \\ ünd\ttab'
    masker = Masker([secret])
    for spelled in (secret, repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False), f"x{secret}y"):
        assert MASK in masker.mask(spelled)
        assert "und" not in masker.mask(spelled)
        assert "ünd" not in masker.mask(spelled)


def test_of_two_secrets_one_inside_the_other_nothing_is_left() -> None:
    assert Masker(["abcd", "abcdefgh"]).mask("abcdefgh abcd") == f"{MASK} {MASK}"


def test_every_line_of_a_secret_of_several_lines_is_masked() -> None:
    masker = Masker(["first line\nsecond line\n---\n"])
    assert [masker.mask(line) for line in ("first line", "a second line", "---")] == [MASK, f"a {MASK}", "---"]


def test_items_of_secret_lists_and_dicts_are_masked_one_by_one() -> None:
    masker = Masker([["token-one", "token-two"], {"db": ("token-three",)}, b"token-four", 123456789, None, True])
    assert masker.mask("token-one token-two token-three token-four 123456789") == " ".join([MASK] * 5)
    assert masker.mask("True None") == "True None"


def test_a_value_whose_text_raises_is_passed_over() -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError

    assert Masker([Odd(), "secret"]).mask("a secret") == f"a {MASK}"


def test_a_value_that_holds_itself_ends() -> None:
    endless: list[Any] = ["secret-item"]
    endless.append(endless)
    assert Masker([endless]).mask("secret-item") == MASK


def test_a_key_in_an_ordinary_parameter_is_masked_line_by_line() -> None:
    masker = Masker([], [{"pem": PEM}, "plain text"])
    assert masker.mask(f"only a line {BODY}") == f"only a line {MASK}"
    assert masker.mask("plain text") == "plain text"


def test_a_short_secret_would_take_any_text_with_it() -> None:
    assert Masker(["42"]).mask("epoch 42") == "epoch 42"


# -- lines of a log --------------------------------------------------------------------------------------------------


def test_a_key_is_masked_over_the_lines_of_a_log() -> None:
    masker = Masker()
    lines = ["before", *PEM.splitlines(), "after 1.5"]
    expected = ["before", MASK, MASK, MASK, MASK, "after 1.5"]
    assert masker.mask_lines(lines) == expected
    assert [masked for line in lines for masked in masker.mask_lines([line])] == expected


def test_a_key_without_an_end_does_not_swallow_the_log() -> None:
    masker = Masker()
    lines = [f"key {BEGIN}", BODY, "loss 0.5", "loss 0.25"]
    assert masker.mask_lines(lines) == [f"key {MASK}", MASK, "loss 0.5", "loss 0.25"]


def test_lines_without_secrets_are_given_back_as_they_are() -> None:
    lines = ["the weight is high", "epoch 1"]
    assert Masker(["a secret"]).mask_lines(lines) is lines
    assert Masker(["a secret"]).mask_lines([*lines, "of a secret"]) == [*lines, f"of {MASK}"]


# -- command lines ---------------------------------------------------------------------------------------------------


def test_a_secret_of_any_length_is_masked_on_a_command_line() -> None:
    masked = Masker(["a1"]).mask_words(["prog.py", "--key", "a1", "--key=a1", "key=a1", "a1b"])
    assert masked == ["prog.py", "--key", MASK, f"--key={MASK}", f"key={MASK}", "a1b"]


def test_what_follows_a_secret_option_is_masked_however_it_is_spelled() -> None:
    words = ["--pin", "007", "--lr", "0.1", "--keys", "x", "-y", "z", "--keys", "-1", "2", "--pin=007", "-p", "7"]
    masked = Masker(["7"]).mask_words(words, ["--pin", "--keys", "-p"])
    assert masked == [
        *("--pin", MASK, "--lr", "0.1", "--keys", MASK, "-y", "z", "--keys", MASK, MASK, f"--pin={MASK}", "-p", MASK)
    ]


# -- documents -------------------------------------------------------------------------------------------------------


def test_every_text_of_a_document_is_masked_names_too() -> None:
    tree = {"a": ["x secret", {"secret": 1}], 2: None, "b": 1.5}
    assert Masker(["secret"]).mask_tree(tree) == {"a": [f"x {MASK}", {MASK: 1}], 2: None, "b": 1.5}


# -- patches ---------------------------------------------------------------------------------------------------------


def test_a_patch_keeps_its_lines_and_their_first_letters() -> None:
    added = "".join(f"+{line}\n" for line in PEM.splitlines())
    patch = f"--- a/x\n+++ b/x\n@@ -1,2 +1,6 @@\n context\n-password = 'hunter2'\n{added}+last\n".encode()
    masked = Masker(["hunter2"]).mask_patch(patch).decode().split("\n")
    assert masked == [
        *("--- a/x", "+++ b/x", "@@ -1,2 +1,6 @@", " context", f"-password = '{MASK}'"),
        *(f"+{MASK}", f"+{MASK}", f"+{MASK}", f"+{MASK}", "+last", ""),
    ]


def test_a_secret_in_utf8_is_masked_in_a_patch() -> None:
    assert Masker(["pässword"]).mask_patch("+x pässword\n".encode()) == f"+x {MASK}\n".encode()


@given(st.binary(max_size=200))
def test_a_patch_without_secrets_stays_byte_for_byte(patch: bytes) -> None:
    assert Masker(["a-secret-of-nobody"]).mask_patch(patch) == patch


@given(st.text(min_size=4, max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_no_declared_secret_is_left_in_a_text(secret: str, before: str, after: str) -> None:
    masked = Masker([secret]).mask(f"{before}{secret}{after}")
    assert secret not in masked.replace(MASK, "\0") or secret in MASK


def test_another_process_is_told_what_to_mask() -> None:
    masker = Masker(["a secret", "", "another"], [PEM])
    assert Masker(masker.secrets).secrets == masker.secrets
    assert set(masker.secrets) == {"a secret", "another", PEM}
