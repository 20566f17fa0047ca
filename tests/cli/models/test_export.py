"""``stockllm export``: what it writes and says, and the hub, of which a stand-in answers on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from standin.hub import HubStandIn

from stockllm.data.paths import Home


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    """A hub of our own, to which `HF_ENDPOINT` leads; the plain protocol in place of Xet's."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with HubStandIn() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def test_a_folder_its_files_and_the_command_lines(run: Callable[..., Any], tmp_path: Path) -> None:
    result = run("export", "--merged", tmp_path / "out", "--model", "llama")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert f"Wrote {tmp_path / 'out'}" in result.stdout
    assert "model.safetensors" in result.stdout
    assert f"transformers serve {tmp_path / 'out'} --host" in result.stdout
    assert f"vllm serve {tmp_path / 'out'} --served-model-name stockllm-llama" in result.stdout


def test_the_document(document: Callable[..., Any], tmp_path: Path) -> None:
    made = document("export", "--merged", tmp_path / "out", "--model", "llama", "--json")
    assert (made["kind"], made["base"], made["adapter"], made["push"]) == ("merged", "llama", None, None)
    assert {file["name"] for file in made["files"]} == {path.name for path in (tmp_path / "out").iterdir()}
    assert set(made["commands"]) == {"vllm", "transformers", "stockllm"}


def test_pushed_it_is_one_commit_of_the_whole_folder(
    document: Callable[..., Any], hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    command = ("export", "--merged", tmp_path / "out", "--model", "llama", "--push", "me/candles", "--json")
    made = document(*command)
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert hub.repos["me/candles"] == written
    assert hub.private["me/candles"]
    assert made["push"]["commit"].startswith(f"{hub.url}/me/candles/commit/")
    assert [line for line in hub.seen if "/commit/" in line] == ["POST /api/models/me/candles/commit/main"]
    # The same command again finds the folder made and the repository there.
    assert document(*command)["push"]["repo"] == "me/candles"


def test_a_new_repository_is_public_only_where_asked(
    document: Callable[..., Any], hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    document(
        "export", "--merged", tmp_path / "o", "--model", "llama", "--push", "me/open", "--public", "--json"
    )
    assert hub.private["me/open"] is False


def test_a_dry_run_says_all_and_does_nothing(
    run: Callable[..., Any], hub: HubStandIn, tmp_path: Path
) -> None:
    result = run(
        "export", "--merged", tmp_path / "out", "--model", "llama", "--push", "me/candles", "--dry-run"
    )
    assert result.exit_code == 0, result.stderr
    assert "Would write" in result.stdout
    assert f"Would go to {hub.url}/me/candles (private if it is new); the token is not set." in result.stdout
    assert "model.safetensors" in result.stdout
    assert hub.seen == []
    assert list(tmp_path.iterdir()) == []


def test_without_a_token_nothing_is_written(
    refused: Callable[..., str], hub: HubStandIn, tmp_path: Path
) -> None:
    sentence = refused("export", "--merged", tmp_path / "out", "--model", "llama", "--push", "me/candles")
    assert "HF_TOKEN" in sentence
    assert not (tmp_path / "out").exists()
    assert hub.seen == []


def test_the_token_may_be_a_setting_and_is_never_shown(
    run: Callable[..., Any], hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCKLLM_HF_TOKEN", "hf_good")
    result = run("export", "--merged", tmp_path / "out", "--model", "llama", "--push", "me/candles")
    assert result.exit_code == 0, result.stderr
    assert "hf_good" not in result.output
    assert "Pushed: " in result.stdout


def test_the_token_stays_home_where_it_would_be_read_on_the_way(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example.org")
    sentence = refused("export", "--merged", tmp_path / "out", "--model", "llama", "--push", "me/candles")
    assert "unencrypted" in sentence


@pytest.mark.parametrize(
    ("token", "refuse", "break_at", "cause"),
    [
        ("hf_bad", 0, "", "HTTP 401: the token may not write there"),
        ("hf_good", 403, "", "HTTP 403"),
        ("hf_good", 0, "/preupload/", "HTTP 400"),
        ("hf_good", 0, "/commit/", "HTTP 400"),
    ],
)
def test_a_hub_that_refuses_costs_one_sentence_and_publishes_nothing(
    refused: Callable[..., str], hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    token: str, refuse: int, break_at: str, cause: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", token)
    hub.refuse, hub.break_at = refuse, break_at
    sentence = refused("export", "--merged", tmp_path / "o", "--model", "llama", "--push", "me/c", code=1)
    assert cause in sentence
    assert "nothing of it is published" in sentence
    assert hub.repos.get("me/c", {}) == {}
    assert (tmp_path / "o" / "model.safetensors").is_file()


def test_a_hub_that_is_not_there(
    refused: Callable[..., str], hub: HubStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    sentence = refused("export", "--merged", tmp_path / "o", "--model", "llama", "--push", "me/c", code=1)
    assert "http://127.0.0.1:9 did not take me/c" in sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model", "llama"), "--merged for one whole model"),
        (("--merged", "--adapter"), "--merged for one whole model"),
        (("--merged", "--public"), "--push owner/name"),
        (("--merged", "--push", "thing"), "names no repository"),
        (("--merged", "--push", "a/b/c"), "names no repository"),
        (("--merged", "--push", "../x"), "names no repository"),
        (("--adapter", "--model", "llama"), "export it with --merged"),
        (("--merged", "--model", "ewma"), "is a formula"),
    ],
)
def test_what_cannot_be_asked(
    refused: Callable[..., str], tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in refused("export", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_an_adapter_that_is_not_there(
    refused: Callable[..., str], simulated_home: Home, tmp_path: Path
) -> None:
    assert "no adapter 'none'" in refused(
        "export", "--adapter", tmp_path / "out", "--model", "llama+none", code=1
    )
