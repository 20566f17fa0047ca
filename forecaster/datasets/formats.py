"""The layouts that a dataset is written in, and what is wrong with a row of one.

| layout | a row | read by |
| --- | --- | --- |
| ``messages`` | ``messages``: role, content | TRL, AutoTrain |
| ``prompt-completion`` | ``prompt`` and ``completion``, each messages | TRL |
| ``alpaca`` | ``instruction``, ``input``, ``output`` | LLaMA-Factory, Axolotl |
| ``sharegpt`` | ``conversations``: from, value | LLaMA-Factory, Axolotl |
| ``openai`` | ``messages`` and nothing else | the fine-tuning API of OpenAI |

The rules of ``openai`` are those that its guide to supervised fine-tuning documents: JSON lines in UTF-8,
at least ten examples, roles out of a fixed set, texts that are not empty, an assistant's message at the
end. Those of AutoTrain's chat training are what its chat templates need: user and assistant in turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from stockllm.data.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stockllm.forecaster.encoding.prompts import Example, Message

Layout = Literal["messages", "prompt-completion", "alpaca", "sharegpt", "openai"]
LAYOUTS: tuple[str, ...] = get_args(Layout)

#: Fewest examples that a fine-tuning job of OpenAI takes.
OPENAI_FEWEST = 10
#: Tokens of one example beyond which OpenAI's current chat models cut it off.
OPENAI_LONGEST = 65_536
_OPENAI_KEYS = {"role", "content", "name", "weight"}
_OPENAI_ROLES = ("system", "developer", "user", "assistant")
_CHAT_ROLES = ("system", "user", "assistant")
_FROM = {"system": "system", "user": "human", "assistant": "gpt"}


def layout_named(name: str) -> Layout:
    """A layout by its name; UsageError for anything else."""
    for layout in get_args(Layout):
        if name == layout:
            return layout  # type: ignore[no-any-return]
    raise UsageError(
        f"There is no layout {name!r}; choose one of {', '.join(LAYOUTS)}.",
        zh=f"沒有 {name!r} 這種格式；可選 {'、'.join(LAYOUTS)}。",
    )


def row(example: Example, layout: Layout) -> dict[str, Any]:
    """One example in a layout."""
    chat = [*example.prompt, *example.completion]
    match layout:
        case "messages" | "openai":
            return {"messages": chat}
        case "prompt-completion":
            return example.row()
        case "alpaca":
            said = {message["role"]: message["content"] for message in chat}
            return {
                "instruction": said.get("system", ""),
                "input": said["user"],
                "output": said["assistant"],
            }
        case "sharegpt":
            return {
                "conversations": [
                    {"from": _FROM[message["role"]], "value": message["content"]} for message in chat
                ]
            }


def chat_of(document: dict[str, Any], layout: Layout) -> list[Message]:
    """The messages of a row that has no fault; the way back from `row`."""
    match layout:
        case "messages" | "openai":
            return list(document["messages"])
        case "prompt-completion":
            return [*document["prompt"], *document["completion"]]
        case "alpaca":
            parts = (
                ("system", document["instruction"]),
                ("user", document["input"]),
                ("assistant", document["output"]),
            )
            return [{"role": role, "content": content} for role, content in parts if content]
        case "sharegpt":
            role_of = {spoken: role for role, spoken in _FROM.items()}
            return [
                {"role": role_of[turn["from"]], "content": turn["value"]}
                for turn in document["conversations"]
            ]


def fault(document: Any, layout: Layout) -> str | None:  # noqa: PLR0911
    """What is wrong with a row, in a few words; None where nothing is."""
    wanted = {
        "messages": {"messages"},
        "openai": {"messages"},
        "prompt-completion": {"prompt", "completion"},
        "alpaca": {"instruction", "input", "output"},
        "sharegpt": {"conversations"},
    }[layout]
    if not isinstance(document, dict):
        return "it is no JSON object"
    if set(document) != wanted:
        given = ", ".join(sorted(map(str, document))) or "none"
        return f"its keys are {given} instead of {', '.join(sorted(wanted))}"
    match layout:
        case "openai":
            return _chat_fault(document["messages"], _OPENAI_ROLES, _OPENAI_KEYS)
        case "messages":
            return _chat_fault(document["messages"], _CHAT_ROLES, {"role", "content"}) or _turns_fault(
                document["messages"]
            )
        case "prompt-completion":
            if not isinstance(document["prompt"], list) or not isinstance(document["completion"], list):
                return "prompt and completion are no lists of messages"
            return _chat_fault(
                [*document["prompt"], *document["completion"]], _CHAT_ROLES, {"role", "content"}
            )
        case "alpaca":
            texts = all(isinstance(document[key], str) for key in wanted)
            return None if texts and document["output"].strip() else "a text is missing"
        case "sharegpt":
            return _sharegpt_fault(document["conversations"])


def _chat_fault(messages: Any, roles: Sequence[str], keys: set[str]) -> str | None:
    if not isinstance(messages, list) or not messages:
        return "there is no list of messages"
    for number, message in enumerate(messages, 1):
        what = _message_fault(message, roles, keys)
        if what is not None:
            return f"message {number} {what}"
    return None if messages[-1]["role"] == "assistant" else "the last message is not the assistant's"


def _message_fault(message: Any, roles: Sequence[str], keys: set[str]) -> str | None:
    if not isinstance(message, dict) or not {"role", "content"} <= set(message):
        return "lacks a role or a content"
    if set(message) - keys:
        return f"has the unknown key {min(map(str, set(message) - keys))!r}"
    if message["role"] not in roles:
        return f"has the role {message['role']!r}"
    if not isinstance(message["content"], str) or not message["content"].strip():
        return "has no text"
    if "weight" in message and (message["role"] != "assistant" or message["weight"] not in (0, 1)):
        return "has a weight that is not the assistant's 0 or 1"
    return None


def _turns_fault(messages: list[Message]) -> str | None:
    """What AutoTrain's chat templates would refuse: anything but user and assistant in turns."""
    turns = [message["role"] for message in messages]
    spoken = turns[1:] if turns[0] == "system" else turns
    if spoken == [("user", "assistant")[i % 2] for i in range(len(spoken))]:
        return None
    return "user and assistant do not speak in turns"


def _sharegpt_fault(turns: Any) -> str | None:
    if not isinstance(turns, list) or not turns:
        return "there are no conversations"
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict) or set(turn) != {"from", "value"}:
            return f"turn {number} lacks from or value"
        if turn["from"] not in _FROM.values() or not isinstance(turn["value"], str) or not turn["value"]:
            return f"turn {number} is nobody's, or empty"
    return None if turns[-1]["from"] == "gpt" else "the last turn is not gpt's"


def refuse_faults(rows: Sequence[Any], layout: Layout, name: str) -> None:
    """UsageError with the first row that breaks the layout's rules, or where there are too few."""
    if layout == "openai" and len(rows) < OPENAI_FEWEST:
        raise UsageError(
            f"{name} has {len(rows)} examples and OpenAI takes no fewer than {OPENAI_FEWEST}: "
            "widen its range, or choose another layout.",
            zh=f"{name} 只有 {len(rows)} 筆，OpenAI 至少要 {OPENAI_FEWEST} 筆：請放寬期間，或改用其他格式。",
        )
    for number, document in enumerate(rows, 1):
        what = fault(document, layout)
        if what is not None:
            raise UsageError(
                f"Line {number} of {name} is not of the layout {layout}: {what}.",
                zh=f"{name} 第 {number} 行不合 {layout} 格式：{what}。",
            )
