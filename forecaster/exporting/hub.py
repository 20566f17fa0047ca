"""An export put on the Hugging Face hub: one repository, one commit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stockllm.data.errors import ModelUnavailable, UsageError
from stockllm.forecaster.models.endpoint import LOOPBACK

if TYPE_CHECKING:
    from pydantic import SecretStr

    from stockllm.forecaster.exporting.export import Exported

#: A mirror, as all tools of the hub read it.
ENDPOINT = "HF_ENDPOINT"
_HUB = "https://huggingface.co"
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def check_repo(repo: str) -> str:
    """An ``owner/name`` as the hub takes it; UsageError for anything else."""
    if not _REPO.fullmatch(repo) or "--" in repo or ".." in repo or repo.endswith((".git", ".", "-")):
        raise UsageError(
            f"'{repo}' names no repository: write --push owner/name, of letters, digits, dots and dashes.",
            zh=f"「{repo}」不是儲存庫名稱：請寫成 --push 擁有者/名稱，只用英數字、點與連字號。",
        )
    return repo


def token_of(setting: SecretStr | None) -> str | None:
    """The token to write with: ``HF_TOKEN``, else the setting; None where there is none."""
    given = os.environ.get("HF_TOKEN", "").strip()
    return given or (setting.get_secret_value().strip() if setting is not None else None)


def need_token(setting: SecretStr | None) -> str:
    """The token; UsageError where there is none, or it would travel unencrypted."""
    token = token_of(setting)
    if not token:
        raise UsageError(
            "No token of the Hugging Face hub: make one that may write at huggingface.co/settings/tokens and "
            "set HF_TOKEN, or pass --dry-run to see what would go.",
            zh="沒有 Hugging Face hub 的權杖：請到 huggingface.co/settings/tokens 建立可寫入的權杖並設定 "
            "HF_TOKEN，或用 --dry-run 看看會上傳什麼。",
        )
    parts = urlsplit(where())
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise UsageError(
            f"The token is not sent to {where()} unencrypted: set {ENDPOINT} to an https:// address.",
            zh=f"權杖不會以未加密方式送往 {where()}：請把 {ENDPOINT} 設為 https:// 網址。",
        )
    return token


def where() -> str:
    """The hub's address."""
    return os.environ.get(ENDPOINT, "").strip().rstrip("/") or _HUB


def push(made: Exported, repo: str, token: str, *, public: bool = False) -> str:
    """Create the repository where there is none and commit the folder to it; the commit's address.

    A new repository is private unless it is to be ``public``; one that is there stays as it is. The hub
    takes the commit as a whole or not at all.

    :raises ModelUnavailable: where the hub cannot be reached or does not take it; the folder stays.
    """
    from stockllm.forecaster.models.engines import prepare_imports

    prepare_imports()
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    api = HfApi(endpoint=where(), token=token)
    with _sentences(made, repo):
        api.create_repo(repo, private=not public, exist_ok=True, repo_type="model")
        said = f"{made.facts.name}, exported by stockllm"
        commit = api.upload_folder(repo_id=repo, folder_path=made.folder, commit_message=said)
    return str(commit.commit_url)


@contextmanager
def _sentences(made: Exported, repo: str) -> Iterator[None]:
    """The hub client's errors, which have no root in common with its HTTP client's, as one of ours."""
    try:
        yield
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            cause, zh = f"HTTP {status}: the token may not write there", f"HTTP {status}：權杖沒有寫入權限"
        elif status is not None:
            cause, zh = f"HTTP {status}", f"HTTP {status}"
        else:
            words = (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(".")
            cause = zh = words
        raise ModelUnavailable(
            f"The hub at {where()} did not take {repo} ({cause}): nothing of it is published; the folder "
            f"{made.folder} is whole, so run the same command again.",
            zh=f"{where()} 沒有接受 {repo}（{zh}）：沒有公開任何內容；資料夾 {made.folder} 是完整的，"
            "請再執行同一個指令。",
        ) from error
